"""A PostgreSQL database: short waits, connections that mend themselves, and a bell that rings when anybody wrote."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar, cast

import psycopg
from psycopg.abc import AdaptContext, Buffer, Query
from psycopg.adapt import Loader
from psycopg.pq import Format

from humanuser import StoreUnavailable
from humanuser_adapters.bell import Bell
from humanuser_adapters.database import Connection, Rows, RowsClash, text_of_time, time_of_text
from humanuser_adapters.database_name import postgresql_url
from humanuser_adapters.forks import ForkAware, NotPicklable, require_tracked_fork, track_forks
from humanuser_adapters.log_fields import log_of
from humanuser_adapters.migrations import bring_up_to_date, version_of
from humanuser_adapters.postgresql_errors import error_text
from humanuser_adapters.postgresql_settings import BEGIN, local_settings, pin_settings, require_utf8

log = log_of(__name__)

POLL_SECONDS = 0.2
"""How often listeners look anyway, where no notification gets through (a pooler, a network that is slow to tell)."""
CONNECT_SECONDS = 0.3
"""How long one host may take to accept a connection."""
RECONNECT_SECONDS = 0.25
"""How long the watch waits before it tries the server again."""
NOTIFY_SECONDS = 0.05
"""How long after a notification this process sends the next one."""
PATIENCE = timedelta(seconds=0.6)
"""How long a read or an append may take. A command does three at most (it reads, appends, and asks what became of
that), so it is answered within two seconds, whatever the server does."""
PATIENCE_FOR_WORK = timedelta(seconds=30)
"""The same for transactions in the background, which may move many rows."""
PATIENCE_FOR_PROBE = timedelta(seconds=10)
"""The same for the write of a health check. It waits for a server that may come back; its caller waits less."""
LINES_A_MESSAGE = 200
"""Of a COPY."""

_CHANNEL = "humanuser"
_DEFAULTS = {"application_name": "humanuser", "target_session_attrs": "primary", "tcp_user_timeout": 5000}
_MIGRATION_LOCK = 0x68756D616E  # "human"

C = TypeVar("C", bound=AdaptContext)


class PostgreSQLDatabase(ForkAware, NotPicklable):
    """A PostgreSQL database that several threads and processes use at once.

    What is written is on disk when ``write`` ends, and on the synchronous standby if there is one. It does not depend
    on settings of the server, the database or the role: a connection of our own states them once, and each
    transaction does where a pooler shares the connection. Through a pooler nothing is prepared, and
    where notifications do not get through, listeners look by themselves every ``POLL_SECONDS``. Readers must read
    from the primary. A forked child connects by itself; its parent's sessions go on.
    """

    types: Mapping[str, str] = {
        "time": "timestamptz",
        "number": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    }
    claiming = "FOR UPDATE SKIP LOCKED"

    def __init__(
        self,
        url: str,
        *,
        patience: timedelta = PATIENCE,
        patience_for_work: timedelta = PATIENCE_FOR_WORK,
        connections: int = 32,
    ) -> None:
        """*url* may name several hosts; the one that takes writes is chosen. No more than *connections* are open.

        Raises ``ValueError`` if *url* is invalid, without any part of it. Nothing is connected yet.
        """
        if "://" in url:  # or it is a connection string of libpq, from Python code
            url = postgresql_url(url)
        try:
            given: dict[str, Any] = {**_DEFAULTS, **psycopg.conninfo.conninfo_to_dict(url)}  # Any: as in the library
            self._url = psycopg.conninfo.make_conninfo(**given | {"client_encoding": "UTF8"})
        except psycopg.Error:
            raise ValueError("the database's URL is malformed, or has an unknown parameter") from None
        self._patience = patience.total_seconds()
        self._patience_for_work = patience_for_work.total_seconds()
        self._most_connections = connections
        self._closed = False
        self._begin()
        track_forks(self)

    def after_fork_in_child(self) -> None:
        """Connect anew; nobody listens yet."""
        for connection in list(self._open):
            _abandon(connection)
        self._begin()

    def _begin(self) -> None:
        """Own nothing but locks that are free, and a name that no other process has."""
        self._open: weakref.WeakSet[_Impatient] = weakref.WeakSet()
        self._idle: deque[_Impatient] = deque()
        self._free = threading.BoundedSemaphore(self._most_connections)
        self._bell = Bell(self._watch)
        self._search_path: str | None = None
        self._name = secrets.token_hex(8)
        self._notifier = _Notifier(self)

    @contextlib.contextmanager
    def read(self, *, at_length: bool = False) -> Iterator[Connection]:
        """A connection to read from; each statement sees what is committed when it begins."""
        with self._connection(self._patience_for_work if at_length else self._patience) as connection:
            yield self._statements(connection)

    glance = read

    @contextlib.contextmanager
    def statement(self) -> Iterator[Connection]:
        """A connection for one statement that is a transaction of its own. Raises ``RowsClash``."""
        with self._connection(self._patience) as connection:
            yield self._statements(connection)
        self.rang()

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction; stored when the block ends, undone when it raises. Raises ``RowsClash``."""
        with self._connection(self._patience_for_work) as connection:
            connection.execute(f"{BEGIN}; {self._local_settings(connection, self._patience_for_work)}")
            try:
                yield Marked(lambda: connection.cursor(binary=True))
            except BaseException:
                with contextlib.suppress(psycopg.Error):
                    connection.execute("ROLLBACK")
                raise
            if connection.execute("COMMIT").statusmessage != "COMMIT":
                raise StoreUnavailable("the transaction was undone, because a statement in it had failed")
        self.rang()

    @contextlib.contextmanager
    def probe(self) -> Iterator[Connection]:
        """A connection for a health check's write. Each statement is a transaction of its own; no listener is woken.

        If a commit waits for a standby that is away, the server is told to stop waiting: no processes pile up there.
        """
        with self._connection(PATIENCE_FOR_PROBE.total_seconds()) as connection:
            try:
                yield self._statements(connection)
            except psycopg.errors._WaitTimeout:  # noqa: SLF001 - it has no public name
                with contextlib.suppress(psycopg.Error):
                    connection.cancel_safe(timeout=CONNECT_SECONDS)
                raise

    def now(self, connection: Connection) -> datetime:
        """The time of the server."""
        return time_of_text(connection.execute("SELECT clock_timestamp()").fetchone()[0])

    def migrate(self, component: str, scripts: Sequence[Sequence[str]]) -> None:
        """Bring the tables of *component* to the newest version; any number of processes may do so at once."""
        with contextlib.suppress(_NoTable), self.read() as connection:
            if version_of(connection, component) == len(scripts):
                return
        with self.write() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(?)", (_MIGRATION_LOCK,))
            bring_up_to_date(connection, component, scripts, self.types)

    def rang(self) -> None:
        """Tell the listeners here, and those of other processes, that something was written."""
        self._bell.ring()
        self._notifier.wanted()

    def listen(self, event: threading.Event) -> None:
        """Have *event* set whenever this or another process has written, and now and then if nobody did."""
        self._bell.add(event)

    def unlisten(self, event: threading.Event) -> None:
        """End what ``listen`` began."""
        self._bell.remove(event)

    def close(self) -> None:
        """Close all connections; one in use closes when that ends. Closing again does nothing."""
        self._closed = True
        self._notifier.close()
        self._bell.close()
        self._forget_idle()

    def connect(self) -> _Impatient:
        """A connection of its own, for whoever closes it. Raises ``StoreUnavailable``."""
        try:
            connection = _Impatient.connect(self._url, autocommit=True, prepare_threshold=None)
        except psycopg.Error as error:
            raise StoreUnavailable(error_text(error)) from None
        self._open.add(connection)
        try:
            require_utf8(connection)
            connection.until = time.monotonic() + self._patience
            connection.shared, self._search_path = pin_settings(
                connection, self._patience, self._patience_for_work, search_path=self._search_path
            )
        except BaseException as error:
            connection.close()
            if isinstance(error, psycopg.Error):
                raise StoreUnavailable(error_text(error)) from None
            raise
        return with_texts(connection)

    def _statements(self, connection: _Impatient) -> Marked:
        """Through which each statement is a transaction of its own, with the settings that we need."""
        if not connection.shared:
            return Marked(lambda: connection.cursor(binary=True))
        return _StatedTransactions(connection, self._local_settings(connection, self._patience))

    def _local_settings(self, connection: _Impatient, patience: float) -> str:
        return local_settings(
            connection.info.server_version, patience, self._patience_for_work, search_path=self._search_path or ""
        )

    @contextlib.contextmanager
    def _connection(self, patience: float) -> Iterator[_Impatient]:
        require_tracked_fork()
        until = time.monotonic() + patience
        free = self._free  # a child that is forked inside of the block has another one
        if not free.acquire(timeout=patience):
            raise StoreUnavailable("all connections are in use")
        try:
            connection = self._alive() or self.connect()
            connection.until = until
            try:
                yield connection
            except psycopg.IntegrityError as error:
                raise RowsClash(error_text(error)) from None
            except psycopg.errors.UndefinedTable as error:
                raise _NoTable(error_text(error)) from None
            except psycopg.Error as error:
                if isinstance(error, psycopg.errors._WaitTimeout):  # noqa: SLF001 - it has no public name
                    connection.close()
                raise StoreUnavailable(error_text(error)) from None
            finally:
                self._put_back(connection)
        finally:
            free.release()

    def _alive(self) -> _Impatient | None:
        """A connection that is open already and whose server has not hung up."""
        with contextlib.suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if not _has_news(connection):
                    return connection
                connection.close()
        return None

    def _put_back(self, connection: _Impatient) -> None:
        if connection.closed or connection.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.close()
            return
        self._idle.append(connection)
        if self._closed:  # meanwhile
            self._forget_idle()

    def _forget_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def notify(self) -> None:
        """Tell other processes, in a transaction of its own: a notification makes commits wait for each other."""
        with self._connection(self._patience) as connection:
            connection.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, self._name))

    def _watch(self, closed: threading.Event) -> None:
        while not closed.is_set():
            try:
                with self.connect() as connection:
                    if not connection.shared:  # or it would stay on a connection that others get
                        connection.execute(f"LISTEN {_CHANNEL}")
                    while not closed.is_set():
                        self._bell.ring()  # also at first, for what was written before anybody listened
                        self._wait_for_others(connection)
            except (psycopg.Error, StoreUnavailable) as error:
                reason = error_text(error) if isinstance(error, psycopg.Error) else error
                log.info("the watch lost its connection, and tries again: %s", reason)
                self._bell.ring()
                closed.wait(RECONNECT_SECONDS)

    def _wait_for_others(self, connection: _Impatient) -> None:
        """Until another process wrote, or it is time to look anyway."""
        until = time.monotonic() + POLL_SECONDS
        while (left := until - time.monotonic()) > 0:
            connection.until = time.monotonic() + left + self._patience
            for one in connection.notifies(timeout=left, stop_after=1):
                if one.payload != self._name:
                    return


