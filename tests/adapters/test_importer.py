"""Bringing in histories: whole or not at all, once, exactly as they were, and on from where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import msgspec
import pytest
from msgspec import Raw

from fakes import rows_on, store_on
from humanuser import HumanUser, PhoneVerificationCodeAdded, StoreUnavailable
from humanuser_adapters.database import Database
from humanuser_adapters.event_row import EventRow, Line, Malformed, UserKey
from humanuser_adapters.event_store import EventRows, event_of
from humanuser_adapters.replay import ChangedMeanwhile, Importer, ImportRefused, ImportSummary, check, importer
from humanuser_adapters.replay.heads import Heads
from humanuser_projections import phone_notification
from zitadel_export import zitadel_events

ROWS = tuple(zitadel_events(400, 15, seed=3))
USERS = {row.user for row in ROWS}
OF_OTHER = msgspec.structs.replace(ROWS[0], aggregate_type="org", event_type="org.added")


class Lines:
    """A source in memory."""

    grows = False

    def __init__(self, *contents: EventRow | Malformed, name: str = "export.jsonl") -> None:
        self.name = name
        self._contents = contents

    def identity(self) -> str:
        return self.name

    def lines(self, *, after: int = 0) -> Iterator[Line]:
        return iter([Line(place, content) for place, content in enumerate(self._contents, 1) if place > after])


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def rows(any_database: Database) -> EventRows:
    return rows_on(any_database)


@pytest.fixture
def importing(any_database: Database, rows: EventRows, monkeypatch: pytest.MonkeyPatch) -> Importer:
    monkeypatch.setattr(importer, "LINES_A_BATCH", 50)
    monkeypatch.setattr(importer, "CHECKED_AT_ONCE", 30)
    return Importer(any_database, rows, event_of)


def killing_after(batches: int) -> Callable[[str, int], None]:
    """Ends the process after so many batches were stored."""
    left = iter(range(batches - 1))

    def told(step: str, _: int) -> None:
        if step == "storing" and next(left, None) is None:
            raise Killed

    return told


def by_place(row: EventRow) -> tuple[UserKey, int]:
    return (row.user, row.sequence)


def changed(row: EventRow, **columns: object) -> EventRow:
    return msgspec.structs.replace(row, **columns)


def without(number: int) -> Sequence[EventRow]:
    return [row for place, row in enumerate(ROWS) if place != number]


def refused(importing: Importer, *contents: EventRow | Malformed) -> list[str]:
    with pytest.raises(ImportRefused) as refusal:
        importing.run(Lines(*contents))
    return [str(problem) for problem in refusal.value.problems]


def test_all_comes_in_exactly_and_in_order(importing: Importer, rows: EventRows) -> None:
    summary = importing.run(Lines(*ROWS))

    assert list(rows.read()) == list(ROWS)
    assert summary == ImportSummary(stored=400, new_users=len(USERS))


def test_the_same_again_adds_nothing(importing: Importer, rows: EventRows) -> None:
    importing.run(Lines(*ROWS))

    again = importing.run(Lines(*ROWS))
    under_another_name = importing.run(Lines(*ROWS, name="other.csv"))

    assert again == under_another_name == ImportSummary(there_already=400)
    assert list(rows.read()) == list(ROWS)


def test_a_later_export_adds_what_happened_since(importing: Importer, rows: EventRows) -> None:
    importing.run(Lines(*ROWS[:250], name="yesterday"))

    whole = importing.run(Lines(*ROWS, name="today"))
    only_new = importing.run(Lines(*ROWS[250:], name="the rest"))

    assert (whole.stored, whole.there_already) == (150, 250)
    assert only_new == ImportSummary(there_already=150)
    assert list(rows.read()) == list(ROWS)


def test_it_goes_on_where_it_was_killed(importing: Importer, rows: EventRows) -> None:
    for batches, stored in ((2, 100), (3, 250)):
        with pytest.raises(Killed):
            importing.run(Lines(*ROWS), told=killing_after(batches))
        assert len(list(rows.read())) == stored

    summary = importing.run(Lines(*ROWS))

    assert (summary.stored, summary.there_already) == (150, 250)
    assert list(rows.read()) == list(ROWS)


def test_what_is_about_no_user_is_passed_over(importing: Importer, rows: EventRows) -> None:
    summary = importing.run(Lines(OF_OTHER, ROWS[0]))

    assert summary == ImportSummary(stored=1, new_users=1, of_others=1)
    assert list(rows.read()) == [ROWS[0]]


def test_what_is_missing_refuses_all_before_anything_is_stored(importing: Importer, rows: EventRows) -> None:
    victim = next(place for place, row in enumerate(ROWS) if any(row.user == one.user for one in ROWS[place + 1 :]))
    following = next(place for place, row in enumerate(ROWS) if place > victim and row.user == ROWS[victim].user)

    problems = refused(importing, *without(victim))

    assert problems[0] == (
        f"line {following}: user '{ROWS[victim].aggregate_id}': "
        f"sequence {ROWS[following].sequence} comes after {ROWS[victim].sequence - 1}, so events are missing"
    )
    assert rows.empty()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (ROWS[0], "sequence 1 is there twice"),
        (changed(ROWS[0], aggregate_id="eve", sequence=2), "sequence 2 comes after 0, so events are missing"),
        (
            changed(ROWS[0], aggregate_id="eve", event_type="user.human.phone.changed", payload=Raw(b"{}")),
            "user.human.phone.changed: phone: Field required",
        ),
        (Malformed("Input data was truncated", b"{", None), "Input data was truncated"),
    ],
)
def test_each_problem_is_told_with_its_line(
    bad: EventRow | Malformed, reason: str, importing: Importer, rows: EventRows
) -> None:
    (problem,) = refused(importing, ROWS[0], bad)

    assert problem.startswith("line 2: ")
    assert problem.endswith(reason)
    assert rows.empty()


def test_rows_of_a_user_may_come_a_little_out_of_order(importing: Importer, rows: EventRows) -> None:
    mixed = [row for pair in zip(ROWS[1::2], ROWS[::2], strict=True) for row in pair]
    mixed += [mixed.pop(0)]  # the very first one comes last

    summary = importing.run(Lines(*mixed))

    assert summary == ImportSummary(stored=400, new_users=len(USERS))
    assert sorted(rows.read(), key=by_place) == sorted(ROWS, key=by_place)
    for user in USERS:
        sequences = [row.sequence for row in rows.read() if row.user == user]
        assert sequences == sorted(sequences)


def test_rows_out_of_order_are_not_lost_by_a_kill(importing: Importer, rows: EventRows) -> None:
    late = [*ROWS[1:250], ROWS[0], *ROWS[250:]]  # most of its user's rows wait for it

    for batches in (1, 3, 4, 6):
        with pytest.raises(Killed):
            importing.run(Lines(*late), told=killing_after(batches))
    importing.run(Lines(*late))

    assert sorted(rows.read(), key=by_place) == sorted(ROWS, key=by_place)


def test_a_sequence_that_is_there_twice_out_of_order_is_noticed(importing: Importer) -> None:
    (problem,) = refused(importing, ROWS[0], *[changed(ROWS[0], sequence=3)] * 2, changed(ROWS[0], sequence=2))

    assert problem.endswith("sequence 3 is there twice")


def test_rows_in_no_order_at_all_are_refused(importing: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MOST_EARLY", 3)

    problems = refused(importing, *reversed(ROWS))

    assert "too many rows are out of order, so sort them by position" in problems[0]


def test_what_contradicts_the_stored_history_is_refused(importing: Importer, rows: EventRows) -> None:
    importing.run(Lines(*ROWS))
    other = changed(ROWS[7], creator="somebody else")

    (problem,) = refused(importing, *ROWS[:7], other)

    assert problem.endswith(f"sequence {other.sequence} is stored already, with other contents")
    assert list(rows.read()) == list(ROWS)


def test_of_many_problems_the_first_ones_are_told(importing: Importer) -> None:
    bad = [changed(ROWS[0], aggregate_id=f"eve{number}", sequence=2) for number in range(30)]

    with pytest.raises(ImportRefused) as refusal:
        importing.run(Lines(*bad, *bad))

    assert (len(refusal.value.problems), refusal.value.count) == (importer.PROBLEMS_KEPT, 30)
    assert str(refusal.value).endswith("… and 10 more")


def test_bad_histories_can_be_put_aside_whole(importing: Importer, rows: EventRows) -> None:
    bad = ROWS[-1].user
    broken = Malformed("Input data was truncated", b"{", bad)
    contents: list[EventRow | Malformed] = [*ROWS[:-1], changed(ROWS[-1], sequence=ROWS[-1].sequence + 1), broken]
    aside: list[EventRow | Malformed] = []

    summary = importing.run(Lines(*contents), put_aside=aside.append)

    assert list(rows.read()) == [row for row in ROWS if row.user != bad]
    assert aside == [content for content in contents if isinstance(content, Malformed) or content.user == bad]
    assert summary.put_aside == len(aside)


def test_what_is_put_aside_is_so_again_after_a_kill(importing: Importer) -> None:
    contents = [changed(ROWS[0], aggregate_id="eve", sequence=2), *ROWS]

    with pytest.raises(Killed):
        importing.run(Lines(*contents), put_aside=lambda _: None, told=killing_after(1))
    aside: list[EventRow | Malformed] = []
    summary = importing.run(Lines(*contents), put_aside=aside.append)

    assert aside == contents[:1]
    assert summary.stored == 400 - 49


def test_somebody_who_stores_meanwhile_is_noticed(
    importing: Importer, rows: EventRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = rows.insert
    monkeypatch.setattr(rows, "insert", lambda connection, some: insert(connection, [*some, some[0]]))

    with pytest.raises(ChangedMeanwhile, match=r"while export\.jsonl was brought in"):
        importing.run(Lines(*ROWS))

    assert rows.empty()


def storing_meanwhile(row: EventRow, rows: EventRows, database: Database) -> Callable[[str, int], None]:
    """Somebody stores *row* after all lines were looked at and the first batch is stored."""

    def told(step: str, _: int) -> None:
        if step == "storing" and not rows.stored([row]):
            with database.write() as connection:
                rows.insert(connection, [row])

    return told


def test_what_somebody_stored_since_the_lines_were_looked_at_is_not_stored_twice(
    importing: Importer, any_database: Database, rows: EventRows
) -> None:
    importing.run(Lines(*ROWS[:50], name="yesterday"))

    summary = importing.run(Lines(*ROWS), told=storing_meanwhile(ROWS[50], rows, any_database))

    assert summary.stored == 349
    assert list(rows.read()) == list(ROWS)


def test_other_contents_that_somebody_stored_since_the_lines_were_looked_at_are_noticed(
    importing: Importer, any_database: Database, rows: EventRows
) -> None:
    importing.run(Lines(*ROWS[:50], name="yesterday"))
    other = changed(ROWS[50], creator="somebody else")

    with pytest.raises(ChangedMeanwhile):
        importing.run(Lines(*ROWS), told=storing_meanwhile(other, rows, any_database))

    assert list(rows.read()) == [*ROWS[:50], other]


def test_imported_histories_are_replayed_and_go_on(importing: Importer, any_database: Database) -> None:
    importing.run(Lines(*ROWS))
    store = store_on(any_database)

    for user in USERS:
        history = store.load(*user)
        assert [one.sequence for one in history] == list(range(1, len(history) + 1))
        assert HumanUser.replay(history).sequence == len(history)


def test_nobody_is_sent_the_code_of_an_imported_event(importing: Importer, any_database: Database) -> None:
    importing.run(Lines(*ROWS))

    recorded = store_on(any_database).read_all(after=0, limit=1000)

    assert any(isinstance(one.event, PhoneVerificationCodeAdded) for one in recorded)
    assert not any(phone_notification(one) for one in recorded)


def test_odd_texts_survive(importing: Importer, rows: EventRows) -> None:
    texts = ("a\tb", "a\\nb", "a\nb\r", "\\N", "\\.", "\x7f\u2028😀", "'\"")
    odd = [
        changed(ROWS[0], aggregate_id=text, owner=text, creator=text, event_type="user.locked", payload=Raw(b"null"))
        for text in texts
    ]
    unknown = changed(
        odd[0], aggregate_id="eve", event_type="user.new\tthing", payload=Raw(b'{"a": "\\t\\\\", "b": 1.50}')
    )

    importing.run(Lines(*odd, unknown))

    assert list(rows.read()) == [*odd, unknown]


def test_heads_do_not_need_more_memory_for_more_users() -> None:
    users = [UserKey("default", str(number)) for number in range(1000)]

    with Heads(at_hand=10) as heads:
        for turn in (1, 2):
            for user in users:
                heads.fetch([user])
                assert heads.recent.get(user, 0) == turn - 1
                heads.recent[user] = turn
                assert len(heads.recent) <= 12


def test_a_database_that_goes_away_stops_it_and_nothing_is_half(
    importing: Importer, rows: EventRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = rows.insert
    turns = iter(range(2))

    def failing(connection: object, some: Sequence[EventRow]) -> None:
        if next(turns, None) is None:
            insert(connection, some)  # type: ignore[arg-type]  # what the importer gave
            raise StoreUnavailable("disk full")
        insert(connection, some)  # type: ignore[arg-type]  # as above

    monkeypatch.setattr(rows, "insert", failing)
    with pytest.raises(StoreUnavailable):
        importing.run(Lines(*ROWS))
    monkeypatch.undo()

    assert len(list(rows.read())) == 100
    assert importing.run(Lines(*ROWS)).stored == 300


def test_times_are_kept_to_the_microsecond(importing: Importer, rows: EventRows) -> None:
    moments = [ROWS[0].created_at + timedelta(microseconds=number) for number in (0, 1, 999_999)]
    some = [changed(ROWS[0], aggregate_id=str(number), created_at=at) for number, at in enumerate(moments)]

    importing.run(Lines(*some))

    assert [row.created_at for row in rows.read()] == moments


def test_a_line_that_may_be_anybodys_cannot_be_put_aside(importing: Importer, rows: EventRows) -> None:
    broken = Malformed("Input data was truncated", b"{", None)

    with pytest.raises(ImportRefused, match="these lines may belong to any user"):
        importing.run(Lines(*ROWS, broken), put_aside=lambda _: None)

    assert rows.empty()


OLD = [
    changed(ROWS[0], aggregate_id="ada", sequence=sequence, in_tx_order=sequence, event_type=name, payload=Raw(payload))
    for sequence, name, payload in (
        (1042, "user.human.added", b'{"userName": "ada"}'),
        (1043, "user.human.phone.changed", b'{"phone": "+41791234567"}'),
        (1050, "user.human.phone.verified", b"null"),
        (1061, "user.locked", b"null"),
    )
]
SINCE = changed(OLD[-1], sequence=1062, in_tx_order=1, event_type="user.unlocked")


def test_gaps_of_a_history_older_than_events2_are_kept_and_counted(importing: Importer, rows: EventRows) -> None:
    first = importing.run(Lines(*OLD, name="yesterday"))
    again = importing.run(Lines(*OLD, SINCE, name="today"))

    assert first == ImportSummary(stored=4, new_users=1, gaps=3)
    assert again == ImportSummary(stored=1, there_already=4)
    assert list(rows.read()) == [*OLD, SINCE]


def test_rows_of_an_old_history_may_come_a_little_out_of_order(importing: Importer, rows: EventRows) -> None:
    importing.run(Lines(OLD[0], OLD[3], OLD[2], OLD[1], SINCE))

    assert list(rows.read()) == [*OLD, SINCE]


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        ([OLD[0], changed(OLD[2], in_tx_order=1)], "sequence 1050 comes after 1042, so events are missing"),
        ([OLD[1]], "sequence 1043 comes after 0, so events are missing"),
        ([*OLD, OLD[1]], "sequence 1043 is there twice"),
    ],
)
def test_other_gaps_are_missing_events(contents: list[EventRow], reason: str, importing: Importer) -> None:
    (problem,) = refused(importing, *contents)

    assert problem.endswith(reason)


def test_a_row_missing_in_the_stored_history_is_told(importing: Importer) -> None:
    importing.run(Lines(OLD[0], OLD[2], name="yesterday"))

    (problem,) = refused(importing, *OLD[:3])

    assert problem.endswith("sequence 1043 is missing in the stored history, which goes on")


REMOVED = changed(
    ROWS[0],
    aggregate_type="org",
    aggregate_id=ROWS[0].owner,
    event_type="org.removed",
    sequence=9,
    created_at=ROWS[-1].created_at + timedelta(days=1),
    payload=Raw(b"null"),
)
OF_INSTANCE = changed(
    REMOVED, aggregate_type="instance", aggregate_id=ROWS[0].instance_id, event_type="instance.removed"
)


def living(rows: EventRows, database: Database) -> set[UserKey]:
    with database.read() as connection:
        return {one.user for one in rows.living(connection, ROWS[0].instance_id, [""])}


def test_the_removal_of_an_organization_ends_its_users(
    importing: Importer, rows: EventRows, any_database: Database
) -> None:
    importing.run(Lines(*ROWS, name="yesterday"))
    before = living(rows, any_database)
    members = {row.user for row in ROWS if row.owner == REMOVED.owner} & before

    summary = importing.run(Lines(REMOVED, *ROWS, name="today"))
    again = importing.run(Lines(*ROWS, REMOVED, name="later"))

    assert summary == ImportSummary(there_already=400, removed_users=len(members))
    assert (again.stored, again.removed_users) == (0, 0)
    assert living(rows, any_database) == before - members
    assert members


def test_the_removal_of_the_instance_ends_all_users(
    importing: Importer, rows: EventRows, any_database: Database
) -> None:
    importing.run(Lines(*ROWS, OF_INSTANCE))

    assert living(rows, any_database) == set()


def test_an_organization_that_is_added_again_keeps_its_new_users(
    importing: Importer, rows: EventRows, any_database: Database
) -> None:
    later = changed(ROWS[0], aggregate_id="new", created_at=REMOVED.created_at + timedelta(days=1))

    importing.run(Lines(ROWS[0], REMOVED, later))

    assert living(rows, any_database) == {later.user}


def test_rows_after_the_removal_of_the_organization_are_passed_over(importing: Importer, rows: EventRows) -> None:
    importing.run(Lines(ROWS[0], REMOVED, name="yesterday"))
    late = [changed(ROWS[0], event_type="user.token.added", payload=Raw(b"null"), sequence=number) for number in (2, 3)]

    summaries = [importing.run(Lines(row, name=str(row.sequence))) for row in late]

    assert [one.after_removal for one in summaries] == [1, 1]
    assert [row.event_type for row in rows.read()] == [ROWS[0].event_type, "user.removed"]
