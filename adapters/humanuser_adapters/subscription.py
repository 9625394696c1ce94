"""Follows the log: every event once, in order, each batch in one transaction with the position behind it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Protocol

from humanuser import EventStore, Recorded
from humanuser_adapters.sqlite import Database

BATCH = 500

SCHEMA = (("CREATE TABLE humanuser_subscriptions (name TEXT PRIMARY KEY, position INTEGER NOT NULL)",),)

Progress = Callable[[int], None]
"""Told how many more events were taken in."""


class Consumer(Protocol):
    """Takes in events. What it stores, it stores through the connection it is given."""

    def apply(self, connection: sqlite3.Connection, events: Sequence[Recorded]) -> None:
        """Take in *events*, the next ones in order."""


class ReadModel(Consumer, Protocol):
    """A consumer that can forget everything and take it all in again."""

    def clear(self, connection: sqlite3.Connection) -> None:
        """Forget everything."""


class Subscription:
    """Keeps one consumer up to date; any number of threads and processes may do so for the same consumer at once."""

    def __init__(
        self, name: str, database: Database, store: EventStore, consumer: Consumer, *, from_now_on: bool = False
    ) -> None:
        """*from_now_on* has a new subscription begin at the present instead of at the first event."""
        self.name = name
        self._database = database
        self._store = store
        self._consumer = consumer
        database.migrate("subscriptions", SCHEMA)
        begin = store.head() if from_now_on else 0
        with database.write() as connection:
            connection.execute("INSERT OR IGNORE INTO humanuser_subscriptions VALUES (?, ?)", (name, begin))

    def position(self) -> int:
        """The position of the last event taken in; 0 if there is none."""
        with self._database.read() as connection:
            return _position(connection, self.name)

    def catch_up(self) -> int:
        """Take in all there is, and tell how many events that was.

        Raises ``UnreadableEvent`` at an event that cannot be read: everything before it is taken in, nothing behind it.
        """
        count = 0
        position = self.position()
        while events := self._store.read_all(after=position, limit=BATCH):
            with self._database.write() as connection:
                if _move(connection, self.name, position, events[-1].position):
                    self._consumer.apply(connection, events)
                    position = events[-1].position
                    count += len(events)
                else:  # somebody else took them in meanwhile
                    position = _position(connection, self.name)
        return count

    def follow(self) -> None:
        """Catch up, as work for a ``Worker``."""
        self.catch_up()

    def rebuild(self, read_model: ReadModel, progress: Progress = lambda _: None) -> int:
        """Make *read_model* anew from the first event, and tell how many events that took.

        It is one transaction: readers see the old rows until the new ones are complete, and writers wait.
        """
        count = 0
        position = 0
        with self._database.write() as connection:
            read_model.clear(connection)
            while events := self._store.read_all(after=position, limit=BATCH):
                read_model.apply(connection, events)
                position = events[-1].position
                count += len(events)
                progress(len(events))
            _move(connection, self.name, _position(connection, self.name), position)
        return count


def _position(connection: sqlite3.Connection, name: str) -> int:
    query = "SELECT position FROM humanuser_subscriptions WHERE name = ?"
    position: int = connection.execute(query, (name,)).fetchone()[0]
    return position


def _move(connection: sqlite3.Connection, name: str, before: int, after: int) -> bool:
    query = "UPDATE humanuser_subscriptions SET position = ? WHERE name = ? AND position = ?"
    return connection.execute(query, (after, name, before)).rowcount == 1
