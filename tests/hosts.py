"""Hosts with a table of their own beside our events, who open their transactions each in another way."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.orm import Session

Opened = Callable[[str], Any]  # Any: a context manager of a host
"""A host at the SQLite file, or at the PostgreSQL URL, that it is given."""


@dataclass(frozen=True, slots=True)
class Host:
    """A backend in the middle of its work."""

    connection: Any
    """What it hands to us, of whichever library it is."""
    execute: Callable[[str], Any]  # Any: rows, as its library gives them
    commit: Callable[[], None]
    rollback: Callable[[], None]

    def order(self, item: str) -> None:
        """Store a row of its own."""
        self.execute(f"INSERT INTO orders VALUES ('{item}')")  # noqa: S608 - each library marks values in another way

    def orders(self) -> set[str]:
        """Its own rows."""
        return {item for (item,) in self.execute("SELECT item FROM orders")}


@contextmanager
def on_sqlite(path: str) -> Iterator[Host]:
    """The driver begins a transaction at the first change, as ``sqlite3`` does unless told otherwise."""
    with closing(sqlite3.connect(path)) as connection:
        yield Host(connection, connection.execute, connection.commit, connection.rollback)


@contextmanager
def on_sqlite_that_begins(path: str) -> Iterator[Host]:
    """The host begins each transaction by itself."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:

        def end(how: str) -> None:
            connection.execute(how)
            connection.execute("BEGIN")

        connection.execute("BEGIN")
        yield Host(connection, connection.execute, lambda: end("COMMIT"), lambda: end("ROLLBACK"))


@contextmanager
def on_sqlite_without_autocommit(path: str) -> Iterator[Host]:
    """The driver keeps a transaction open all the time, as the standard for drivers wants it."""
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect  # the argument is newer than the oldest Python
    with closing(connect(path, autocommit=False)) as connection:
        yield Host(connection, connection.execute, connection.commit, connection.rollback)


@contextmanager
def on_psycopg(url: str) -> Iterator[Host]:
    with closing(psycopg.connect(url)) as connection:
        yield Host(connection, connection.execute, connection.commit, connection.rollback)


@contextmanager
def on_a_connection_of_sqlalchemy(database: str) -> Iterator[Host]:
    with _engine(database).connect() as connection:
        yield Host(connection, connection.exec_driver_sql, connection.commit, connection.rollback)


@contextmanager
def on_a_session_of_sqlalchemy(database: str) -> Iterator[Host]:
    with Session(_engine(database)) as session:
        yield Host(session, lambda statement: session.execute(text(statement)), session.commit, session.rollback)


@contextmanager
def on_a_connection_that_its_pool_lent(database: str) -> Iterator[Host]:
    with closing(_engine(database).raw_connection()) as connection:
        driver: Any = connection.driver_connection  # Any: sqlite3's or psycopg's
        yield Host(connection, driver.execute, connection.commit, connection.rollback)


OF_SQLALCHEMY: list[Opened] = [
    on_a_connection_of_sqlalchemy,
    on_a_session_of_sqlalchemy,
    on_a_connection_that_its_pool_lent,
]
ON_SQLITE: list[Opened] = [
    on_sqlite,
    on_sqlite_that_begins,
    *([on_sqlite_without_autocommit] if sys.version_info >= (3, 12) else []),
    *OF_SQLALCHEMY,
]
ON_POSTGRESQL: list[Opened] = [on_psycopg, *OF_SQLALCHEMY]


def _engine(database: str) -> Engine:
    if database.startswith("postgresql:"):
        return create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database), poolclass=NullPool)
    return create_engine(f"sqlite:///{database}", poolclass=NullPool)
