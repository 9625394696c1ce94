"""The event store in memory, for tests and trials: everything the SQLite store does, but to survive the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    ListenNotifySubscription,
    Notification,
    StoredEvent,
    Subscription,
)

from humanuser_adapters.event_store.recorder import (
    DEFAULT_AGGREGATE_TYPE,
    DEFAULT_INSTANCE,
    CommandRows,
    Envelope,
    EventRecorder,
    Row,
)
from humanuser_adapters.forks import ForkSafeLock


class _Kept(NamedTuple):
    envelope: Envelope
    row: Row

    @property
    def stream(self) -> tuple[str, str, str]:
        return (self.envelope.instance_id, self.envelope.aggregate_type, self.row.aggregate_id)


class MemoryEventRecorder(EventRecorder):
    """Records events in this process."""

    def __init__(
        self,
        *,
        instance_id: str = DEFAULT_INSTANCE,
        aggregate_type: str = DEFAULT_AGGREGATE_TYPE,
        id_of: Callable[[str], UUID | str] = str,
    ) -> None:
        self._scope = (instance_id, aggregate_type)
        self._id_of = id_of
        self._lock = ForkSafeLock()
        self._log: list[_Kept] = []
        self._streams: dict[tuple[str, str, str], list[Row]] = {}
        self._commands: dict[tuple[str, str], CommandRows] = {}
        self._listeners: frozenset[threading.Event] = frozenset()

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        envelope: Envelope | None = None,
        after: int | None = None,
        **_: Any,
    ) -> Sequence[int] | None:
        envelope = envelope or Envelope(instance_id=self._scope[0], aggregate_type=self._scope[1])
        created_at = (envelope.created_at or datetime.now(UTC)).isoformat()
        with self._lock:
            self._require_new(stored_events, envelope, after)
            kept = [
                _Kept(envelope, _row(len(self._log) + order, stored_event, envelope, created_at))
                for order, stored_event in enumerate(stored_events, 1)
            ]
            self._log.extend(kept)
            for one in kept:
                self._streams.setdefault(one.stream, []).append(one.row)
            if envelope.command_id is not None:
                command = CommandRows([one.row for one in kept], envelope.fingerprint)
                self._commands[envelope.instance_id, envelope.command_id] = command
        for listener in self._listeners:
            listener.set()
        return [one.row.position for one in kept]

    def select_stream(
        self, instance_id: str, aggregate_type: str, aggregate_id: str, *, after: int = 0
    ) -> Sequence[Row]:
        with self._lock:
            stream = self._streams.get((instance_id, aggregate_type, aggregate_id), ())
            return [row for row in stream if row.sequence > after]

    def select_log(self, aggregate_type: str, *, after: int, limit: int, until: int | None = None) -> Sequence[Row]:
        with self._lock:
            behind = (one.row for one in self._log[after:until] if one.envelope.aggregate_type == aggregate_type)
            return [row for row, _ in zip(behind, range(limit), strict=False)]

    def select_histories(
        self, aggregate_type: str, *, after: tuple[str, str, int], until: int, limit: int
    ) -> Sequence[Row]:
        with self._lock:
            rows = [one.row for one in self._log[:until] if one.envelope.aggregate_type == aggregate_type]
        behind = [row for row in rows if (row.instance_id, row.aggregate_id, row.sequence) > after]
        behind.sort(key=lambda row: (row.instance_id, row.aggregate_id, row.sequence))
        return behind[:limit]

    def select_command(self, instance_id: str, command_id: str) -> CommandRows | None:
        with self._lock:
            return self._commands.get((instance_id, command_id))

    def select_ids(self, instance_id: str, aggregate_type: str, *, after: str = "", limit: int) -> Sequence[str]:
        with self._lock:
            ids = [stream[2] for stream in self._streams if stream[:2] == (instance_id, aggregate_type)]
        return sorted(one for one in ids if one > after)[:limit]

    def head(self) -> int:
        with self._lock:
            return len(self._log)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        rows = [
            row
            for row in self.select_stream(*self._scope, str(originator_id))
            if (gt is None or row.sequence > gt) and (lte is None or row.sequence <= lte)
        ]
        rows.sort(key=lambda row: row.sequence, reverse=desc)
        return [StoredEvent(self._id_of(row.aggregate_id), row.sequence, row.event_type, _state(row)) for row in rows][
            :limit
        ]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        after = max((start or 0) - inclusive_of_start, 0)
        with self._lock:
            rows = [
                one.row
                for one in self._log[after:stop]
                if one.stream[:2] == self._scope and (not topics or one.row.event_type in topics)
            ]
        return [
            Notification(self._id_of(row.aggregate_id), row.sequence, row.event_type, _state(row), row.position)
            for row in rows[:limit]
        ]

    def max_notification_id(self) -> int | None:
        with self._lock:
            return next((one.row.position for one in reversed(self._log) if one.stream[:2] == self._scope), None)

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return _Subscription(self, gt=gt, topics=topics)

    def listen(self, event: threading.Event) -> None:
        """Have *event* set whenever something was recorded."""
        self._listeners |= {event}

    def unlisten(self, event: threading.Event) -> None:
        """End what ``listen`` began."""
        self._listeners -= {event}

    def _require_new(self, stored_events: Sequence[StoredEvent], envelope: Envelope, after: int | None) -> None:
        if envelope.command_id is not None and (envelope.instance_id, envelope.command_id) in self._commands:
            raise IntegrityError("the command id was used already")
        new = set()
        for stored_event in stored_events:
            stream = (envelope.instance_id, envelope.aggregate_type, str(stored_event.originator_id))
            there = [row.sequence for row in self._streams.get(stream, ())]
            if after is not None and max(there, default=0) != after:
                raise IntegrityError(f"the history does not end at {after}")
            place = (*stream, stored_event.originator_version)
            if place in new or stored_event.originator_version in there:
                raise IntegrityError(f"the sequence {stored_event.originator_version} is taken")
            new.add(place)


class _Subscription(ListenNotifySubscription[MemoryEventRecorder]):
    def __init__(self, recorder: MemoryEventRecorder, **kwargs: Any) -> None:
        super().__init__(recorder, **kwargs)
        recorder.listen(self._has_been_notified)
        self._has_been_notified.set()  # for what was recorded between the first pull and now

    def stop(self) -> None:
        self._recorder.unlisten(self._has_been_notified)
        super().stop()


def _row(position: int, stored_event: StoredEvent, envelope: Envelope, created_at: str) -> Row:
    return Row(
        position,
        envelope.instance_id,
        str(stored_event.originator_id),
        stored_event.originator_version,
        stored_event.topic,
        envelope.revision,
        created_at,
        envelope.creator,
        envelope.owner,
        stored_event.state or None,
    )


def _state(row: Row) -> bytes:
    return row.payload if isinstance(row.payload, bytes) else b""
