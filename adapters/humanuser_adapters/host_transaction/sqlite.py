"""A host's transaction on a SQLite file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator

from humanuser import StoreUnavailable
from humanuser_adapters.database import RowsClash
from humanuser_adapters.host_transaction.driver import driver_connection
from humanuser_adapters.host_transaction.errors import TransactionOvertaken, TransactionUnusable
from humanuser_adapters.host_transaction.host_transaction import HostTransaction
from humanuser_adapters.sqlite import SQLiteDatabase

_LEGACY_TRANSACTION_CONTROL = -1
"""What ``autocommit`` is where a connection has the attribute (from Python 3.12), unless it was given."""
_PRIMARY_CODE = 0xFF
"""What of SQLite's extended error codes tells the kind of error."""


class SQLiteHostTransaction(HostTransaction):
    """The transaction of a ``sqlite3.Connection``.

    Where none is open, but the driver would open one at the first change, one is opened for that change.
    """

    def __init__(self, database: SQLiteDatabase, host: object) -> None:
        """Raises ``TransactionUnusable`` unless *host* is at the file of *database*."""
        super().__init__(database)
        self._path = database.path
        self._require_same_files = database.require_same_files
        self._host = host
        with self.read():
            pass

    @contextlib.contextmanager
    def read(self, *, at_length: bool = False) -> Iterator[sqlite3.Connection]:  # noqa: ARG002 - it takes what it takes
        connection = driver_connection(self._host)
        if not isinstance(connection, sqlite3.Connection):
            raise TransactionUnusable(f"the database is a SQLite file, and {_kind(connection)} is not from sqlite3")
        with _translated(connection), _plain(connection):
            self._require_same_files()
            _require_file(connection, self._path)
            if not connection.in_transaction and not _begins_by_itself(connection):
                raise TransactionUnusable("no transaction is open, and the connection commits by itself: BEGIN one")
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        with self.read() as connection:
            if not connection.in_transaction:
                connection.execute("BEGIN IMMEDIATE")
            connection.execute("SAVEPOINT humanuser")
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk has ended the whole transaction
                    connection.execute("ROLLBACK TO humanuser")
                    connection.execute("RELEASE humanuser")
                raise
            connection.execute("RELEASE humanuser")


def _begins_by_itself(connection: sqlite3.Connection) -> bool:
    control = getattr(connection, "autocommit", _LEGACY_TRANSACTION_CONTROL)
    return control == _LEGACY_TRANSACTION_CONTROL and connection.isolation_level is not None


def _require_file(connection: sqlite3.Connection, path: os.PathLike[str]) -> None:
    files = {name: file for _, name, file in connection.execute("PRAGMA database_list")}
    try:
        if os.path.samefile(files["main"], path):
            return
    except OSError:  # it has no file, or a lost one
        pass
    raise TransactionUnusable(f"the connection is not to {path}, where the events are")


@contextlib.contextmanager
def _plain(connection: sqlite3.Connection) -> Iterator[None]:
    """Rows are tuples and texts are texts, whatever the host has them be."""
    theirs = (connection.row_factory, connection.text_factory)
    connection.row_factory, connection.text_factory = None, str
    try:
        yield
    finally:
        connection.row_factory, connection.text_factory = theirs


@contextlib.contextmanager
def _translated(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise RowsClash(str(error)) from error
    except sqlite3.ProgrammingError as error:  # it is closed, or another thread's
        raise TransactionUnusable(str(error)) from error
    except sqlite3.Error as error:
        kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
        if kind == sqlite3.SQLITE_BUSY and connection.in_transaction:
            raise TransactionOvertaken(
                "others have written since this transaction began to read; BEGIN IMMEDIATE keeps them out"
            ) from error
        if kind == sqlite3.SQLITE_READONLY:
            raise TransactionUnusable(str(error)) from error
        raise StoreUnavailable(str(error)) from error


def _kind(connection: object) -> str:
    return f"{type(connection).__module__}.{type(connection).__qualname__}"
