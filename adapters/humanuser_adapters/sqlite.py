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
from humanuser_adapters.forks import ForkAware, NotPicklable, require_tracked_fork, track_forks
from humanuser_adapters.migrations import bring_up_to_date, version_of
from humanuser_adapters.sqlite_files import FileId, SQLiteFiles

CACHE_KIB = 32 * 1024
"""How much of the file is kept in memory: the index of users' events is written, and followed, all over."""
POLL_SECONDS = 0.005
"""How often writes of other processes are looked for; a look takes microseconds."""
WAL_LIMIT_BYTES = 8 * 1024 * 1024
"""Twice the size at which SQLite copies the WAL into the database; it is longer only while somebody reads at length."""
WAL_SECONDS = 1.0
"""How often the size of the WAL is looked at, where somebody listens."""
LONGEST_TRUNCATION_MS = 100
"""How long writers may wait for the last readers of a WAL that is to begin anew."""


class SQLiteDatabase(ForkAware, NotPicklable):
    """A SQLite database that several threads and processes use at once.

    What is written is on disk when ``write`` ends (WAL, ``synchronous=FULL``). Raises ``StoreUnavailable`` where the
    file cannot be opened, written (full disk, read-only) or had within *patience*, and once it is replaced or removed.
    """

    types: Mapping[str, str] = {"time": "TEXT", "number": "INTEGER PRIMARY KEY AUTOINCREMENT"}
    claiming = ""

    def __init__(self, path: Path | str, *, patience: timedelta = timedelta(seconds=5)) -> None:
        if str(path) == ":memory:" or not str(path):
            raise ValueError("a database needs a file, because several connections share it")
        self.path = Path(path).absolute()
        self._patience = patience
        self._files = SQLiteFiles(self.path)
        self._closed = False
        self._begin()
        try:
            with contextlib.suppress(FileExistsError):  # people's numbers: for the owner's eyes only
                os.close(os.open(self.path.resolve(), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._files.remember()
            self._opened_writer()
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"{self.path}: {error}") from error
        track_forks(self)

    def _begin(self) -> None:
        """Own no connection, and locks that are free."""
        self._open: set[sqlite3.Connection] = set()
        self._writer: sqlite3.Connection | None = None
        self._readers: deque[sqlite3.Connection] = deque()
        self._watchers: deque[sqlite3.Connection] = deque()
        self._turn_to_write = threading.Lock()
        self._turn_to_open = threading.Lock()
        self._bell = Bell(self._watch)
        self._forking = False
        self._forks_with_turn = False

    def before_fork(self) -> None:
        """Close all connections, and wait for those in use.

        SQLite remembers by process which locks it has on a file. A child would inherit that memory without the locks:
        others could remove the WAL that it writes to, and would not be kept out.
        """
        until = time.monotonic() + self._patience.total_seconds()
        with_turn = self._turn_to_write.acquire(timeout=self._patience.total_seconds())
        self._turn_to_open.acquire()
        self._forking, self._forks_with_turn = True, with_turn
        if with_turn:
            self._files.forget_companions()
            self._close_writer()
        self._close_idle()
        while self._open and time.monotonic() < until:
            time.sleep(0.001)

    def after_fork_in_parent(self) -> None:
        """Open connections again as they are needed."""
        if self._forking:
            self._forking = False
            if self._forks_with_turn:
                self._turn_to_write.release()
            self._turn_to_open.release()

    def after_fork_in_child(self) -> None:
        """Do the same, unless a connection was in use all the time: then this process must not open the file."""
        if self._open:
            _abandon(self._open)
            if self._files.opened:
                _inherited.add(self._files.opened)
        self._files.forget_companions()
        self._begin()

    def connect(self) -> sqlite3.Connection:
        """A connection of its own, for whoever closes it. It must not be open when the process is forked."""
        if self._files.opened in _inherited:
            raise StoreUnavailable(
                f"{self.path}: the process was forked in the middle of a transaction or a read, and cannot use the "
                "file: fork at another time, or start a new process (spawn)"
            )
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw",  # it makes no file: where one was removed, another is to be put
            uri=True,
            timeout=self._patience.total_seconds(),
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._files.require_same()
            connection.execute("PRAGMA synchronous=FULL")
        except (sqlite3.Error, StoreUnavailable):
            connection.close()
            raise
        return connection

    def read(self, *, at_length: bool = False) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        """A connection to read from; *at_length* it keeps as much of the file in memory as the writer."""
        self._files.require_same_lately()
        return self._borrowed(self._readers, at_length=at_length)

    @contextlib.contextmanager
    def glance(self) -> Iterator[sqlite3.Connection]:
        """A connection to read a few rows from.

        If nobody writes, it is the writer's: any other one forgets its cache with every write. Nobody writes meanwhile.
        """
        require_tracked_fork()
        self._files.require_same_lately()
        turn = self._turn_to_write  # a child that is forked inside of the block has another one
        if not turn.acquire(blocking=False):
            with self.read() as connection:
                yield connection
            return
        try:
            yield self._opened_writer()
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error
        finally:
            turn.release()

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer runs beside; stored when the block ends, undone when it raises.

        A block must not open another one.
        """
        require_tracked_fork()
        turn = self._turn_to_write
        if not turn.acquire(timeout=self._patience.total_seconds()):
            raise StoreUnavailable("the database is busy")
        writer = None
        try:
            writer = self._opened_writer()
            writer.execute("BEGIN IMMEDIATE")
            self._files.require_same()
            yield writer
            if turn is not self._turn_to_write:
                raise StoreUnavailable("the process was forked inside of this transaction, which is the parent's")
            writer.execute("COMMIT")
            self._files.require_same()  # it may have been replaced since the transaction began
        except sqlite3.IntegrityError as error:
            raise RowsClash(str(error)) from error
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error
        finally:
            with contextlib.suppress(sqlite3.Error):
                # something broke it off; a failed COMMIT may have ended it itself
                if writer is not None and turn is self._turn_to_write and writer.in_transaction:
                    writer.rollback()
            turn.release()
        self._bell.ring()

    probe = write

    def require_same_files(self) -> None:
        """Raises ``StoreUnavailable`` if the file, or what SQLite keeps beside it, was replaced or removed."""
        self._files.require_same()

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
        self._files.forget_companions()
        self._close_idle()
        self._close_writer()

    @contextlib.contextmanager
    def _borrowed(self, idle: deque[sqlite3.Connection], *, at_length: bool = False) -> Iterator[sqlite3.Connection]:
        require_tracked_fork()
        try:
            try:
                connection = idle.pop()
            except IndexError:
                connection = self._opened_one()
            try:
                if at_length:
                    connection.execute(f"PRAGMA cache_size={-CACHE_KIB}")
                yield connection
            finally:
                idle.append(connection)
                if self._closed or self._forking:  # meanwhile
                    self._close_idle()
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error

    def _opened_writer(self) -> sqlite3.Connection:
        """The connection of the one whose turn it is to write."""
        if self._writer is None:
            if self._closed:
                raise StoreUnavailable("the database is closed")
            writer = self._opened_one()
            try:
                writer.execute(f"PRAGMA cache_size={-CACHE_KIB}")
                writer.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
                _switch_to_wal(writer, self._patience)
                writer.execute("SELECT 1 FROM sqlite_schema").fetchone()  # now the WAL is there
            except sqlite3.Error:
                self._close(writer)
                raise
            self._files.remember_companions()
            self._writer = writer
        return self._writer

    def _opened_one(self) -> sqlite3.Connection:
        with self._turn_to_open:
            connection = self.connect()
            self._open.add(connection)
        return connection

    def _close(self, connection: sqlite3.Connection) -> None:
        with contextlib.suppress(sqlite3.Error):
            connection.close()
        self._open.discard(connection)

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._close(self._writer)
            self._writer = None

    def _close_idle(self) -> None:
        for idle in (self._readers, self._watchers):
            with contextlib.suppress(IndexError):
                while True:
                    self._close(idle.pop())

    def _watch(self, closed: threading.Event) -> None:
        seen = None
        look_at_wal_at = 0.0
        while not closed.wait(POLL_SECONDS):
            with contextlib.suppress(StoreUnavailable), self._borrowed(self._watchers) as connection:
                version = (connection, connection.execute("PRAGMA data_version").fetchone())
                if version != seen:  # another connection counts anew
                    seen = version
                    self._bell.ring()
                if time.monotonic() >= look_at_wal_at:
                    look_at_wal_at = time.monotonic() + WAL_SECONDS
                    self._shorten_wal(connection)

    def _shorten_wal(self, connection: sqlite3.Connection) -> None:
        """Have a long WAL, which grew while somebody read, begin anew; not as long as they still read."""
        try:
            if self._files.wal.stat().st_size <= WAL_LIMIT_BYTES:
                return
        except OSError:
            return
        busy, frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()  # keeps nobody waiting
        if not busy and frames == copied:
            connection.execute(f"PRAGMA busy_timeout={LONGEST_TRUNCATION_MS}")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _abandon(connections: set[sqlite3.Connection]) -> None:
    """Have *connections* of a parent never closed, not even when the child ends: that would reach into its memory."""
    import ctypes  # noqa: PLC0415 - only here, where it is rare

    for connection in connections:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


_inherited: set[FileId] = set()
"""Files that this process must not open: it was forked while its parent used them."""


def _switch_to_wal(connection: sqlite3.Connection, patience: timedelta) -> None:
    until = time.monotonic() + patience.total_seconds()
    while True:  # SQLite does not wait for others that switch at the same moment
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.Error as error:
            if not isinstance(error, sqlite3.OperationalError) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


__all__ = ["SQLiteDatabase"]
