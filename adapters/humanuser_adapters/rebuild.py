"""Makes a read model anew from the first event, beside the one in use, to take its place or to be held against it.

Writers do not wait meanwhile, and readers see the old rows until, in one transaction, they see the new ones. Nothing
else follows from it: reactions have subscriptions of their own.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from humanuser import StoreError
from humanuser_adapters.database import Connection, Database
from humanuser_adapters.event_log import BEGINNING, Entry, HistoryLog
from humanuser_adapters.read_model import MOST_DIFFERENCES, Difference, ReadModel
from humanuser_adapters.subscription import BATCH, Sieve, Subscription, move, position_of, write_down

PAGE = 1000
USERS_AT_ONCE = 5000
"""How many are stored in a transaction. Every one of those costs a SQLite reader what it has in memory."""

SCHEMA = (("CREATE TABLE humanuser_rebuilds (name TEXT PRIMARY KEY, token TEXT NOT NULL)",),)

Progress = Callable[[int], None]
"""Told how many more events were looked at."""


class RebuildSuperseded(StoreError):
    """Another rebuild of the same read model began meanwhile, and goes on."""

    def __init__(self) -> None:
        super().__init__("another rebuild or check of the same read model began meanwhile; this one has ended")


class Rebuild:
    """Makes anew what a subscription keeps up to date."""

    def __init__(self, subscription: Subscription, database: Database, log: HistoryLog, read_model: ReadModel) -> None:
        self._subscription = subscription
        self._name = subscription.name
        self._database = database
        self._log = log
        self._read_model = read_model

    def run(self, progress: Progress = lambda _: None) -> int:
        """Have the read model be what all events make it; how many events that took. Raises ``RebuildSuperseded``.

        What cannot be read is parked.
        """
        head = self._log.head()
        with self._made_anew(head, progress) as (connection, anew, sieve):
            self._read_model.become(connection, anew)
            connection.execute("DELETE FROM humanuser_parked WHERE subscription = ?", (self._name,))
            write_down(connection, self._name, sieve.parked)
            before = position_of(connection, self._name)
            move(connection, self._name, before, max(head, before))
        sieve.log(self._name)
        return sieve.events

    def differences(self, progress: Progress = lambda _: None) -> Sequence[Difference]:
        """Where the read model is not what the events make it: the first ``MOST_DIFFERENCES``, in the order of users.

        Nothing is changed, but that the subscription takes in what it has not yet. Raises ``RebuildSuperseded``.
        """
        self._subscription.catch_up()
        with self._made_anew(self._subscription.position(), progress) as (connection, anew, _):
            found = list(islice(self._read_model.differences(connection, anew), MOST_DIFFERENCES))
            anew.drop(connection)
        return found

    @contextmanager
    def _made_anew(self, until: int, progress: Progress) -> Iterator[tuple[Connection, ReadModel, Sieve]]:
        """The read model made anew, as of the subscription's position or of *until* if that is further.

        The block runs in a transaction in which the subscription stands still.
        """
        self._database.migrate("rebuilds", SCHEMA)
        token = secrets.token_hex(8)
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO humanuser_rebuilds VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET token = excluded.token",
                (self._name, token),
            )
            anew = self._read_model.beside(connection)
        try:
            sieve = self._filled(anew, until, token, progress)
            with self._database.write() as connection:
                self._require(connection, token)
                connection.execute("UPDATE humanuser_subscriptions SET name = name WHERE name = ?", (self._name,))
                for entries in self._since(until, position_of(connection, self._name)):
                    anew.apply(connection, sieve.readable(entries))
                yield connection, anew, sieve
        except BaseException:
            with contextlib.suppress(StoreError), self._database.write() as connection:
                self._require(connection, token)
                anew.drop(connection)
            raise

    def _filled(self, anew: ReadModel, until: int, token: str, progress: Progress) -> Sieve:
        """Have *anew* take in all events up to the position *until*, user by user."""
        sieve = Sieve()
        entries, after = self._log.read_histories(after=BEGINNING, until=until, limit=PAGE)
        while entries:
            if anew.fold(sieve.readable(entries)) > USERS_AT_ONCE:
                self._flush(anew, token)
            progress(len(entries))
            entries, after = self._log.read_histories(after=after, until=until, limit=PAGE)
        self._flush(anew, token)
        return sieve

    def _flush(self, anew: ReadModel, token: str) -> None:
        with self._database.write() as connection:
            self._require(connection, token)
            anew.flush(connection)

    def _since(self, after: int, until: int) -> Iterator[Sequence[Entry]]:
        while after < until:
            entries = self._log.read_log(after=after, limit=BATCH, until=until)
            if not entries:
                return
            yield entries
            after = entries[-1].position

    def _require(self, connection: Connection, token: str) -> None:
        """That nobody else began meanwhile."""
        query = "UPDATE humanuser_rebuilds SET token = token WHERE name = ? AND token = ?"
        if not connection.execute(query, (self._name, token)).rowcount:
            raise RebuildSuperseded


__all__ = ["Progress", "RebuildSuperseded"]
