"""A PostgreSQL database with the table in which a ZITADEL keeps its events."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from humanuser_adapters.event_row import EventRow

SCHEMA = """
    CREATE SCHEMA eventstore;
    CREATE TABLE eventstore.events2 (
        instance_id text NOT NULL, aggregate_type text NOT NULL, aggregate_id text NOT NULL, event_type text NOT NULL,
        "sequence" bigint NOT NULL, revision smallint NOT NULL, created_at timestamptz NOT NULL, payload jsonb,
        creator text NOT NULL, "owner" text NOT NULL, "position" decimal NOT NULL, in_tx_order integer NOT NULL,
        PRIMARY KEY (instance_id, aggregate_type, aggregate_id, "sequence")
    );
    CREATE SCHEMA projections;
    CREATE TABLE projections.users14_humans (
        user_id text NOT NULL, instance_id text NOT NULL, phone text, is_phone_verified boolean,
        PRIMARY KEY (instance_id, user_id)
    )
"""
_PUSH = """
    INSERT INTO eventstore.events2 VALUES
    ('i', 'user', %s, 'user.token.added', %s, 2, now(), NULL, 'a', 'o', extract(epoch FROM now()), 1)
"""


class ZitadelDatabase:
    """The database, and what a ZITADEL does to it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def add(self, rows: Sequence[EventRow]) -> None:
        """Store *rows* as they are."""
        with (
            psycopg.connect(self.url) as connection,
            connection.cursor().copy("COPY eventstore.events2 FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row((*_columns(row),))

    def push(self, connection: psycopg.Connection[Any], user_id: str, sequence: int) -> None:
        """Store one event in the transaction at hand."""
        connection.execute(_PUSH, (user_id, sequence))

    def places(self) -> list[tuple[tuple[str, str], int]]:
        """Instance, user and sequence of every event."""
        rows = self.execute('SELECT instance_id, aggregate_id, "sequence" FROM eventstore.events2')
        return [((instance_id, user_id), sequence) for instance_id, user_id, sequence in rows]

    @contextmanager
    def as_role(self, role: str) -> Iterator[str]:
        """The URL of the database for a new *role* that may read the events and nothing else."""
        self.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'unused'")
        self.execute(f"GRANT USAGE ON SCHEMA eventstore TO {role}")
        self.execute(f"GRANT SELECT ON eventstore.events2 TO {role}")
        parts = urlsplit(self.url)
        yield parts._replace(netloc=f"{role}:unused@{parts.netloc.rpartition('@')[2]}").geturl()
        self.execute(f"DROP OWNED BY {role}")
        self.execute(f"DROP ROLE {role}")


@pytest.fixture
def zitadel(postgresql_server: str) -> Iterator[ZitadelDatabase]:
    name = f"zitadel_{secrets.token_hex(8)}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    database = ZitadelDatabase(urlsplit(postgresql_server)._replace(path=f"/{name}").geturl())
    database.execute(SCHEMA)
    yield database
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _columns(row: EventRow) -> Iterator[object]:
    for name in EventRow.__struct_fields__:
        value = getattr(row, name)
        match name:
            case "payload":
                yield row.payload_text
            case "position":
                yield row.position_text
            case _:
                yield value
