"""Users' events in any engine of the ``eventsourcing`` library that keeps its ``DCBRecorder``, such as UmaDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem, DCBRecorder, DCBSequencedEvent
from eventsourcing.persistence import IntegrityError

from humanuser import CommandIdReused, Event, Recorded, SequenceConflict, StoreUnavailable, UnreadableEvent
from humanuser_adapters.event_store import event_of, payload_of


class _Envelope(msgspec.Struct, frozen=True):
    instance_id: str
    user_id: str
    sequence: int
    created_at: datetime
    creator: str
    resource_owner: str
    payload: bytes


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

    def append(
        self,
        instance_id: str,
        user_id: str,
        events: Sequence[Event],
        *,
        after: int,
        created_at: datetime,
        creator: str,
        resource_owner: str,
        command_id: str | None = None,
    ) -> Sequence[Recorded]:
        if command_id is not None and (earlier := self.find_command(instance_id, user_id, command_id)):
            return earlier
        user = _user(instance_id, user_id)
        last = list(self._read(f"{user}@{after}", limit=1))
        if after and not last:  # a history only grows, so this can be asked before; the next sequence cannot
            raise SequenceConflict(f"the history ends before {after}")
        command = [] if command_id is None else [_command(instance_id, command_id)]
        envelopes = [
            _Envelope(instance_id, user_id, sequence, created_at.astimezone(UTC), creator, resource_owner, payload)
            for sequence, payload in enumerate(map(payload_of, events), after + 1)
        ]
        new = [
            DCBEvent(event.type, msgspec.json.encode(one), [user, f"{user}@{one.sequence}", *command])
            for event, one in zip(events, envelopes, strict=True)
        ]
        taken = DCBQuery([DCBQueryItem(tags=[tag]) for tag in (f"{user}@{after + 1}", *command)])
        try:
            self._recorder.append(new, DCBAppendCondition(taken))
        except IntegrityError as error:
            if command_id is not None and (earlier := self.find_command(instance_id, user_id, command_id)):
                return earlier
            raise SequenceConflict(str(error)) from error
        except self._outages as error:
            raise StoreUnavailable(str(error)) from error
        stored = self._read(user, after=last[0].position if last else 0)
        return [recorded for recorded, _ in zip(stored, events, strict=False)]

    def find_command(self, instance_id: str, user_id: str, command_id: str) -> Sequence[Recorded]:
        recorded = list(self._read(_command(instance_id, command_id)))
        if recorded and recorded[0].user_id != user_id:
            raise CommandIdReused(recorded[0].user_id)
        return recorded

    def read_all(self, *, after: int, limit: int) -> Sequence[Recorded]:
        return list(self._read(after=after, limit=limit))

    def head(self) -> int:
        try:
            return self._recorder.read().head or 0  # nothing is read before it is asked for
        except self._outages as error:
            raise StoreUnavailable(str(error)) from error

    def _read(self, *tags: str, after: int = 0, limit: int | None = None) -> Iterator[Recorded]:
        query = DCBQuery([DCBQueryItem(tags=list(tags))])
        try:
            for stored in self._recorder.read(query, after=after, limit=limit):
                yield _recorded(stored)
        except self._outages as error:
            raise StoreUnavailable(str(error)) from error


def _user(instance_id: str, user_id: str) -> str:
    return f"user:{len(instance_id)}:{instance_id}:{user_id}"


def _command(instance_id: str, command_id: str) -> str:
    return f"command:{len(instance_id)}:{instance_id}:{command_id}"


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
