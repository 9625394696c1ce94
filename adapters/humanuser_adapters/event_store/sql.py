"""What recorders on SQLite and PostgreSQL have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    ListenNotifySubscription,
    Notification,
    ShutDown,
    StoredEvent,
    Subscription,
    Tracking,
)

from humanuser_adapters.database import Connection, Database, RowsClash
from humanuser_adapters.event_row import EventRow
from humanuser_adapters.event_store.recorder import (
    DEFAULT_AGGREGATE_TYPE,
    DEFAULT_INSTANCE,
    CommandRows,
    Envelope,
    EventRecorder,
    Row,
    TrackingEventRecorder,
)

_COLUMNS = """
    position, instance_id, aggregate_id, sequence, event_type, revision, created_at, creator, owner, payload,
    source_position IS NOT NULL
"""
_ROW = f"SELECT {_COLUMNS} FROM humanuser_events"
_STREAM = f"{_ROW} WHERE instance_id = ? AND aggregate_type = ? AND aggregate_id = ? AND sequence > ? ORDER BY sequence"
_LOG = f"{_ROW} WHERE position > ? AND position <= ? AND aggregate_type = ? ORDER BY position LIMIT ?"
_HISTORIES = f"""
    {_ROW} WHERE (instance_id, aggregate_type, aggregate_id, sequence) > ({{instance_id}}, ?, {{aggregate_id}}, ?)
    AND CASE WHEN aggregate_type = ? THEN position <= ? ELSE false END
    ORDER BY instance_id, aggregate_type, aggregate_id, sequence LIMIT ?
"""
"""In the order of the primary key, which CASE keeps the planners from leaving: SQLite would sort by the rest of it, and
PostgreSQL, before it has statistics, all that is left, for every page."""
_COMMAND = f"""
    SELECT {_COLUMNS}, fingerprint FROM humanuser_events WHERE instance_id = ? AND command_id = ? ORDER BY in_tx_order
"""
_IDS = """
    SELECT DISTINCT aggregate_id FROM humanuser_events
    WHERE instance_id = ? AND aggregate_type = ? AND aggregate_id > ? ORDER BY aggregate_id LIMIT ?
"""
_HEAD = "SELECT coalesce(max(position), 0) FROM humanuser_events WHERE position <= ?"
_HEAD_OF_SCOPE = """
    SELECT position FROM humanuser_events WHERE position <= ? AND instance_id = ? AND aggregate_type = ?
    ORDER BY position DESC LIMIT 1
"""
_APPEND_NOTHING = "INSERT INTO humanuser_events SELECT * FROM humanuser_events WHERE 1 = 0"
"""Waits for locks and needs the privileges of an append, and stores nothing."""
LAST_USED = """
    SELECT max(position) FROM (
        SELECT max(position) AS position FROM humanuser_events
        UNION ALL SELECT max(position) FROM humanuser_subscriptions
    ) AS used
