"""Users' events in any engine of the ``eventsourcing`` library that keeps its ``DCBRecorder``, such as UmaDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem, DCBRecorder, DCBSequencedEvent
from eventsourcing.persistence import IntegrityError

from humanuser import NewEvents, Recorded, SequenceConflict, StoredCommand, StoreUnavailable, UnreadableEvent
from humanuser_adapters.event_store import event_of, payload_of


class _Envelope(msgspec.Struct, frozen=True):
    instance_id: str
    user_id: str
    sequence: int
    created_at: datetime
    creator: str
    resource_owner: str
    payload: bytes
    fingerprint: str | None = None


class DcbEventStore:
    """An event store whose every promise is one condition of an append: nobody took the sequence, nor the command id.

    An event has three tags: its user, its sequence there, its command.
    """

    def __init__(self, recorder: DCBRecorder, *, outages: tuple[type[Exception], ...] = ()) -> None:
        """*outages* are what the engine raises when it cannot be reached."""
        self._recorder = recorder
        self._outages = outages

    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:
        return list(self._read(_user(instance_id, user_id)))

    def append(self, new: NewEvents) -> StoredCommand:
        if earlier := self._earlier(new):
            return earlier
        user, after = _user(new.instance_id, new.user_id), new.after
        last = list(self._read(f"{user}@{after}", limit=1))
        if after and not last:  # a history only grows, so this can be asked before; the next sequence cannot
            raise SequenceConflict(f"the history ends before {after}")
        command = [] if new.command_id is None else [_command(new.instance_id, new.command_id)]
        events = [
            DCBEvent(event.type, _data(new, sequence, payload_of(event)), [user, f"{user}@{sequence}", *command])
            for sequence, event in enumerate(new.events, after + 1)
        ]
        taken = DCBQuery([DCBQueryItem(tags=[tag]) for tag in (f"{user}@{after + 1}", *command)])
        try:
            self._recorder.append(events, DCBAppendCondition(taken))
        except IntegrityError as error:
            if earlier := self._earlier(new):
                return earlier
            raise SequenceConflict(str(error)) from error
        except self._outages as error:
            raise StoreUnavailable(str(error)) from error
        stored = self._read(user, after=last[0].position if last else 0)
        return StoredCommand([recorded for recorded, _ in zip(stored, events, strict=False)], new.fingerprint)

    def find_command(self, instance_id: str, command_id: str) -> StoredCommand | None:
        stored = list(self._stored(_command(instance_id, command_id)))
        if not stored:
            return None
        fingerprint = msgspec.json.decode(stored[0].event.data, type=_Envelope).fingerprint
        return StoredCommand([_recorded(one) for one in stored], fingerprint)

    def read_all(self, *, after: int, limit: int) -> Sequence[Recorded]:
        return list(self._read(after=after, limit=limit))

    def head(self) -> int:
        try:
            return self._recorder.read().head or 0  # nothing is read before it is asked for
        except self._outages as error:
            raise StoreUnavailable(str(error)) from error

    def _earlier(self, new: NewEvents) -> StoredCommand | None:
        return None if new.command_id is None else self.find_command(new.instance_id, new.command_id)

    def _read(self, *tags: str, after: int = 0, limit: int | None = None) -> Iterator[Recorded]:
        return map(_recorded, self._stored(*tags, after=after, limit=limit))

    def _stored(self, *tags: str, after: int = 0, limit: int | None = None) -> Iterator[DCBSequencedEvent]:
        query = DCBQuery([DCBQueryItem(tags=list(tags))])
        try:
            yield from self._recorder.read(query, after=after, limit=limit)
        except self._outages as error:
            raise StoreUnavailable(str(error)) from error


def _user(instance_id: str, user_id: str) -> str:
    return f"user:{len(instance_id)}:{instance_id}:{user_id}"


def _command(instance_id: str, command_id: str) -> str:
    return f"command:{len(instance_id)}:{instance_id}:{command_id}"


def _data(new: NewEvents, sequence: int, payload: bytes) -> bytes:
    created_at = new.created_at.astimezone(UTC)
    who = (new.instance_id, new.user_id, sequence, created_at, new.creator, new.resource_owner)
    return msgspec.json.encode(_Envelope(*who, payload, new.fingerprint))


def _recorded(stored: DCBSequencedEvent) -> Recorded:
    try:
        envelope = msgspec.json.decode(stored.event.data, type=_Envelope)
        event = event_of(stored.event.type, envelope.payload or None)
    except ValueError as error:
        raise UnreadableEvent(stored.position, str(error)) from error
    return Recorded(
        instance_id=envelope.instance_id,
        user_id=envelope.user_id,
        sequence=envelope.sequence,
        created_at=envelope.created_at,
        creator=envelope.creator,
        resource_owner=envelope.resource_owner,
        event=event,
        position=stored.position,
    )
