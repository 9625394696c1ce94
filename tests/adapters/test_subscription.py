"""Following the log: every event once, in order, with the position in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from eventsourcing.persistence import StoredEvent

from fakes import new_events, recorder_on, store_on
from humanuser import Event, PhoneVerified, Recorded, StoreUnavailable
from humanuser.testing import AT
from humanuser.testing.event_store import ADDED, CHANGED
from humanuser_adapters import subscription as subscription_module
from humanuser_adapters.database import Connection, Database
from humanuser_adapters.event_log import Entry
from humanuser_adapters.event_store.recorder import Envelope
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.subscription import BEHIND_ANOTHER, BY_HAND, ConsumerFailed, Lag, Subscription


class Ledger:
    """A consumer that writes down what it sees, and can be told to fail."""

    def __init__(self, database: Database) -> None:
        self.fails_at: int | None = None
        database.migrate("ledger", (("CREATE TABLE ledger (number {number}, position BIGINT)",),))

    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        positions = [recorded.position for recorded in events]
        connection.executemany("INSERT INTO ledger (position) VALUES (?)", [(position,) for position in positions])
        if self.fails_at in positions:
            raise ZeroDivisionError


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = store_on(database)
        self.ledger = Ledger(self.database)

    def subscribe(self, *, from_now_on: bool = False) -> Subscription:
        return Subscription("ledger", self.database, self.store, self.ledger, from_now_on=from_now_on)

    def append(self, *events: Event, after: int = 0, user_id: str = "user1") -> None:
        self.store.append(new_events(user_id, events, after=after))

    def spoil(self, position: int) -> None:
        self._set_payload(position, "{}")

    def mend(self, position: int) -> None:
        self._set_payload(position, '{"phone": "+41791234568"}')

    def _set_payload(self, position: int, payload: str) -> None:
        with self.database.write() as connection:
            connection.execute("UPDATE humanuser_events SET payload = ? WHERE position = ?", (payload, position))

    def seen(self) -> list[int]:
        with self.database.read() as connection:
            return [position for (position,) in connection.execute("SELECT position FROM ledger ORDER BY number")]


@pytest.fixture
def world(any_database: Database) -> World:
    return World(any_database)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription_module, "BATCH", 3)


def test_all_there_is_is_taken_in_once_and_in_order(world: World) -> None:
    world.append(ADDED, *[CHANGED] * 7)
    subscription = world.subscribe()

    counts = [subscription.catch_up(), subscription.catch_up()]

    assert counts == [8, 0]
    assert world.seen() == list(range(1, 9))
    assert subscription.position() == 8


def test_it_goes_on_where_an_earlier_process_stopped(world: World) -> None:
    world.append(ADDED)
    world.subscribe().catch_up()
    world.append(CHANGED, after=1)

    world.subscribe().catch_up()

    assert world.seen() == [1, 2]


def test_a_reaction_begins_at_the_present(world: World) -> None:
    world.append(ADDED, CHANGED)
    reaction = world.subscribe(from_now_on=True)
    world.append(PhoneVerified(), after=2)

    reaction.catch_up()

    assert world.seen() == [3]


def test_a_reaction_that_began_does_not_begin_anew(world: World) -> None:
    world.subscribe(from_now_on=True)
    world.append(ADDED)

    world.subscribe(from_now_on=True).catch_up()

    assert world.seen() == [1]


def test_an_event_that_a_consumer_fails_at_stops_it_there(world: World) -> None:
    world.append(ADDED, *[CHANGED] * 5)
    subscription = world.subscribe()
    world.ledger.fails_at = 5

    with pytest.raises(ConsumerFailed, match=r"ledger cannot .* position 5: ZeroDivisionError.* parked skip ledger 5"):
        subscription.catch_up()
    stopped = (world.seen(), subscription.position())
    world.ledger.fails_at = None
    subscription.catch_up()

    assert stopped == ([1, 2, 3, 4], 4)
    assert world.seen() == [1, 2, 3, 4, 5, 6]


def test_what_cannot_be_read_is_parked_with_all_that_follows_of_its_user(world: World) -> None:
    world.append(ADDED, *[CHANGED] * 5)
    world.append(ADDED, user_id="user2")
    world.spoil(3)
    subscription = world.subscribe()

    count = subscription.catch_up()

    assert count == 3
    assert world.seen() == [1, 2, 7]
    assert subscription.position() == 7
    first, *behind = subscription.parked()
    assert (first.position, first.user_id) == (3, "user1")
    assert "phone: Field required" in first.reason
    assert [(one.position, one.reason) for one in behind] == [(number, BEHIND_ANOTHER) for number in (4, 5, 6)]


def test_later_events_of_a_user_with_a_parked_one_are_parked_too(world: World) -> None:
    world.append(ADDED, CHANGED)
    world.spoil(2)
    subscription = world.subscribe()
    subscription.catch_up()
    world.append(CHANGED, after=2)

    subscription.catch_up()

    assert world.seen() == [1]
    assert [one.position for one in subscription.parked()] == [2, 3]


def test_what_was_parked_is_taken_in_in_order_once_it_can_be_read(world: World) -> None:
    world.append(ADDED, CHANGED, CHANGED)
    world.append(ADDED, user_id="user2")
    world.spoil(2)
    subscription = world.subscribe()
    subscription.catch_up()

    still = subscription.take_in_parked()
    world.mend(2)
    mended = subscription.take_in_parked()

    assert (still, mended) == (0, 2)
    assert world.seen() == [1, 4, 2, 3]
    assert subscription.parked() == []
    assert subscription.take_in_parked() == 0


def test_an_event_that_is_skipped_is_parked_and_the_consumer_goes_on(world: World) -> None:
    world.append(ADDED, CHANGED, CHANGED)
    world.append(ADDED, user_id="user2")
    subscription = world.subscribe()
    world.ledger.fails_at = 2
    with pytest.raises(ConsumerFailed):
        subscription.catch_up()

    skipped = [subscription.skip(position) for position in (1, 2, 99)]
    subscription.catch_up()

    assert skipped == [False, True, False]
    assert world.seen() == [1, 4]
    assert [(one.position, one.reason) for one in subscription.parked()] == [(2, BY_HAND), (3, BEHIND_ANOTHER)]
    with pytest.raises(ConsumerFailed):
        subscription.take_in_parked()
    world.ledger.fails_at = None
    assert subscription.take_in_parked() == 2


def test_how_far_it_is_behind_is_known(world: World) -> None:
    subscription = world.subscribe()
    nothing = subscription.lag()
    world.append(ADDED, CHANGED)
    two = subscription.lag()
    subscription.catch_up()

    assert (nothing, two, subscription.lag()) == (Lag(0, None), Lag(2, AT), Lag(0, None))


def test_many_may_follow_for_the_same_consumer_at_once(world: World) -> None:
    subscriptions = [world.subscribe() for _ in range(4)]

    def write(user: int) -> None:
        for sequence in range(30):
            world.append(CHANGED, after=sequence, user_id=f"user{user}")

    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, user) for user in range(2)]
        while not all(writer.done() for writer in writers):
            list(pool.map(Subscription.catch_up, subscriptions))
    subscriptions[0].catch_up()

    assert world.seen() == list(range(1, 61))


def test_a_store_that_is_away_is_an_error_and_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.append(ADDED)
    subscription = world.subscribe()

    def away(**_: int) -> Sequence[Recorded]:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "read_log", away)
        with pytest.raises(StoreUnavailable):
            subscription.catch_up()
    subscription.follow()

    assert world.seen() == [1]


def test_writers_who_never_rest_do_not_keep_it_from_coming_to_an_end(world: World) -> None:
    world.append(ADDED, *[CHANGED] * 6)
    subscription = world.subscribe()
    read_log = world.store.read_log

    def while_others_write(*, after: int, limit: int, until: int | None = None) -> Sequence[Entry]:
        world.append(CHANGED, after=world.store.head())
        return read_log(after=after, limit=limit, until=until)

    world.store.read_log = while_others_write  # type: ignore[method-assign]

    assert subscription.catch_up() == 7
    assert subscription.lag().positions > 0


def orders(database: Database, count: int) -> None:
    """Store events of another type of aggregate."""
    other = recorder_on(database)
    envelope = Envelope(aggregate_type="order")
    other.insert_events([StoredEvent("order1", n, "Ordered", b"{}") for n in range(1, count + 1)], envelope=envelope)


def test_it_moves_past_events_of_other_aggregates(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription_module, "BATCH", 10)
    world.append(ADDED)
    subscription = world.subscribe()
    subscription.catch_up()

    orders(world.database, 100)
    with_orders = subscription.lag()
    subscription.catch_up()

    assert subscription.position() == world.store.head() == 101
    assert with_orders == subscription.lag() == Lag(0, None)
    world.append(CHANGED, after=1)
    subscription.catch_up()
    assert world.seen() == [1, 102]


def test_a_few_events_of_other_aggregates_are_not_worth_a_transaction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "BATCH", 10)
    world.append(ADDED)
    subscription = world.subscribe()
    subscription.catch_up()

    orders(world.database, 5)
    subscription.catch_up()

    assert subscription.position() == 1
    assert subscription.lag() == Lag(0, None)


def test_it_does_not_move_past_an_event_that_commits_later(postgresql: PostgreSQLDatabase) -> None:
    world = World(postgresql)
    subscription = world.subscribe()
    with postgresql.write() as connection:
        connection.execute(
            "SELECT pg_advisory_xact_lock_shared('humanuser_positions'::regclass::oid::bigint::bit(32)::integer, 0)"
        )
        (position,) = connection.execute("SELECT nextval('humanuser_positions')").fetchone()
        orders(postgresql, 1000)
        subscription.catch_up()
        before = subscription.position()
        connection.execute(
            """
            INSERT INTO humanuser_events SELECT ?, instance_id, 'user', 'user1', 1, 'user.human.added', revision,
                created_at, creator, owner, '{"userName": "ada"}', 1, 'late' FROM humanuser_events LIMIT 1
            """,
            (position,),
        )
    subscription.catch_up()

    assert before == 0
    assert world.seen() == [position]
    assert subscription.position() == world.store.head()


def test_what_is_below_a_head_is_read_even_if_a_lock_below_it_is_taken_after(postgresql: PostgreSQLDatabase) -> None:
    world = World(postgresql)
    world.append(ADDED)
    head = world.store.head()
    with postgresql.write() as connection:
        connection.execute(
            "SELECT pg_advisory_xact_lock_shared('humanuser_positions'::regclass::oid::bigint::bit(32)::integer, 0)"
        )

        assert [one.position for one in world.store.read_log(after=0, limit=10, until=head)] == [1]
        assert world.store.read_log(after=0, limit=10) == []
