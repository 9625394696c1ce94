"""A host's transaction on PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import tuple_row

from humanuser import StoreUnavailable
from humanuser_adapters.database import Connection, RowsClash
from humanuser_adapters.host_transaction.driver import driver_connection
from humanuser_adapters.host_transaction.errors import TransactionOvertaken, TransactionUnusable
from humanuser_adapters.host_transaction.host_transaction import HostTransaction
from humanuser_adapters.postgresql import Marked, PostgreSQLDatabase, with_texts
from humanuser_adapters.postgresql_errors import error_text

_WHERE = """
    SELECT extract(epoch FROM pg_postmaster_start_time()), to_regclass('humanuser_events')::oid,
        (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""What no two databases have in common, and every role may ask: the running server, the database and the table."""
_UNFIT = {
    TransactionStatus.INERROR: "the transaction was aborted by a statement that failed, roll it back",
    TransactionStatus.ACTIVE: "the connection is in the middle of another statement",
}


class PostgreSQLHostTransaction(HostTransaction):
    """The transaction of a ``psycopg.Connection``, at any isolation level.

    Nobody is notified: in the host's transaction that would make commits wait for each other. Listeners look anyway,
    every ``POLL_SECONDS``.
    """

    def __init__(self, database: PostgreSQLDatabase, host: object) -> None:
        """Raises ``TransactionUnusable`` unless *host* is at *database*; ``StoreUnavailable``."""
        super().__init__(database)
        self._host = host
        self._known: psycopg.Connection[Any] | None = None  # Any: rows of whatever was asked for
        with self.read():
            pass

    @contextlib.contextmanager
    def read(self, *, at_length: bool = False) -> Iterator[Connection]:  # noqa: ARG002 - it takes what it takes
        with _translated(self._fit()) as marked:
            yield marked

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        with _translated(self._fit()) as marked:
            marked.execute("SAVEPOINT humanuser")
            try:
                yield marked
            except BaseException as error:
                with contextlib.suppress(psycopg.Error):  # the connection is lost
                    marked.execute("ROLLBACK TO SAVEPOINT humanuser")
                    marked.execute("RELEASE SAVEPOINT humanuser")
                    if isinstance(error, psycopg.IntegrityError):
                        _require_fresh_sight(marked)
                raise
            marked.execute("RELEASE SAVEPOINT humanuser")

    def _fit(self) -> psycopg.Connection[Any]:  # Any: as above
        connection = driver_connection(self._host)
        if not isinstance(connection, psycopg.Connection):
            kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
            raise TransactionUnusable(f"the database is PostgreSQL, and {kind} is no psycopg.Connection")
        status = connection.info.transaction_status
        if status in _UNFIT:
            raise TransactionUnusable(_UNFIT[status])
        if status == TransactionStatus.IDLE and connection.autocommit:
            raise TransactionUnusable("no transaction is open, and the connection commits by itself: begin one")
        if connection.info.encoding != "utf-8":
            raise TransactionUnusable("the connection's client_encoding is not UTF8")
        if connection is not self._known:
            self._require_same_database(connection)
            self._known = connection
        return connection

    def _require_same_database(self, connection: psycopg.Connection[Any]) -> None:  # Any: as above
        with _translated(connection) as theirs, self._database.read() as ours:
            if theirs.execute(_WHERE).fetchone() != ours.execute(_WHERE).fetchone():
                raise TransactionUnusable("the connection is to another database, or has another search_path")


def _require_fresh_sight(connection: Connection) -> None:
    """Raises ``TransactionOvertaken`` if what others stored stays hidden from the transaction until its end."""
    (level,) = connection.execute("SHOW transaction_isolation").fetchone()
    if level in {"repeatable read", "serializable"}:
        raise TransactionOvertaken("others changed the user since this transaction began")


@contextlib.contextmanager
def _translated(connection: psycopg.Connection[Any]) -> Iterator[Marked]:  # Any: as above
    try:
        yield Marked(lambda: _cursor(connection))
    except psycopg.IntegrityError as error:
        raise RowsClash(error_text(error)) from None
    except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected) as error:
        raise TransactionOvertaken(error_text(error)) from None
    except (psycopg.errors.ReadOnlySqlTransaction, psycopg.ProgrammingError) as error:
        raise TransactionUnusable(error_text(error)) from None
    except psycopg.Error as error:
        raise StoreUnavailable(error_text(error)) from None


def _cursor(connection: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:  # Any: as above
    """A cursor that reads the same whatever the host's session and connection are set to."""
    cursor = with_texts(psycopg.Cursor(connection, row_factory=tuple_row))
    cursor.format = Format.BINARY
    return cursor
