"""Follows the log: every event once, in order, each batch in one transaction with the position behind it.

An event that cannot be read is parked, and with it all later events of its user, so that everybody else's go on and
nobody's are taken in out of order. A consumer that fails stops at the event it fails at, until it is mended or told to
skip. What is parked stays listed until it is taken in after all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from humanuser import Recorded, StoreError
from humanuser_adapters.database import Connection, Database
from humanuser_adapters.event_log import Entry, EventLog, Unreadable
from humanuser_adapters.log_fields import log_of

log = log_of(__name__)

BATCH = 500
SCHEMA = (
    (
        "CREATE TABLE humanuser_subscriptions (name TEXT PRIMARY KEY, position BIGINT NOT NULL)",
        """
        CREATE TABLE humanuser_parked (
            subscription TEXT, position BIGINT, instance_id TEXT NOT NULL, user_id TEXT NOT NULL, reason TEXT NOT NULL,
            PRIMARY KEY (subscription, position)
        )
        """,
    ),
)

BY_HAND = "skipped by hand"
BEHIND_ANOTHER = "waits for an earlier event of the same user"


class Consumer(Protocol):
    """Takes in events. What it stores, it stores through the connection it is given."""

    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Take in *events*, the next ones in order."""


class ConsumerFailed(StoreError):
    """A consumer cannot take in the event at *position*; nothing behind it is taken in."""

    def __init__(self, name: str, position: int, error: Exception) -> None:
        super().__init__(
            f"{name} cannot take in the event at position {position}: {error!r}. Once that is mended it goes on by "
            f"itself; to go on without the event: humanuser parked skip {name} {position}"
        )
        self.position = position


@dataclass(frozen=True, slots=True)
class Parked:
    """An event that was not taken in."""

    position: int
    instance_id: str
    user_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a subscription is behind."""

    positions: int
    """Between the subscription and the last position given to a writer: events, positions of transactions that have
    not committed or were rolled back, and events of other aggregates. 0 if no event is left."""
    oldest: datetime | None
    """When the next event was stored, even if readers cannot reach it yet; None: there is none."""


class Subscription:
    """Keeps one consumer up to date; any number of threads and processes may do so for the same consumer at once.

    One of them takes in each event. If it is stopped or frozen, the next one does, at once or when the database
    has given up the frozen one's transaction.
    """

    def __init__(
        self, name: str, database: Database, log: EventLog, consumer: Consumer, *, from_now_on: bool = False
    ) -> None:
        """*from_now_on* has a new subscription begin at the present instead of at the first event."""
        self.name = name
        self._database = database
        self._log = log
        self._consumer = consumer
        database.migrate("subscriptions", SCHEMA)
        begin = log.head() if from_now_on else 0
        with database.write() as connection:
            connection.execute(
                "INSERT INTO humanuser_subscriptions VALUES (?, ?) ON CONFLICT DO NOTHING", (name, begin)
            )

    def position(self) -> int:
        """The position up to which it has seen all events; 0 if there is none."""
        with self._database.read() as connection:
            return position_of(connection, self.name)

    def lag(self) -> Lag:
        """How far it is behind the last position given to a writer, whether readers can reach that or not."""
        position = self.position()
        end = self._log.end()
        following = self._log.read_log(after=position, limit=1, until=end.position)
        oldest = following[0].created_at if following and isinstance(following[0], Recorded) else None
        return Lag(max(end.position - position, 0) if following or end.open else 0, oldest)

    def catch_up(self) -> int:
        """Take in all there is now, and tell how many events that was; what cannot be read is parked.

        Raises ``ConsumerFailed``: everything before that event is taken in, nothing behind it.
        """
        count = 0
        position = self.position()
        head = self._log.head()  # what comes later is for the next time: it may go on for ever
        limit = BATCH
        while position < head:
            entries = self._log.read_log(after=position, limit=limit, until=head)
            end = entries[-1].position if len(entries) == limit else head
            if not entries and end - position < BATCH:
                break  # not worth a transaction: the next entries are found by index
            try:
                position, more = self._take_in(position, entries, end)
                count += more
            except ConsumerFailed:
                if limit == 1:
                    raise
                limit = 1  # to take in what is before that event, and to find it
        return count

    def follow(self) -> None:
        """Catch up, as work for a ``Worker``."""
        self.catch_up()

    def parked(self) -> Sequence[Parked]:
        """What was not taken in, in position order."""
        query = """
            SELECT position, instance_id, user_id, reason FROM humanuser_parked WHERE subscription = ?
            ORDER BY position
        """
        with self._database.read() as connection:
            return [Parked(*row) for row in connection.execute(query, (self.name,)).fetchall()]

    def skip(self, position: int) -> bool:
        """Have the event at *position*, and all later ones of its user, parked instead of taken in.

        False: there is no such event, or it was taken in already.
        """
        entries = self._log.read_log(after=position - 1, limit=1, until=position)
        if not entries:
            return False
        with self._database.write() as connection:
            if position_of(connection, self.name) >= position:
                return False
            write_down(connection, self.name, [(entries[0], BY_HAND)])
        return True

    def take_in_parked(self) -> int:
        """Take in what was parked and can be read by now, in order, and tell how many events that was.

        Of each user it ends at the first event that cannot be read still. Raises ``ConsumerFailed``.
        """
        count = 0
        stuck: set[tuple[str, str]] = set()
        for parked in self.parked():
            user = (parked.instance_id, parked.user_id)
            entries = self._log.read_log(after=parked.position - 1, limit=1, until=parked.position)
            if user in stuck or not entries or not isinstance(entries[0], Recorded):
                stuck.add(user)
                continue
            with self._watched(parked.position), self._database.write() as connection:
                query = "DELETE FROM humanuser_parked WHERE subscription = ? AND position = ?"
                if not connection.execute(query, (self.name, parked.position)).rowcount:
                    continue  # somebody else does the same
                self._consumer.apply(connection, [entries[0]])
            count += 1
        return count

    def _take_in(self, position: int, entries: Sequence[Entry], end: int) -> tuple[int, int]:
        """Apply *entries*, which are all between *position* and *end*; where it is then, and how many were applied."""
        first = entries[0].position if entries else end
        with self._watched(first), self._database.write() as connection:
            if not move(connection, self.name, position, end):
                return position_of(connection, self.name), 0  # somebody else took them in meanwhile
            if not entries:
                return end, 0
            events = self._park(connection, entries)
            self._consumer.apply(connection, events)
        return end, len(events)

    @contextmanager
    def _watched(self, position: int) -> Iterator[None]:
        """Says of whatever is no fault of the database that it is the consumer's."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            raise ConsumerFailed(self.name, position, error) from error

    def _park(self, connection: Connection, entries: Sequence[Entry]) -> Sequence[Recorded]:
        """Park those of the next *entries* that have to be, and give the events that are left."""
        query = "SELECT position, instance_id, user_id FROM humanuser_parked WHERE subscription = ?"
        rows = connection.execute(query, (self.name,)).fetchall()
        before = {(instance_id, user_id) for position, instance_id, user_id in rows if position < entries[0].position}
        sieve = Sieve(held=before, skipped={position for position, *_ in rows})
        events = sieve.readable(entries)
        write_down(connection, self.name, sieve.parked)
        sieve.log(self.name)
        return events


