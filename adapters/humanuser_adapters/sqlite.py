"""One SQLite file: durable writes one at a time, reads beside them, and a bell that rings when anybody wrote."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from humanuser import StoreUnavailable
from humanuser_adapters.bell import Bell
from humanuser_adapters.database import Connection, RowsClash
from humanuser_adapters.migrations import bring_up_to_date, version_of

CACHE_KIB = 32 * 1024
"""How much of the file is kept in memory: the index of users' events is written, and followed, all over."""
POLL_SECONDS = 0.005
"""How often writes of other processes are looked for; a look takes microseconds."""


class SQLiteDatabase:
    """A SQLite database that several threads and processes use at once.

    What is written is on disk when ``write`` ends (WAL, ``synchronous=FULL``). Raises ``StoreUnavailable`` where the
    file cannot be opened, written (full disk, read-only) or had within *patience*.
    """

    types: Mapping[str, str] = {"time": "TEXT", "number": "INTEGER PRIMARY KEY AUTOINCREMENT"}
    claiming = ""

    def __init__(self, path: Path | str, *, patience: timedelta = timedelta(seconds=5)) -> None:
        if str(path) == ":memory:" or not str(path):
            raise ValueError("a database needs a file, because several connections share it")
        self.path = Path(path).absolute()
        self._patience = patience
        self._readers: deque[sqlite3.Connection] = deque()
        self._turn_to_write = threading.Lock()
        self._bell = Bell(self._watch)
        self._closed = False
        try:
            with contextlib.suppress(FileExistsError):  # people's numbers: for the owner's eyes only
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._writer = self.connect()
            self._writer.execute(f"PRAGMA cache_size={-CACHE_KIB}")
            _switch_to_wal(self._writer, patience)
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"{self.path}: {error}") from error

    def connect(self) -> sqlite3.Connection:
        """A connection of its own, for whoever closes it."""
        connection = sqlite3.connect(
            self.path, timeout=self._patience.total_seconds(), isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous=FULL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def read(self, *, at_length: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection to read from; *at_length* it keeps as much of the file in memory as the writer."""
        try:
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self.connect()
            try:
                if at_length:
                    connection.execute(f"PRAGMA cache_size={-CACHE_KIB}")
                yield connection
            finally:
                self._readers.append(connection)
                if self._closed:  # meanwhile
                    self._close_readers()
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error

    @contextlib.contextmanager
    def glance(self) -> Iterator[sqlite3.Connection]:
        """A connection to read a few rows from.

        If nobody writes, it is the writer's: any other one forgets its cache with every write. Nobody writes meanwhile.
        """
        if not self._turn_to_write.acquire(blocking=False):
            with self.read() as connection:
                yield connection
            return
        try:
            yield self._writer
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error
        finally:
            self._turn_to_write.release()

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer runs beside; stored when the block ends, undone when it raises.

        A block must not open another one.
        """
        if not self._turn_to_write.acquire(timeout=self._patience.total_seconds()):
            raise StoreUnavailable("the database is busy")
        writer = self._writer
        try:
            writer.execute("BEGIN IMMEDIATE")
            yield writer
            writer.execute("COMMIT")
        except sqlite3.IntegrityError as error:
            raise RowsClash(str(error)) from error
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error
        finally:
            with contextlib.suppress(sqlite3.Error):
                if writer.in_transaction:  # something broke it off; a failed COMMIT may have ended it itself
                    writer.rollback()
            self._turn_to_write.release()
        self._bell.ring()

    probe = write

    def now(self, connection: Connection) -> datetime:  # noqa: ARG002 - the file's processes share a machine
        """The time of the machine: all processes on one file share it."""
        return datetime.now(UTC)

    def migrate(self, component: str, scripts: Sequence[Sequence[str]]) -> None:
        """Bring the tables of *component* to the newest version: every script it has not seen, once, all or nothing."""
        with self.read() as connection, contextlib.suppress(sqlite3.OperationalError):
            if version_of(connection, component) == len(scripts):
                return
        with self.write() as connection:
            bring_up_to_date(connection, component, scripts, self.types)

    def listen(self, event: threading.Event) -> None:
        """Have *event* set whenever this or another process has written."""
        self._bell.add(event)

    def unlisten(self, event: threading.Event) -> None:
        """End what ``listen`` began."""
        self._bell.remove(event)

    def close(self) -> None:
        """Close all connections; one that is being read from closes when that ends. Closing again does nothing."""
        self._closed = True
        self._bell.close()
        self._close_readers()
        self._writer.close()

    def _watch(self, closed: threading.Event) -> None:
        with contextlib.closing(self.connect()) as connection:
            seen = None
            while not closed.wait(POLL_SECONDS):
                with contextlib.suppress(sqlite3.OperationalError):  # busy: the next look will tell
                    version = connection.execute("PRAGMA data_version").fetchone()
                    if version != seen:
                        seen = version
                        self._bell.ring()

    def _close_readers(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._readers.pop().close()


def _switch_to_wal(connection: sqlite3.Connection, patience: timedelta) -> None:
    until = time.monotonic() + patience.total_seconds()
    while True:  # SQLite does not wait for others that switch at the same moment
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.Error as error:
            if not isinstance(error, sqlite3.OperationalError) or time.monotonic() > until:
                connection.close()
                raise
            time.sleep(0.01)
        else:
            return


__all__ = ["SQLiteDatabase"]
