"""Reads the events of a running ZITADEL from its database: read-only, in order, and none that commits late is missed.

A row's position is the time at which its transaction began, so one that is still open may yet store rows before those
that can be seen. Only what is older than every open transaction is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg
from msgspec import Raw

from humanuser_adapters.event_row import NO_PAYLOAD, EventRow, Line
from humanuser_adapters.zitadel.connection import PATIENT, connected

ROWS_A_FETCH = 5000
MARGIN_SECONDS = 0.5
"""A transaction is seen a moment after the time that it takes for its beginning."""
PLACES_A_SECOND = 1_000_000

_HORIZON = """
    SELECT
        extract(epoch FROM least(min(xact_start) FILTER (WHERE pid <> pg_backend_pid()), clock_timestamp()))
            - %s::numeric,
        count(*) FILTER (WHERE query = '<insufficient privilege>')
    FROM pg_stat_activity WHERE datname = current_database()
"""
_UNSAFE = """
    SELECT
        pg_is_in_recovery(),
        EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = 'eventstore.events2'::regclass),
        EXISTS (SELECT FROM pg_locks WHERE relation = 'eventstore.events2'::regclass AND pid IS NULL
            AND mode = 'RowExclusiveLock'),
        EXISTS (SELECT FROM pg_stat_activity WHERE state = 'disabled')
"""
_REASONS = (
    "it is a standby, where open transactions of the primary cannot be seen: read from the primary",
    "it receives its events by logical replication, in another order: read from the primary",
    "a prepared transaction has stored events: commit it or roll it back",
    "a session has track_activities off, so whether its transaction is open cannot be seen",
)
_ROWS = """
    SELECT instance_id, aggregate_type, aggregate_id, event_type, "sequence", revision, created_at, payload::text,
        creator, "owner", "position", in_tx_order
    FROM eventstore.events2
    WHERE (aggregate_type = 'user'
        OR aggregate_type = 'org' AND event_type = 'org.removed'
        OR aggregate_type = 'instance' AND event_type = 'instance.removed')
        AND "position" > %s AND "position" < %s
    ORDER BY "position", in_tx_order, instance_id, aggregate_id, "sequence"
"""


class UnsafeSource(PermissionError):
    """Rows that commit late could be missed here."""


class ZitadelEvents:
    """What there is to read of a database now; its rows are the same for as long as the block lasts that gave it."""

    grows = True

    def __init__(self, connection: psycopg.Connection[Any], until: Decimal) -> None:
        """Everything before the position *until* is in it."""
        info = connection.info
        self.name = "the ZITADEL database"  # whose URL nobody is to read in a message
        self._identity = f"zitadel {info.host}:{info.port}/{info.dbname}"
        self._connection = connection
        self._until = until

    def identity(self) -> str:
        """The database: what was read of it earlier is known."""
        return self._identity

    def lines(self, *, after: int = 0) -> Iterator[Line]:
        """The rows behind the place *after*: a place is a position in microseconds."""
        with self._connection.cursor(name="humanuser_import", binary=True) as cursor:
            cursor.itersize = ROWS_A_FETCH
            cursor.execute(_ROWS, (Decimal(after) / PLACES_A_SECOND, self._until))
            for row in cursor:
                yield Line(int(row[10] * PLACES_A_SECOND), _event_row(row))


@contextmanager
def zitadel_events(url: str) -> Iterator[ZitadelEvents]:
    """The users' events of the ZITADEL database at *url*, as of now.

    Raises ``StoreUnavailable``; ``UnsafeSource`` where open transactions cannot be seen, such as on a standby.
    """
    with connected(url, "humanuser replay") as connection:
        _refuse_unsafe(connection)
        until = _horizon(connection)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.deferrable = False
        with connection.transaction():
            connection.execute(PATIENT)
            _refuse_unsafe(connection)
            yield ZitadelEvents(connection, until)


def _refuse_unsafe(connection: psycopg.Connection[Any]) -> None:
    (found,) = connection.execute(_UNSAFE).fetchall()
    for unsafe, reason in zip(found, _REASONS, strict=True):
        if unsafe:
            raise UnsafeSource(f"events could be missed: {reason}")


def _horizon(connection: psycopg.Connection[Any]) -> Decimal:
    """The position before which no row can come any more."""
    ((horizon, unseen),) = connection.execute(_HORIZON, (MARGIN_SECONDS,)).fetchall()
    if unseen:
        raise UnsafeSource("the role cannot see whether transactions are open: GRANT pg_read_all_stats TO it")
    return Decimal(horizon)


def _event_row(row: tuple[Any, ...]) -> EventRow:  # Any: what the columns hold
    columns = dict(zip(EventRow.__struct_fields__, row, strict=True))
    payload = columns["payload"]
    columns["payload"] = Raw(NO_PAYLOAD if payload is None else payload.encode())
    columns["position"] = Raw(str(columns["position"]).encode())
    return EventRow(**columns)


__all__ = ["ZitadelEvents", "zitadel_events"]