def _abandon(connection: psycopg.Connection[Any]) -> None:  # Any: as above
    """Close a connection in a forked child without a word to the server, which would end the parent's session."""
    with contextlib.suppress(psycopg.Error), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), connection.fileno(), inheritable=False)
        connection.close()


class _NoTable(StoreUnavailable):
    """Nobody has made the tables yet."""


class _Impatient(psycopg.Connection[Any]):  # Any: rows of whatever was asked for
    """A connection that waits for an answer until a given time, and not longer."""

    until: float | None = None
    shared = False
    """Whether a pooler may give the server's connection to others after each transaction."""

    @classmethod
    def _connect_gen(cls, *args: Any, **kwargs: Any) -> Any:  # Any: as in the library, whose shortest wait is 2 s
        until = time.monotonic() + CONNECT_SECONDS
        steps = super()._connect_gen(*args, **kwargs)
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if time.monotonic() > until:
                    raise psycopg.errors.ConnectionTimeout("the server does not answer")
                wanted = steps.send(ready)
        except StopIteration as done:
            return done.value

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:  # Any: as in the library
        left = None if self.until is None else max(self.until - time.monotonic(), 0.0)
        return super().wait(gen, interval, left if timeout is None else timeout)


class Marked:
    """A connection to which ``?`` stands for a value."""

    def __init__(self, cursor: Callable[[], psycopg.Cursor[Any]]) -> None:  # Any: rows of whatever was asked for
        """*cursor* gives a new one for each statement."""
        self._cursor = cursor

    def execute(self, query: str, parameters: Sequence[Any] = (), /) -> Rows:  # Any: what a column can hold
        if parameters:
            return self._cursor().execute(_percent(query), parameters)
        return self._cursor().execute(cast(Query, query))  # no parameters: nothing in it has to be marked

    def executemany(self, query: str, parameters: Sequence[Sequence[Any]], /) -> object:  # as above
        if parameters:
            self._cursor().executemany(_percent(query), parameters)
        return None

    def copy_in(self, query: str, lines: Iterator[str]) -> None:
        """Run a COPY that takes in *lines*; the server stores some while others are made."""
        with self._cursor().copy(cast(Query, query)) as copy:
            while some := "".join(islice(lines, LINES_A_MESSAGE)):
                copy.write(some)


