"""The event store in a SQLite file; also a persistence module for applications of the ``eventsourcing`` library.

Set ``PERSISTENCE_MODULE=humanuser_adapters.event_store.sqlite``, ``SQLITE_DBNAME``, ``ORIGINATOR_ID_TYPE`` (``text`` or
``uuid``), and where they matter ``INSTANCE_ID`` and ``AGGREGATE_TYPE``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from eventsourcing import sqlite as library
from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    ListenNotifySubscription,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
)
from eventsourcing.utils import Environment, EnvType

from humanuser_adapters.event_store.recorder import (
    DEFAULT_AGGREGATE_TYPE,
    DEFAULT_INSTANCE,
    Envelope,
    EventRecorder,
    Row,
    TrackingEventRecorder,
)
from humanuser_adapters.sqlite import Database, text_of_time

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
)

_INSERT = """
    INSERT INTO humanuser_events (
        instance_id, aggregate_type, aggregate_id, sequence, event_type, revision, created_at, creator, owner, payload,
        in_tx_order, command_id
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ROW = """
    SELECT position, instance_id, aggregate_id, sequence, event_type, revision, created_at, creator, owner, payload
    FROM humanuser_events
"""
_STREAM = f"{_ROW} WHERE instance_id = ? AND aggregate_type = ? AND aggregate_id = ? ORDER BY sequence"
_LOG = f"{_ROW} WHERE position > ? AND aggregate_type = ? ORDER BY position LIMIT ?"
_COMMAND = f"{_ROW} WHERE instance_id = ? AND command_id = ? ORDER BY in_tx_order"
_LAST_SEQUENCE = """
    SELECT max(sequence) FROM humanuser_events WHERE instance_id = ? AND aggregate_type = ? AND aggregate_id = ?
"""


class SQLiteEventRecorder(EventRecorder):
    """Records events in a ``Database``."""

    def __init__(
        self,
        database: Database,
        *,
        instance_id: str = DEFAULT_INSTANCE,
        aggregate_type: str = DEFAULT_AGGREGATE_TYPE,
        id_of: Callable[[str], UUID | str] = str,
    ) -> None:
        self._database = database
        self._scope = (instance_id, aggregate_type)
        self._id_of = id_of
        database.migrate("events", SCHEMA)

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        envelope: Envelope | None = None,
        after: int | None = None,
        tracking: Tracking | None = None,
        **_: Any,
    ) -> Sequence[int] | None:
        if not stored_events and tracking is None:
            return []
        envelope = envelope or Envelope(instance_id=self._scope[0], aggregate_type=self._scope[1])
        rows = _rows(envelope, stored_events)
        try:
            with self._database.write() as connection:
                if after is not None:
                    _require_end(connection, envelope, stored_events[0], after)
                if tracking is not None:
                    _track(connection, tracking)
                connection.executemany(_INSERT, rows)
                last: int = connection.execute("SELECT last_insert_rowid()").fetchone()[0]
        except sqlite3.IntegrityError as error:
            raise IntegrityError(str(error)) from error
        return list(range(last - len(rows) + 1, last + 1))  # nobody else wrote meanwhile

    def select_stream(self, instance_id: str, aggregate_type: str, aggregate_id: str) -> Sequence[Row]:
        with self._database.glance() as connection:
            return connection.execute(_STREAM, (instance_id, aggregate_type, aggregate_id)).fetchall()

    def select_log(self, aggregate_type: str, *, after: int, limit: int) -> Sequence[Row]:
        return self._select(_LOG, (after, aggregate_type, limit))

    def select_command(self, instance_id: str, command_id: str) -> Sequence[Row]:
        with self._database.glance() as connection:
            return connection.execute(_COMMAND, (instance_id, command_id)).fetchall()

    def head(self) -> int:
        rows: list[tuple[int]] = self._select("SELECT coalesce(max(position), 0) FROM humanuser_events")
        return rows[0][0]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        order = "DESC" if desc else "ASC"
        rows = self._select(
            f"""
            {_ROW} WHERE instance_id = ? AND aggregate_type = ? AND aggregate_id = ?
            AND (? IS NULL OR sequence > ?) AND (? IS NULL OR sequence <= ?)
            ORDER BY sequence {order} LIMIT ?
            """,
            (*self._scope, str(originator_id), gt, gt, lte, lte, -1 if limit is None else limit),
        )
        return [StoredEvent(self._id_of(row[2]), row[3], row[4], _state(row[9])) for row in rows]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        after = (start or 0) - 1 if inclusive_of_start else start or 0
        marks = f"AND event_type IN ({', '.join('?' * len(topics))})" if topics else ""
        rows = self._select(
            f"""
            {_ROW} WHERE position > ? AND (? IS NULL OR position <= ?) AND instance_id = ? AND aggregate_type = ?
            {marks} ORDER BY position LIMIT ?
            """,
            (after, stop, stop, *self._scope, *topics, limit),
        )
        return [Notification(self._id_of(row[2]), row[3], row[4], _state(row[9]), row[0]) for row in rows]

    def max_notification_id(self) -> int | None:
        query = """
            SELECT position FROM humanuser_events WHERE instance_id = ? AND aggregate_type = ?
            ORDER BY position DESC LIMIT 1
        """
        with self._database.read() as connection:
            row = connection.execute(query, self._scope).fetchone()
        return row[0] if row else None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return _WokenSubscription(self._database, self, gt=gt, topics=topics)

    def _select(self, query: str, parameters: Sequence[object] = ()) -> list[Any]:  # rows of whatever was asked for
        with self._database.read() as connection:
            return connection.execute(query, parameters).fetchall()


