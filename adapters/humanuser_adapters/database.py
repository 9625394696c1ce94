"""What a database must offer. The SQL above it is what SQLite and PostgreSQL have in common, with ``?`` for a value."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Protocol


class RowsClash(Exception):
    """A row would break a rule of its table; only the table's owner can tell what that means."""


class Rows(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows a change touched."""

    def fetchone(self) -> Any:  # a tuple of whatever was asked for
        """The next row; None: there is no more."""

    def fetchall(self) -> list[Any]:  # as above
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]:  # as above
        """The rows that are left."""


class Connection(Protocol):
    """A connection, for as long as a block of ``Database`` lasts."""

    def execute(self, query: str, parameters: Sequence[Any] = (), /) -> Rows:  # Any: what a column can hold
        """Run one statement."""

    def executemany(self, query: str, parameters: Sequence[Sequence[Any]], /) -> object:  # as above
        """Run one statement once for each row of *parameters*."""


class Database(Protocol):
    """A database that several threads and processes use at once.

    What is written is on disk when ``write`` ends. Every method but ``close`` raises ``StoreUnavailable`` where the
    database cannot be had in time.
    """

    @property
    def types(self) -> Mapping[str, str]:
        """What the schemas' words are here: ``{time}``, ``{number}`` (a primary key that counts by itself)."""

    @property
    def claiming(self) -> str:
        """Ends a query whose rows the transaction wants for itself, without those that another one has already."""

    def read(self, *, at_length: bool = False) -> AbstractContextManager[Connection]:
        """A connection to read from; *at_length* says that it may take a while, because there is much to read."""

    def glance(self) -> AbstractContextManager[Connection]:
        """A connection to read a few rows from; where it matters, one that has them in its cache."""

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction; stored when the block ends, undone when it raises. A block must not open another one.

        Raises ``RowsClash``.
        """

    def probe(self) -> AbstractContextManager[Connection]:
        """A connection for a health check's write, which is durable when the block ends.

        A server wakes no listeners for it, and stops working on what is given up.
        """

    def now(self, connection: Connection) -> datetime:
        """The time on the one clock that all processes on this database share."""

    def migrate(self, component: str, scripts: Sequence[Sequence[str]]) -> None:
        """Bring the tables of *component* to the newest version: every script it has not seen, once, all or nothing."""

    def listen(self, event: threading.Event) -> None:
        """Have *event* set whenever this or another process has written."""

    def unlisten(self, event: threading.Event) -> None:
        """End what ``listen`` began."""

    def close(self) -> None:
        """Close all connections. Closing again does nothing."""


def text_of_time(moment: datetime) -> str:
    """A moment as it is stored: UTC with microseconds, so that texts sort as the moments do."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat("T", "microseconds")[: -len("+00:00")] + "Z"


def time_of_text(text: str) -> datetime:
    """The moment that ``text_of_time`` wrote down, as any database gives it back."""
    return datetime.fromisoformat(text).astimezone(UTC)


__all__ = ["Connection", "Database", "Rows"]