class _StatedTransactions(Marked):
    """Runs each statement as a transaction of its own that states its settings, in one round trip."""

    def __init__(self, connection: _Impatient, settings: str) -> None:
        super().__init__(lambda: connection.cursor(binary=True))
        self._connection = connection
        self._settings = settings

    def execute(self, query: str, parameters: Sequence[Any] = (), /) -> Rows:  # Any: what a column can hold
        connection = self._connection
        try:
            with connection.pipeline():
                connection.execute(BEGIN)
                connection.execute(cast(Query, self._settings))
                rows = super().execute(query, parameters)
                connection.execute("COMMIT")
        except psycopg.Error:
            with contextlib.suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            raise
        return rows


def _has_news(connection: psycopg.Connection[Any]) -> bool:
    """Whether an idle server says something, which is that it hangs up. (``select`` has no numbers above 1023.)"""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def copy_in(connection: Connection, query: str, lines: Iterator[str]) -> None:
    """Run a COPY that takes in *lines*, in the transaction of *connection*, which a block of ours gave."""
    assert isinstance(connection, Marked)  # noqa: S101 - it is
    connection.copy_in(query, lines)


def with_texts(context: C) -> C:
    """*context*, a connection or a cursor, which loads times and JSON as texts.

    From the binary format, because no setting changes that.
    """
    context.adapters.register_loader("timestamptz", _TimeLoader)
    context.adapters.register_loader("json", _JsonLoader)
    return context


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""From which PostgreSQL counts microseconds."""


class _TimeLoader(Loader):
    """A time as ``text_of_time`` writes it."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        return text_of_time(_EPOCH + timedelta(microseconds=int.from_bytes(data, signed=True)))


class _JsonLoader(Loader):
    """JSON as it was stored."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        return bytes(data).decode()


class _Notifier:
    """Tells other processes, a few times a second at most, that this one has written."""

    def __init__(self, database: PostgreSQLDatabase) -> None:
        self._database = database
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None

    def wanted(self) -> None:
        """Something was written."""
        self._wanted.set()
        with self._start:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="humanuser-notify", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Tell what is left to tell, and end."""
        self._closed.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            with contextlib.suppress(StoreUnavailable):  # they look by themselves, too
                self._database.notify()
            if self._closed.wait(NOTIFY_SECONDS):
                return


@functools.cache
def _percent(query: str) -> Any:  # Any: the library wants texts that it can see are constant
    return query.replace("?", "%s")


__all__ = ["PostgreSQLDatabase"]
