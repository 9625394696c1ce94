"""The outbox: claimed by one, settled once, tried again later, never for a code that is not wanted."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import pytest

from fakes import FakeClock, store_on
from humanuser import (
    Accepted,
    By,
    Commands,
    HumanUserAdded,
    Misconfigured,
    NotWanted,
    Permanent,
    PhoneNumber,
    PhoneVerificationCodeSent,
    Retryable,
    Sms,
    SmsOutcome,
    StoreUnavailable,
    Unknown,
    UnreadableEvent,
)
from humanuser_adapters.database import Database, text_of_time
from humanuser_adapters.outbox import (
    BATCH,
    LEASE,
    LONGEST_PAUSE,
    MOST_ATTEMPTS,
    MOST_INTERRUPTIONS,
    RETENTION,
    Delivery,
    Outbox,
    OutboxWorker,
    State,
)
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.subscription import Subscription
from humanuser_adapters.vault import AesGcmVault, draw_code
from humanuser_projections import PhoneNotifier

ADMIN = By("admin", organization="org1")


class Killed(BaseException):
    """The process ends while it sends."""


class ScriptedSender:
    """Answers with the outcomes of a script, then accepts."""

    def __init__(self) -> None:
        self.script: list[SmsOutcome | BaseException] = []
        self.sent: list[Sms] = []
        self.can_be_asked = True

    def send(self, sms: Sms) -> SmsOutcome:
        self.sent.append(sms)
        outcome = self.script.pop(0) if self.script else Accepted("id")
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:
        if not self.can_be_asked:
            return Unknown("it does not say")
        return Accepted("found") if any(one.message_id == sms.message_id for one in self.sent) else None


class World:
    def __init__(self, database: Database, vault: AesGcmVault, clock: FakeClock) -> None:
        self.clock = clock
        self.database = database
        self.store = store_on(database)
        self.outbox = Outbox(database, lambda _: clock())
        self.subscription = Subscription("notifications", database, self.store, self.outbox)
        self.commands = Commands(self.store, vault, clock, draw_code)
        self.sender = ScriptedSender()
        self.notifier = notifier = PhoneNotifier(self.store, vault, self.sender, self.commands, clock)
        self.dropped: Counter[NotWanted] = Counter()
        self.worker = OutboxWorker(
            self.outbox,
            notifier,
            instance_id="default",
            jitter=lambda: 1.0,
            dropped=lambda reason, count: self.dropped.update({reason: count}),
        )

    def add_user(self, user_id: str = "user1") -> None:
        profile = HumanUserAdded(user_name=user_id)
        self.commands.add_human_user(user_id, profile, phone="+41791234567", by=ADMIN)
        self.subscription.catch_up()

    def deliveries(self) -> list[Delivery]:
        return list(self.outbox.list("default"))

    def states(self) -> list[tuple[State, int, str]]:
        return [(one.state, one.attempts, one.note) for one in self.deliveries()]


@pytest.fixture
def world(any_database: Database, vault: AesGcmVault, clock: FakeClock) -> World:
    return World(any_database, vault, clock)


def unknown(world: World) -> str:
    """An SMS of which nobody knows what became; its id."""
    world.add_user()
    world.sender.script = [Unknown("no answer")]
    world.sender.can_be_asked = False
    for _ in range(MOST_INTERRUPTIONS):
        world.worker.send_due()
        world.clock.now += LONGEST_PAUSE
    assert world.deliveries()[0].state is State.UNKNOWN
    return world.deliveries()[0].notification.message_id


def test_what_the_provider_tells_later_counts_from_any_state(world: World) -> None:
    message_id = unknown(world)

    states = []
    for outcome in (Accepted("id"), Permanent("not delivered"), Accepted("id"), Permanent("not delivered")):
        world.outbox.report("default", message_id, outcome)
        states += world.states()

    assert states == [(State.SENT, 3, "id"), *[(State.FAILED, 3, "not delivered")] * 3]


def test_what_the_provider_tells_while_it_is_being_sent_counts_more_than_its_answer(world: World) -> None:
    world.add_user()
    claim = world.outbox.claim("default")
    assert claim is not None
    message_id = claim.notification.message_id

    world.outbox.report("default", message_id, Permanent("not delivered"))

    assert not world.outbox.settle(claim, State.SENT, "id")
    assert world.states() == [(State.FAILED, 1, "not delivered")]


def test_what_is_told_of_an_sms_of_another_instance_changes_nothing(world: World) -> None:
    world.add_user()
    message_id = world.deliveries()[0].notification.message_id

    world.outbox.report("other", message_id, Permanent("not delivered"))

    assert world.outbox.find("other", message_id) is None
    assert world.states() == [(State.DUE, 0, "")]


def test_what_is_accepted_is_sent_and_nothing_waits(world: World) -> None:
    world.add_user()

    wait = world.worker.send_due()

    assert wait is None
    assert world.states() == [(State.SENT, 1, "id")]
    assert isinstance(world.store.load("default", "user1")[-1].event, PhoneVerificationCodeSent)


def test_the_row_holds_neither_number_nor_code(world: World) -> None:
    world.add_user()
    world.worker.send_due()

    with world.database.read() as connection:
        rows = str(connection.execute("SELECT * FROM humanuser_outbox").fetchall())

    assert "+4179" not in rows
    assert world.sender.sent[0].text.split()[0] not in rows


def test_events_taken_in_again_make_no_second_sms(world: World) -> None:
    world.add_user()
    with world.database.write() as connection:
        connection.execute("UPDATE humanuser_subscriptions SET position = 0")

    world.subscription.catch_up()
    world.worker.send_due()

    assert len(world.sender.sent) == 1


def test_a_code_of_a_clock_that_was_ahead_is_sent_at_once(world: World) -> None:
    world.clock.now += timedelta(minutes=5)
    world.commands.add_human_user("user1", HumanUserAdded(user_name="ada"), phone="+41791234567", by=ADMIN)
    world.clock.now -= timedelta(minutes=5)

    world.subscription.catch_up()
    world.worker.send_due()

    assert len(world.sender.sent) == 1


def test_what_may_work_later_is_tried_later_with_the_same_id(world: World) -> None:
    world.add_user()
    world.sender.script = [Retryable("busy"), Retryable("busy")]

    waits = []
    while (wait := world.worker.send_due()) is not None:
        waits.append(wait)
        world.clock.now += wait

    assert waits == [timedelta(seconds=2), timedelta(seconds=4)]
    assert world.states() == [(State.SENT, 3, "id")]
    assert len({sms.message_id for sms in world.sender.sent}) == 1


def test_a_provider_that_names_a_time_is_obeyed(world: World) -> None:
    world.add_user()
    world.sender.script = [Retryable("busy", timedelta(seconds=90))]

    assert world.worker.send_due() == timedelta(seconds=90)


def test_pauses_grow_to_a_longest_and_end_with_the_code(world: World) -> None:
    world.add_user()
    world.sender.script = [Retryable("busy")] * 100

    waits = []
    while (wait := world.worker.send_due()) is not None:
        waits.append(wait)
        world.clock.now += wait

    assert max(waits) == LONGEST_PAUSE
    assert sum(waits, timedelta(0)) >= timedelta(minutes=10)
    assert world.states()[0][0] is State.DROPPED
    assert "expired" in world.states()[0][2]


def test_what_is_for_good_is_not_tried_again(world: World) -> None:
    world.add_user()
    world.sender.script = [Permanent("no such number")]

    assert world.worker.send_due() is None
    world.clock.advance(minutes=5)
    world.worker.send_due()

    assert len(world.sender.sent) == 1
    assert world.states() == [(State.FAILED, 1, "no such number")]


def test_what_is_not_known_is_asked_after_before_anything_is_sent_again(world: World) -> None:
    world.add_user()
    world.sender.script = [Unknown("no answer")]

    wait = world.worker.send_due()
    world.clock.now += wait or timedelta(0)
    world.worker.send_due()

    assert wait == timedelta(seconds=2)
    assert len(world.sender.sent) == 1
    assert world.states() == [(State.SENT, 2, "found")]


def test_what_nobody_can_tell_is_left_to_people_after_three_times(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_user()
    monkeypatch.setattr(world.sender, "look_up", lambda _: Unknown("cannot be asked"))
    world.sender.script = [Unknown("no answer")]

    while (wait := world.worker.send_due()) is not None:
        world.clock.now += wait

    assert len(world.sender.sent) == 1
    assert world.states() == [(State.UNKNOWN, 3, "cannot be asked")]


def test_a_worker_that_was_frozen_before_it_sent_leaves_the_sms_to_others(world: World) -> None:
    world.add_user()
    seconds = iter([0.0, LEASE.total_seconds() / 2])
    frozen = OutboxWorker(world.outbox, world.notifier, instance_id="default", timer=lambda: next(seconds))

    frozen.send_next()

    assert world.sender.sent == []
    assert world.states() == [(State.DUE, 1, "nothing was sent in time")]
    world.worker.send_due()
    assert world.states() == [(State.SENT, 2, "id")]
    assert world.deliveries()[0].interruptions == 0


@pytest.mark.parametrize("outcome", [Permanent("no such number"), Misconfigured("no account")])
def test_what_was_given_up_or_waits_is_sent_again_by_hand(world: World, outcome: SmsOutcome) -> None:
    world.add_user()
    world.sender.script = [outcome]
    world.worker.send_due()
    (message_id,) = (one.notification.message_id for one in world.deliveries())

    assert world.outbox.retry("default", message_id)
    assert not world.outbox.retry("other", message_id)
    assert not world.outbox.retry("default", "another")
    world.worker.send_due()

    assert world.states() == [(State.SENT, 2, "id")]
    assert not world.outbox.retry("default", message_id)
    assert not world.outbox.drop("default", message_id)


@pytest.mark.parametrize("dropped", [False, True])
def test_what_nobody_could_tell_is_asked_after_once_more_when_it_is_sent_again_by_hand(
    world: World, monkeypatch: pytest.MonkeyPatch, *, dropped: bool
) -> None:
    world.add_user()
    world.sender.script = [Unknown("no answer")]
    with monkeypatch.context() as patched:
        patched.setattr(world.sender, "look_up", lambda _: Unknown("cannot be asked"))
        while (wait := world.worker.send_due()) is not None:
            world.clock.now += wait
    (message_id,) = (one.notification.message_id for one in world.deliveries())

    if dropped:
        world.outbox.drop("default", message_id)
    world.outbox.retry("default", message_id)
    world.worker.send_due()

    assert len(world.sender.sent) == 1
    assert world.states() == [(State.SENT, 4, "found")]


def test_what_was_dropped_by_hand_is_not_sent(world: World) -> None:
    world.add_user()
    (message_id,) = (one.notification.message_id for one in world.deliveries())

    assert world.outbox.drop("default", message_id)
    world.worker.send_due()

    assert world.sender.sent == []
    assert world.states() == [(State.DROPPED, 0, "dropped by hand")]


def test_what_failed_can_be_listed_alone(world: World) -> None:
    world.add_user("user1")
    world.sender.script = [Permanent("no such number")]
    world.worker.send_due()
    world.add_user("user2")
    world.worker.send_due()

    failed = world.outbox.list("default", [State.FAILED])

    assert [one.notification.user_id for one in failed] == ["user1"]


def test_a_wrong_set_up_waits_for_an_operator_until_the_code_ends(world: World) -> None:
    world.add_user()
    world.sender.script = [Misconfigured("no account")]

    wait = world.worker.send_due()
    world.clock.now += wait or timedelta(0)
    world.worker.send_due()

    assert world.states() == [(State.SENT, 2, "id")]


def test_a_code_that_was_replaced_is_dropped(world: World) -> None:
    world.add_user()
    world.commands.change_phone("user1", "+41791234568", by=ADMIN)
    world.subscription.catch_up()

    world.worker.send_due()

    assert [state for state, _, _ in world.states()] == [State.DROPPED, State.SENT]
    assert [sms.to.e164 for sms in world.sender.sent] == ["+41791234568"]


def test_a_claim_keeps_others_away_until_its_lease_ends(world: World) -> None:
    world.add_user()

    first = world.outbox.claim("default")
    second = world.outbox.claim("default")
    world.clock.now += LEASE
    third = world.outbox.claim("default")

    assert first is not None
    assert first.interruptions == 0
    assert second is None
    assert third is not None
    assert (third.interruptions, third.attempts) == (1, 2)


def test_who_was_frozen_beyond_the_lease_cannot_settle_for_the_successor(world: World) -> None:
    world.add_user()
    frozen = world.outbox.claim("default")
    world.clock.now += LEASE
    successor = world.outbox.claim("default")
    assert frozen is not None
    assert successor is not None

    assert not world.outbox.settle(frozen, State.FAILED, "too late")
    assert world.outbox.settle(successor, State.SENT)
    assert world.states() == [(State.SENT, 2, "")]


def test_a_worker_that_died_after_sending_is_found_out_and_nothing_is_sent_twice(world: World) -> None:
    world.add_user()
    claim = world.outbox.claim("default")
    assert claim is not None
    number = PhoneNumber("+41791234567")
    sms = Sms(message_id=claim.notification.message_id, to=number, text="", expires_at=None)
    world.sender.sent.append(sms)

    waiting = world.worker.send_due()
    world.clock.now += waiting or timedelta(0)
    world.worker.send_due()

    assert waiting == LEASE
    assert world.sender.sent == [sms]
    assert world.states() == [(State.SENT, 2, "found")]


def test_a_worker_that_died_before_sending_is_made_up_for(world: World) -> None:
    world.add_user()
    world.sender.script = [Killed()]

    with pytest.raises(Killed):
        world.worker.send_due()
    world.sender.sent.clear()
    world.clock.now += LEASE
    world.worker.send_due()

    assert world.states() == [(State.SENT, 2, "id")]


def test_a_code_that_is_replaced_while_the_provider_is_asked_is_not_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_user()
    world.outbox.claim("default")
    world.clock.now += LEASE

    def replaced_meanwhile(_: Sms) -> None:
        world.commands.change_phone("user1", "+41791234568", by=ADMIN)

    monkeypatch.setattr(world.sender, "look_up", replaced_meanwhile)
    world.worker.send_due()

    assert world.sender.sent == []
    assert [state for state, _, _ in world.states()] == [State.DROPPED]


def test_a_store_that_is_not_there_before_anything_left_is_no_interruption(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_user()
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "load", Mock(side_effect=StoreUnavailable("away")))
        for _ in range(MOST_INTERRUPTIONS + 1):
            with pytest.raises(StoreUnavailable):
                world.worker.send_due()
            world.clock.now += LEASE

    world.worker.send_due()

    assert len(world.sender.sent) == 1
    assert [state for state, _, _ in world.states()] == [State.SENT]


def test_what_kills_its_worker_three_times_is_left_to_people(world: World) -> None:
    world.add_user()
    world.sender.script = [Killed()] * MOST_INTERRUPTIONS

    for _ in range(MOST_INTERRUPTIONS):
        with pytest.raises(Killed):
            world.worker.send_due()
        world.sender.sent.clear()  # it never arrived
        world.clock.now += LEASE
    world.worker.send_due()

    assert [state for state, _, _ in world.states()] == [State.UNKNOWN]
    assert world.sender.sent == []


def test_many_workers_send_each_sms_once(world: World) -> None:
    for number in range(20):
        world.add_user(f"user{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: world.worker.send_due(), range(8)))

    assert len(world.sender.sent) == len({sms.message_id for sms in world.sender.sent}) == 20
    assert {state for state, _, _ in world.states()} == {State.SENT}


def test_other_instances_sms_are_left_alone(world: World) -> None:
    world.add_user()

    assert world.outbox.claim("other") is None
    assert world.outbox.list("other") == []
    assert world.outbox.due_in("other") is None


def test_a_worker_may_stop_after_each_sms_however_many_wait(world: World) -> None:
    for number in range(3):
        world.add_user(f"user{number}")

    waits = [world.worker.send_next() for _ in range(4)]

    assert waits == [timedelta(0)] * 3 + [None]
    assert len(world.sender.sent) == 3


def test_what_is_open_is_counted_by_state_with_the_first_of_each(world: World) -> None:
    for user_id, outcome in (("user1", Accepted()), ("user2", Permanent("no")), ("user3", Retryable("no"))):
        world.add_user(user_id)
        world.sender.script = [outcome]
        world.worker.send_due()
    world.add_user("user4")

    opened = world.outbox.open("default")

    assert {state: one.count for state, one in opened.items()} == {State.FAILED: 1, State.DUE: 2}
    assert opened[State.FAILED].oldest < opened[State.DUE].oldest < world.store.head()
    assert world.outbox.open("other") == {}


def test_counting_what_is_open_does_not_look_at_what_is_done(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "test.sqlite")
    outbox = Outbox(database)
    asked: list[str] = []
    with database.read() as connection:  # the one that is taken next
        connection.set_trace_callback(asked.append)
    outbox.open("default")

    with database.read() as connection:
        connection.set_trace_callback(None)
        ((*_, plan),) = connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}").fetchall()

    assert "USING COVERING INDEX humanuser_outbox_open" in plan


class TestTheNewestFirst:
    """After an outage a user who asks now does not wait behind those who gave up long ago."""

    def test_a_new_code_is_sent_before_older_ones(self, world: World) -> None:
        for user_id in ("user1", "user2", "user3"):
            world.add_user(user_id)

        world.worker.send_due()

        sent = {one.notification.message_id: one.notification.user_id for one in world.deliveries()}
        assert [sent[sms.message_id] for sms in world.sender.sent] == ["user3", "user2", "user1"]

    def test_a_retry_waits_for_its_time_and_is_sent_although_there_are_newer_ones(self, world: World) -> None:
        world.add_user("user1")
        world.sender.script = [Retryable("busy", timedelta(seconds=30))]
        world.worker.send_due()
        world.add_user("user2")

        world.worker.send_due()
        assert [state for state, _, _ in world.states()] == [State.DUE, State.SENT]
        world.clock.advance(seconds=30)
        world.worker.send_due()

        assert [state for state, _, _ in world.states()] == [State.SENT, State.SENT]

    def test_30000_expired_rows_do_not_delay_a_new_code(self, world: World) -> None:
        stale(world, 30_000)
        world.add_user()

        began = time.monotonic()
        world.worker.send_next()
        seconds = time.monotonic() - began

        assert len(world.sender.sent) == 1
        assert seconds < 2

    def test_30000_waiting_rows_do_not_delay_a_new_code(self, world: World) -> None:
        stale(world, 30_000, wanted=True)
        world.add_user()

        began = time.monotonic()
        world.worker.send_next()
        seconds = time.monotonic() - began

        assert len(world.sender.sent) == 1
        assert seconds < 2


def stale(world: World, count: int, *, wanted: bool = False) -> None:
    """Rows as an outage leaves them: due, and expired unless *wanted*."""
    now = text_of_time(world.clock() - timedelta(minutes=9))
    until = text_of_time(world.clock() + timedelta(minutes=1 if wanted else -1))
    rows = [(f"stale{n}", -n - 1, f"nobody{n}", now, until) for n in range(count)]
    with world.database.write() as connection:
        connection.executemany(
            "INSERT INTO humanuser_outbox "
            "(message_id, position, instance_id, user_id, code_sequence, state, due_at, wanted_until) "
            "VALUES (?, ?, 'default', ?, 1, 'due', ?, ?)",
            rows,
        )


class TestStale:
    """What nobody waits for any more is dropped in batches, and counted."""

    def test_expired_sms_are_dropped_without_a_claim_each(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        stale(world, BATCH + 1)

        with patch.object(world.store, "load") as load:
            world.worker.send_due()

        load.assert_not_called()
        assert world.outbox.counts("default") == {State.DROPPED: BATCH + 1}
        assert {(one.attempts, one.note) for one in world.deliveries()} == {(0, NotWanted.EXPIRED.value)}
        assert world.dropped == {NotWanted.EXPIRED: BATCH + 1}
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]

    @pytest.mark.parametrize("how", ["changed", "removed", "verified", "again"])
    def test_an_sms_that_a_later_event_replaces_is_dropped_without_a_claim(self, world: World, how: str) -> None:
        world.add_user()
        match how:
            case "changed":
                world.commands.change_phone("user1", "+41791234568", verified=True, by=ADMIN)
            case "removed":
                world.commands.remove_phone("user1", by=ADMIN)
            case "verified":
                world.commands.set_phone("user1", "+41791234567", verified=True, by=ADMIN, permit=lambda _: None)
            case _:
                world.clock.advance(minutes=2)
                world.commands.resend_phone_code("user1", return_code=True, by=ADMIN, permit=lambda _: None)
        world.subscription.catch_up()

        world.worker.send_due()

        assert world.sender.sent == []
        assert world.states() == [(State.DROPPED, 0, NotWanted.SUPERSEDED.value)]
        assert world.dropped == {NotWanted.SUPERSEDED: 1}

    def test_another_users_event_replaces_nothing(self, world: World) -> None:
        world.add_user("user1")
        world.add_user("user2")
        world.commands.remove_phone("user2", by=ADMIN)
        world.subscription.catch_up()

        world.worker.send_due()

        assert [state for state, _, _ in world.states()] == [State.SENT, State.DROPPED]

    def test_one_that_is_being_sent_is_left_to_its_worker_until_its_lease_ends(self, world: World) -> None:
        world.add_user()
        claim = world.outbox.claim("default")
        assert claim is not None
        with world.database.write() as connection:
            connection.execute("UPDATE humanuser_outbox SET wanted_until = ?", (text_of_time(world.clock()),))

        assert world.outbox.drop_stale("default") == {}
        world.clock.now += LEASE
        assert world.outbox.drop_stale("default") == {NotWanted.EXPIRED: 1}

        assert not world.outbox.settle(claim, State.SENT)

    def test_several_workers_drop_each_once(self, world: World) -> None:
        stale(world, 3 * BATCH)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: world.worker.send_due(), range(4)))

        assert world.dropped == {NotWanted.EXPIRED: 3 * BATCH}

    def test_they_are_dropped_also_while_there_is_always_something_to_send(self, world: World) -> None:
        stale(world, 1)
        world.add_user()

        world.worker.send_next()

        assert world.outbox.counts("default") == {State.DROPPED: 1, State.SENT: 1}


class TestRetention:
    """Settled SMS do not stay for ever."""

    def test_what_was_settled_long_ago_is_deleted_and_does_not_come_back(self, world: World) -> None:
        world.add_user("user1")
        world.sender.script = [Permanent("no such number")]
        world.worker.send_due()
        world.clock.now += RETENTION - timedelta(seconds=1)
        world.add_user("user2")
        world.worker.send_due()
        assert len(world.deliveries()) == 2

        world.clock.advance(seconds=1)
        assert world.outbox.prune("default") == 1
        with world.database.write() as connection:
            connection.execute("UPDATE humanuser_subscriptions SET position = 0")
        world.subscription.catch_up()
        world.worker.send_due()

        assert len(world.sender.sent) == 2
        assert [(one.notification.user_id, one.state) for one in world.deliveries()] == [
            ("user1", State.DROPPED),  # its event was read again; its code had expired
            ("user2", State.SENT),
        ]

    def test_a_worker_prunes_batch_by_batch_and_leaves_what_waits(self, world: World) -> None:
        stale(world, BATCH + 1)
        world.worker.send_due()
        world.clock.now += RETENTION
        world.add_user()
        world.sender.script = [Retryable("busy")]
        later = OutboxWorker(world.outbox, world.notifier, instance_id="default")

        later.send_due()

        assert world.outbox.counts("default") == {State.DUE: 1}

    def test_without_a_retention_nothing_is_deleted(self, world: World) -> None:
        outbox = Outbox(world.database, lambda _: world.clock(), retention=None)
        world.add_user()
        world.worker.send_due()
        world.clock.now += 100 * RETENTION

        assert outbox.prune("default") == 0

    def test_what_is_told_of_a_deleted_sms_changes_nothing(self, world: World) -> None:
        world.add_user()
        message_id = world.deliveries()[0].notification.message_id
        world.worker.send_due()
        world.clock.now += RETENTION
        world.outbox.prune("default")

        world.outbox.report("default", message_id, Permanent("not delivered"))

        assert world.outbox.find("default", message_id) is None
        assert world.deliveries() == []

    @pytest.mark.parametrize("retention", [timedelta(0), timedelta(days=-1)])
    def test_a_retention_that_is_not_positive_is_refused(self, world: World, retention: timedelta) -> None:
        with pytest.raises(ValueError, match="must be positive"):
            Outbox(world.database, retention=retention)


class TestBounds:
    """Nothing makes a worker send in a loop."""

    @pytest.mark.parametrize("wait", [timedelta(0), timedelta(microseconds=1), timedelta(seconds=-1), timedelta.max])
    def test_a_provider_that_asks_for_no_pause_gets_our_own(self, world: World, wait: timedelta) -> None:
        world.add_user()
        world.sender.script = [Retryable("busy", wait)] * 100

        while (pause := world.worker.send_due()) is not None and pause < timedelta(hours=1):
            world.clock.now += pause

        assert len(world.sender.sent) <= 15

    def test_a_code_that_never_expires_is_given_up_in_the_end(self, world: World) -> None:
        world.add_user()
        world.sender.script = [Retryable("busy")]
        with world.database.write() as connection:
            connection.execute("UPDATE humanuser_outbox SET attempts = ?", (MOST_ATTEMPTS - 1,))

        assert world.worker.send_due() is None

        assert world.states() == [(State.FAILED, MOST_ATTEMPTS, f"given up after {MOST_ATTEMPTS} attempts: busy")]

    @pytest.mark.parametrize("error", [UnreadableEvent(1, "bad"), ValueError("123456"), RuntimeError()])
    def test_a_delivery_that_raises_before_it_sends_is_tried_again_with_pauses(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        world.add_user()
        monkeypatch.setattr(world.store, "load", Mock(side_effect=error))

        wait = world.worker.send_due()

        assert wait == timedelta(seconds=2)
        assert world.states() == [(State.DUE, 1, f"the delivery raised {type(error).__name__}")]
        assert "123456" not in caplog.text

    def test_a_delivery_that_raises_after_it_sent_counts_as_unknown(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.add_user()
        monkeypatch.setattr(world.sender, "look_up", lambda _: None)
        monkeypatch.setattr(world.commands, "record_code_sent", Mock(side_effect=UnreadableEvent(1, "bad")))

        while (wait := world.worker.send_due()) is not None:
            world.clock.now += wait

        assert len(world.sender.sent) == MOST_INTERRUPTIONS
        assert world.states() == [(State.UNKNOWN, MOST_INTERRUPTIONS, "the delivery raised UnreadableEvent")]

    @pytest.mark.parametrize("answer", [None, {}, ValueError("123456")])
    def test_a_sender_that_misbehaves_is_called_three_times_and_not_quoted(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answer: Any
    ) -> None:
        world.add_user()
        monkeypatch.setattr(world.sender, "look_up", lambda _: None)
        world.sender.script = [answer] * 100

        while (wait := world.worker.send_due()) is not None:
            world.clock.now += wait

        assert len(world.sender.sent) == MOST_INTERRUPTIONS
        ((state, _, note),) = world.states()
        assert state is State.UNKNOWN
        assert note in (f"the sender {did} {type(answer).__name__}" for did in ("returned", "raised"))
        assert "123456" not in caplog.text