"""
"""The highest position that an event or a subscription has."""
_MOST = 2**63 - 1
PULL = 500
"""Notifications that a subscription of the library reads at once."""


class SqlEventRecorder(EventRecorder):
    """Reads events from a ``Database``; how they are inserted is the affair of each kind of database."""

    SCHEMA: Sequence[Sequence[str]]

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
        database.migrate("events", self.SCHEMA)

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
        try:
            return self._insert(stored_events, envelope, after, tracking)
        except RowsClash as error:
            raise IntegrityError(str(error)) from error

    def select_stream(
        self, instance_id: str, aggregate_type: str, aggregate_id: str, *, after: int = 0
    ) -> Sequence[Row]:
        with self._database.glance() as connection:
            return self._rows(connection, _STREAM, (instance_id, aggregate_type, aggregate_id, after))

    def select_log(self, aggregate_type: str, *, after: int, limit: int, until: int | None = None) -> Sequence[Row]:
        with self._database.read() as connection:
            until = self._horizon(connection) if until is None else until
            return self._rows(connection, _LOG, (after, until, aggregate_type, limit))

    def select_histories(
        self, aggregate_type: str, *, after: tuple[str, str, int], until: int, limit: int
    ) -> Sequence[Row]:
        instance_id, aggregate_id, sequence = after
        instance_mark, instance = self._bound(instance_id)
        aggregate_mark, aggregate = self._bound(aggregate_id)
        query = _HISTORIES.format(instance_id=instance_mark, aggregate_id=aggregate_mark)
        values = (instance, aggregate_type, aggregate, sequence, aggregate_type, until, limit)
        with self._database.read(at_length=True) as connection:
            return self._rows(connection, query, values)

    def select_command(self, instance_id: str, command_id: str) -> CommandRows | None:
        with self._database.glance() as connection:
            stored = self._rows(connection, _COMMAND, (instance_id, command_id))
        return CommandRows([Row._make(row[:-1]) for row in stored], stored[0][-1]) if stored else None

    def select_ids(self, instance_id: str, aggregate_type: str, *, after: str = "", limit: int) -> Sequence[str]:
        with self._database.read() as connection:
            rows = connection.execute(_IDS, (instance_id, aggregate_type, after, limit)).fetchall()
        return [aggregate_id for (aggregate_id,) in rows]

    def head(self) -> int:
        with self._database.read() as connection:
            head: int = connection.execute(_HEAD, (self._horizon(connection),)).fetchone()[0]
        return head

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
        query = f"""
            {_ROW} WHERE instance_id = ? AND aggregate_type = ? AND aggregate_id = ? AND sequence > ? AND sequence <= ?
            ORDER BY sequence {order} LIMIT ?
        """
        bounds = (-1 if gt is None else gt, _MOST if lte is None else lte, _MOST if limit is None else limit)
        with self._database.read() as connection:
            rows = connection.execute(query, (*self._scope, str(originator_id), *bounds)).fetchall()
        return [StoredEvent(self._id_of(row[2]), row[3], row[4], self.state(row[9])) for row in rows]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        with self._database.read() as connection:
            until = min(_MOST if stop is None else stop, self._horizon(connection))
        after = (start or 0) - 1 if inclusive_of_start else start or 0
        return self.notifications(after=after, until=until, limit=limit, topics=topics)

    def notifications(self, *, after: int, until: int, limit: int, topics: Sequence[str]) -> Sequence[Notification]:
        """All that are committed up to the position *until*: pass a ``head`` to miss none."""
        marks = f"AND event_type IN ({', '.join('?' * len(topics))})" if topics else ""
        query = f"""
            {_ROW} WHERE position > ? AND position <= ? AND instance_id = ? AND aggregate_type = ? {marks}
            ORDER BY position LIMIT ?
        """
        with self._database.read() as connection:
            rows = connection.execute(query, (after, until, *self._scope, *topics, limit)).fetchall()
        return [Notification(self._id_of(row[2]), row[3], row[4], self.state(row[9]), row[0]) for row in rows]

    def max_notification_id(self) -> int | None:
        with self._database.read() as connection:
            row = connection.execute(_HEAD_OF_SCOPE, (self._horizon(connection), *self._scope)).fetchone()
        return row[0] if row else None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return _WokenSubscription(self._database, self, gt=gt, topics=topics)

    def require_appendable(self, connection: Connection) -> None:
        """Check that events could be appended now, short of storing one. Raises ``StoreUnavailable``."""
        connection.execute(_APPEND_NOTHING)

    @abstractmethod
    def positions_behind(self) -> int:
        """How far the counter of positions is behind those in use, which only a partial restore or copy does; else 0.

        Events with positions already passed would reach no subscription.
        """

    @abstractmethod
    def repair_positions(self) -> int:
        """Raise the counter of positions to those in use; returns by how much. Raises ``StoreUnavailable``."""

    @abstractmethod
    def insert_rows(self, connection: Connection, rows: Sequence[EventRow]) -> None:
        """Store *rows* behind all others, in their order, in the transaction at hand. Raises ``RowsClash``."""

    @abstractmethod
    def _insert(
        self, stored_events: Sequence[StoredEvent], envelope: Envelope, after: int | None, tracking: Tracking | None
    ) -> Sequence[int]:
        """Store the events and the tracking together, and give the positions. Raises ``RowsClash``."""

    def _rows(
        self, connection: Connection, query: str, values: Sequence[object]
    ) -> Sequence[Any]:  # Any: tuples of columns
        """All that *query* gives."""
        return connection.execute(query, values).fetchall()

    def _bound(self, text: str) -> tuple[str, object]:
        """What stands in a query for *text*, which was read from a column, and its value."""
        return "?", text

    def _horizon(self, connection: Connection) -> int:  # noqa: ARG002 - not everybody has to ask
        """The position up to which nothing can come in any more."""
        return _MOST

    def state(self, payload: str | bytes | None) -> bytes:
        """The bytes that were stored as *payload*."""
        return payload.encode() if isinstance(payload, str) else payload or b""


class SqlTrackingEventRecorder(SqlEventRecorder, TrackingEventRecorder):
    """Records events, and in the same transaction how far another application was followed."""

    def insert_tracking(self, tracking: Tracking) -> None:
        try:
            with self._database.write() as connection:
                track(connection, tracking)
        except RowsClash as error:
            raise IntegrityError(str(error)) from error

    def max_tracking_id(self, application_name: str) -> int | None:
        query = "SELECT position FROM humanuser_tracking WHERE application_name = ?"
        with self._database.read() as connection:
            row = connection.execute(query, (application_name,)).fetchone()
        return row[0] if row else None


class _WokenSubscription(ListenNotifySubscription[SqlEventRecorder]):
    """The library's subscription, woken by writes of this and other processes."""

    def __init__(self, database: Database, recorder: SqlEventRecorder, **kwargs: Any) -> None:
        self._database = database
        super().__init__(recorder, **kwargs)
        database.listen(self._has_been_notified)
        self._has_been_notified.set()  # for what was written between the first pull and now

    def stop(self) -> None:
        self._database.unlisten(self._has_been_notified)
        super().stop()

    def _pull(self) -> None:
        """Pull all there is, and begin after it the next time, even if the last events are of other aggregates."""
        while not self._has_been_stopped:
            self._has_been_notified.clear()
            head, after = self._recorder.head(), self._last_notification_id or 0
            pulled = self._recorder.notifications(after=after, until=head, limit=PULL, topics=self._topics)
            if pulled:
                try:
                    self._notifications_queue.put(pulled)
                except ShutDown:
                    return
            self._last_notification_id = pulled[-1].id if len(pulled) == PULL else max(head, after)
            if len(pulled) < PULL:
                return


def track(connection: Connection, tracking: Tracking) -> None:
    """Move to the place of *tracking*. Raises ``IntegrityError`` if it was passed already."""
    moved = connection.execute(
        """
        INSERT INTO humanuser_tracking VALUES (?, ?)
        ON CONFLICT (application_name) DO UPDATE SET position = excluded.position
        WHERE humanuser_tracking.position < excluded.position
        """,
        (tracking.application_name, tracking.notification_id),
    ).rowcount
    if not moved:
        raise IntegrityError(f"{tracking.application_name} was followed beyond {tracking.notification_id} already")