class SQLiteTrackingEventRecorder(SQLiteEventRecorder, TrackingEventRecorder):
    """Records events, and in the same transaction how far another application was followed."""

    def insert_tracking(self, tracking: Tracking) -> None:
        try:
            with self._database.write() as connection:
                _track(connection, tracking)
        except sqlite3.IntegrityError as error:
            raise IntegrityError(str(error)) from error

    def max_tracking_id(self, application_name: str) -> int | None:
        query = "SELECT position FROM humanuser_tracking WHERE application_name = ?"
        with self._database.read() as connection:
            row = connection.execute(query, (application_name,)).fetchone()
        return row[0] if row else None


class Factory(library.SQLiteFactory):
    """Gives applications of the library our recorders; their snapshots and custom trackers stay the library's own."""

    INSTANCE_ID = "INSTANCE_ID"
    AGGREGATE_TYPE = "AGGREGATE_TYPE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        self._database = Database(self.env.get(self.SQLITE_DBNAME) or "")

    def application_recorder(self) -> ApplicationRecorder:
        return SQLiteEventRecorder(self._database, **self._options())

    def process_recorder(self) -> ProcessRecorder:
        return SQLiteTrackingEventRecorder(self._database, **self._options())

    def close(self) -> None:
        self._database.close()
        super().close()

    def _options(self) -> dict[str, Any]:  # the keyword arguments of our recorders
        return {
            "instance_id": self.env.get(self.INSTANCE_ID) or DEFAULT_INSTANCE,
            "aggregate_type": self.env.get(self.AGGREGATE_TYPE) or DEFAULT_AGGREGATE_TYPE,
            "id_of": UUID if self.datastore.originator_id_type == "uuid" else str,
        }


class _WokenSubscription(ListenNotifySubscription[SQLiteEventRecorder]):
    """The library's subscription, woken by writes of this and other processes."""

    def __init__(self, database: Database, recorder: SQLiteEventRecorder, **kwargs: Any) -> None:
        self._database = database
        super().__init__(recorder, **kwargs)
        database.listen(self._has_been_notified)
        self._has_been_notified.set()  # for what was written between the first pull and now

    def stop(self) -> None:
        self._database.unlisten(self._has_been_notified)
        super().stop()


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
        )
        for order, stored_event in enumerate(stored_events, 1)
    ]


def _require_end(connection: sqlite3.Connection, envelope: Envelope, first: StoredEvent, after: int) -> None:
    stream = (envelope.instance_id, envelope.aggregate_type, str(first.originator_id))
    if (connection.execute(_LAST_SEQUENCE, stream).fetchone()[0] or 0) != after:
        raise IntegrityError(f"the history does not end at {after}")


def _track(connection: sqlite3.Connection, tracking: Tracking) -> None:
    moved = connection.execute(
        """
        INSERT INTO humanuser_tracking VALUES (?, ?)
        ON CONFLICT (application_name) DO UPDATE SET position = excluded.position WHERE position < excluded.position
        """,
        (tracking.application_name, tracking.notification_id),
    ).rowcount
    if not moved:
        raise IntegrityError(f"{tracking.application_name} was followed beyond {tracking.notification_id} already")


def _payload(state: bytes) -> str | bytes | None:
    """JSON as text that people can read; what is not text (encrypted, compressed) as it is."""
    try:
        return state.decode() or None
    except UnicodeDecodeError:
        return state


def _state(payload: str | bytes | None) -> bytes:
    return payload.encode() if isinstance(payload, str) else payload or b""


__all__ = ["Factory", "SQLiteEventRecorder", "SQLiteTrackingEventRecorder"]
