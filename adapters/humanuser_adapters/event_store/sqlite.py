"""The event store in a SQLite file; also a persistence module for applications of the ``eventsourcing`` library.

Set ``PERSISTENCE_MODULE=humanuser_adapters.event_store.sqlite``, ``SQLITE_DBNAME``, ``ORIGINATOR_ID_TYPE`` (``text`` or
``uuid``), and where they matter ``INSTANCE_ID`` and ``AGGREGATE_TYPE``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from eventsourcing import sqlite as library
from eventsourcing.persistence import ApplicationRecorder, ProcessRecorder, StoredEvent, Tracking
from eventsourcing.utils import Environment, EnvType

from humanuser_adapters.database import Connection, RowsClash, text_of_time
from humanuser_adapters.event_row import EventRow
from humanuser_adapters.event_store.recorder import Envelope, recorder_options
from humanuser_adapters.event_store.sql import LAST_USED, SqlEventRecorder, SqlTrackingEventRecorder, track
from humanuser_adapters.sqlite import SQLiteDatabase

SCHEMA = (
    (
        """
        CREATE TABLE humanuser_events (
            position INTEGER PRIMARY KEY AUTOINCREMENT,
            instance_id TEXT NOT NULL,
            aggregate_type TEXT NOT NULL,
            aggregate_id TEXT NOT NULL,
            sequence INTEGER NOT NULL,
            event_type TEXT NOT NULL,
            revision INTEGER NOT NULL,
            created_at TEXT NOT NULL,
            creator TEXT NOT NULL,
            owner TEXT NOT NULL,
            payload TEXT,
            in_tx_order INTEGER NOT NULL,
            command_id TEXT,
            UNIQUE (instance_id, aggregate_type, aggregate_id, sequence)
        )
        """,
        """
        CREATE UNIQUE INDEX humanuser_events_command
        ON humanuser_events (instance_id, command_id, in_tx_order) WHERE command_id IS NOT NULL
        """,
        "CREATE TABLE humanuser_tracking (application_name TEXT PRIMARY KEY, position INTEGER NOT NULL)",
    ),
    ("ALTER TABLE humanuser_events ADD COLUMN source_position TEXT",),
    ("CREATE INDEX humanuser_events_type ON humanuser_events (aggregate_type, position)",),
    ("ALTER TABLE humanuser_events ADD COLUMN fingerprint TEXT",),
)

_INSERT = """
    INSERT INTO humanuser_events (
        instance_id, aggregate_type, aggregate_id, sequence, event_type, revision, created_at, creator, owner, payload,
        in_tx_order, command_id, fingerprint
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_ROWS = """
    INSERT INTO humanuser_events (
        instance_id, aggregate_type, aggregate_id, event_type, sequence, revision, created_at, payload, creator, owner,
        source_position, in_tx_order
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_LAST_SEQUENCE = """
    SELECT max(sequence) FROM humanuser_events WHERE instance_id = ? AND aggregate_type = ? AND aggregate_id = ?
"""
_BEHIND = f"""
    SELECT max(coalesce(({LAST_USED}), 0) - max(
        coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'humanuser_events'), 0),
        coalesce((SELECT max(position) FROM humanuser_events), 0)
    ), 0)
"""


class SQLiteEventRecorder(SqlEventRecorder):
    """Records events in a SQLite database."""

    SCHEMA = SCHEMA

    def _insert(
        self, stored_events: Sequence[StoredEvent], envelope: Envelope, after: int | None, tracking: Tracking | None
    ) -> Sequence[int]:
        rows = _rows(envelope, stored_events)
        with self._database.write() as connection:
            if after is not None:
                _require_end(connection, envelope, stored_events[0], after)
            if tracking is not None:
                track(connection, tracking)
            connection.executemany(_INSERT, rows)
            last: int = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
        return list(range(last - len(rows) + 1, last + 1))  # nobody else wrote meanwhile

    def positions_behind(self) -> int:
        with self._database.read() as connection:
            behind: int = connection.execute(_BEHIND).fetchone()[0]
        return behind

    def repair_positions(self) -> int:
        with self._database.write() as connection:
            behind: int = connection.execute(_BEHIND).fetchone()[0]
            if behind:
                connection.execute("DELETE FROM sqlite_sequence WHERE name = 'humanuser_events'")
                connection.execute(
                    f"INSERT INTO sqlite_sequence (name, seq) VALUES ('humanuser_events', ({LAST_USED}))"
                )
        return behind

    def insert_rows(self, connection: Connection, rows: Sequence[EventRow]) -> None:
        connection.executemany(_INSERT_ROWS, [row.values(text_of_time(row.created_at)) for row in rows])

    def _rows(self, connection: Connection, query: str, values: Sequence[object]) -> Sequence[Any]:
        """All that *query* gives; a byte that is no UTF-8 spoils its own row, and not all of them."""
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - the database is a file
        try:
            return super()._rows(connection, query, values)
        except sqlite3.OperationalError as error:
            if not str(error).startswith("Could not decode"):
                raise
        connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")  # slower by half
        try:
            return super()._rows(connection, query, values)
        finally:
            connection.text_factory = str

    def _bound(self, text: str) -> tuple[str, object]:
        try:
            text.encode()
        except UnicodeEncodeError:  # it is spoilt, and read all the same
            return "CAST(? AS text)", text.encode(errors="surrogateescape")
        return super()._bound(text)


class SQLiteTrackingEventRecorder(SQLiteEventRecorder, SqlTrackingEventRecorder):
    """Records events, and in the same transaction how far another application was followed."""


class Factory(library.SQLiteFactory):
    """Gives applications of the library our recorders; their snapshots and custom trackers stay the library's own."""

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        self._database = SQLiteDatabase(self.env.get(self.SQLITE_DBNAME) or "")

    def application_recorder(self) -> ApplicationRecorder:
        return SQLiteEventRecorder(self._database, **recorder_options(self.env, self.datastore.originator_id_type))

    def process_recorder(self) -> ProcessRecorder:
        options = recorder_options(self.env, self.datastore.originator_id_type)
        return SQLiteTrackingEventRecorder(self._database, **options)

    def close(self) -> None:
        self._database.close()
        super().close()


def _rows(envelope: Envelope, stored_events: Sequence[StoredEvent]) -> list[tuple[object, ...]]:
    created_at = text_of_time(envelope.created_at or datetime.now(UTC))
    return [
        (
            envelope.instance_id,
            envelope.aggregate_type,
            str(stored_event.originator_id),
            stored_event.originator_version,
            stored_event.topic,
            envelope.revision,
            created_at,
            envelope.creator,
            envelope.owner,
            _payload(stored_event.state),
            order,
            envelope.command_id,
            envelope.fingerprint,
        )
        for order, stored_event in enumerate(stored_events, 1)
    ]


def _require_end(connection: Connection, envelope: Envelope, first: StoredEvent, after: int) -> None:
    stream = (envelope.instance_id, envelope.aggregate_type, str(first.originator_id))
    if (connection.execute(_LAST_SEQUENCE, stream).fetchone()[0] or 0) != after:
        raise RowsClash(f"the history does not end at {after}")


def _payload(state: bytes) -> str | bytes | None:
    """JSON as text that people can read; what is not text (encrypted, compressed) as it is."""
    try:
        return state.decode() or None
    except UnicodeDecodeError:
        return state


__all__ = ["Factory", "SQLiteEventRecorder", "SQLiteTrackingEventRecorder"]
