"""Following the log: every event once, in order, with the position in the same transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from humanuser import Event, PhoneVerified, Recorded, StoreUnavailable, UnreadableEvent
from humanuser.testing import AT
from humanuser.testing.event_store import ADDED, CHANGED
from humanuser_adapters import subscription as subscription_module
from humanuser_adapters.event_store import SQLiteEventRecorder, UserEventStore
from humanuser_adapters.sqlite import Database
from humanuser_adapters.subscription import Subscription


class Ledger:
    """A consumer that writes down what it sees, and can be told to fail."""

    def __init__(self, database: Database) -> None:
        self.failing = False
        database.migrate("ledger", (("CREATE TABLE ledger (position INTEGER)",),))

    def apply(self, connection: sqlite3.Connection, events: Sequence[Recorded]) -> None:
        connection.executemany("INSERT INTO ledger VALUES (?)", [(recorded.position,) for recorded in events])
        if self.failing:
            raise ZeroDivisionError

    def clear(self, connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM ledger")


class World:
    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        self.store = UserEventStore(SQLiteEventRecorder(self.database))
        self.ledger = Ledger(self.database)

    def subscribe(self, *, from_now_on: bool = False) -> Subscription:
        return Subscription("ledger", self.database, self.store, self.ledger, from_now_on=from_now_on)

    def append(self, *events: Event, after: int = 0, user_id: str = "user1") -> None:
        self.store.append(
            "default", user_id, events, after=after, created_at=AT, creator="admin", resource_owner="org1"
        )

    def seen(self) -> list[int]:
        with self.database.read() as connection:
            return [position for (position,) in connection.execute("SELECT position FROM ledger ORDER BY rowid")]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "test.sqlite")


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


def test_a_batch_that_fails_is_not_taken_in_by_half(world: World) -> None:
    world.append(ADDED, *[CHANGED] * 4)
    subscription = world.subscribe()
    world.ledger.failing = True

    with pytest.raises(ZeroDivisionError):
        subscription.catch_up()
    stopped = (world.seen(), subscription.position())
    world.ledger.failing = False
    subscription.catch_up()

    assert stopped == ([], 0)
    assert world.seen() == [1, 2, 3, 4, 5]


def test_an_event_that_cannot_be_read_stops_it_there(world: World) -> None:
    world.append(ADDED, *[CHANGED] * 5)
    with world.database.write() as connection:
        connection.execute("UPDATE humanuser_events SET payload = '{' WHERE position = 5")
    subscription = world.subscribe()

    with pytest.raises(UnreadableEvent, match="position 5"):
        subscription.catch_up()

    assert world.seen() == [1, 2, 3]
    assert subscription.position() == 3


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


def test_a_rebuild_forgets_and_takes_in_everything_again(world: World) -> None:
    world.append(ADDED, *[CHANGED] * 6)
    subscription = world.subscribe()
    subscription.catch_up()
    with world.database.write() as connection:
        connection.execute("UPDATE ledger SET position = 99")
    steps: list[int] = []

    count = subscription.rebuild(world.ledger, steps.append)

    assert (count, steps) == (7, [3, 3, 1])
    assert world.seen() == list(range(1, 8))
    assert subscription.catch_up() == 0


def test_a_rebuild_that_fails_leaves_the_old_rows(world: World) -> None:
    world.append(ADDED, CHANGED)
    subscription = world.subscribe()
    subscription.catch_up()
    world.ledger.failing = True

    with pytest.raises(ZeroDivisionError):
        subscription.rebuild(world.ledger)

    assert world.seen() == [1, 2]


def test_a_store_that_is_away_is_an_error_and_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.append(ADDED)
    subscription = world.subscribe()

    def away(**_: int) -> Sequence[Recorded]:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "read_all", away)
        with pytest.raises(StoreUnavailable):
            subscription.catch_up()
    subscription.follow()

    assert world.seen() == [1]