@dataclass(slots=True)
class Sieve:
    """Holds back what cannot be read or is to be skipped, and all later events of the same user."""

    held: set[tuple[str, str]] = field(default_factory=set)
    """Users of whom something was held back."""
    skipped: Collection[int] = ()
    """Positions that are held back whatever is there."""
    parked: list[tuple[Entry, str]] = field(default_factory=list)
    """What was held back, and why."""
    events: int = 0
    """How many were not."""

    def readable(self, entries: Iterable[Entry]) -> Sequence[Recorded]:
        """Those of the next *entries* that can be taken in."""
        readable: list[Recorded] = []
        for entry in entries:
            if isinstance(entry, Unreadable):
                self._hold(entry, entry.reason)
            elif entry.position in self.skipped or (entry.instance_id, entry.user_id) in self.held:
                self._hold(entry, BEHIND_ANOTHER)
            else:
                readable.append(entry)
        self.events += len(readable)
        return readable

    def log(self, name: str) -> None:
        """Tell that the subscription of *name* has parked it."""
        for entry, reason in self.parked:
            log.error("%s parked the event at position %s: %s", name, entry.position, reason)

    def _hold(self, entry: Entry, reason: str) -> None:
        self.parked.append((entry, reason))
        self.held.add((entry.instance_id, entry.user_id))


def write_down(connection: Connection, name: str, entries: Iterable[tuple[Entry, str]]) -> None:
    """Have *entries* parked, each for its reason."""
    connection.executemany(
        "INSERT INTO humanuser_parked VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(name, entry.position, entry.instance_id, entry.user_id, reason) for entry, reason in entries],
    )


def position_of(connection: Connection, name: str) -> int:
    """The position up to which the subscription of *name* has seen all events; 0 if there is none."""
    query = "SELECT position FROM humanuser_subscriptions WHERE name = ?"
    position: int = connection.execute(query, (name,)).fetchone()[0]
    return position


def move(connection: Connection, name: str, before: int, after: int) -> bool:
    """Have the subscription of *name* be at *after*; False: it is not at *before* any more."""
    query = "UPDATE humanuser_subscriptions SET position = ? WHERE name = ? AND position = ?"
    return connection.execute(query, (after, name, before)).rowcount == 1


__all__ = ["Consumer", "ConsumerFailed", "Lag", "Parked", "Subscription"]
