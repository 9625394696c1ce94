"""The histories of users, kept by a recorder of the ``eventsourcing`` library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from eventsourcing.persistence import IntegrityError, StoredEvent

from humanuser import NewEvents, Recorded, SequenceConflict, StoredCommand, UnreadableEvent, as_utc, require_str
from humanuser_adapters.event_log import Entry, LogEnd, Place, Unreadable
from humanuser_adapters.event_store.event_json import event_of, payload_of
from humanuser_adapters.event_store.recorder import Envelope, EventRecorder, Row

AGGREGATE_TYPE = "user"
REVISION = 2
"""The version of ZITADEL's user aggregate."""


class UserEventStore:
    """Stores users' events through any ``EventRecorder``."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:
        return self.load_behind(0, instance_id, user_id)

    def load_behind(self, sequence: int, instance_id: str, user_id: str) -> Sequence[Recorded]:
        """What of the user's history is behind *sequence*, in order. Raises what ``load`` does."""
        require_str("user_id", user_id)
        return _recorded(self._recorder.select_stream(instance_id, AGGREGATE_TYPE, user_id, after=sequence))

    def append(self, new: NewEvents) -> StoredCommand:
        require_str("user_id", new.user_id)
        created_at = as_utc(new.created_at)
        envelope = Envelope(
            instance_id=new.instance_id,
            aggregate_type=AGGREGATE_TYPE,
            created_at=created_at,
            creator=new.creator,
            owner=new.resource_owner,
            revision=REVISION,
            command_id=new.command_id,
            fingerprint=new.fingerprint,
        )
        stored = [
            StoredEvent(new.user_id, sequence, event.type, payload_of(event))
            for sequence, event in enumerate(new.events, new.after + 1)
        ]
        try:
            positions = self._recorder.insert_events(stored, envelope=envelope, after=new.after) or ()
        except IntegrityError as error:
            if new.command_id is not None and (earlier := self.find_command(new.instance_id, new.command_id)):
                return earlier
            raise SequenceConflict(str(error)) from error
        recorded = [
            Recorded(
                instance_id=new.instance_id,
                user_id=new.user_id,
                sequence=sequence,
                created_at=created_at,
                creator=new.creator,
                resource_owner=new.resource_owner,
                event=event,
                revision=REVISION,
                position=position,
            )
            for sequence, (event, position) in enumerate(zip(new.events, positions, strict=True), new.after + 1)
        ]
        return StoredCommand(recorded, new.fingerprint)

    def find_command(self, instance_id: str, command_id: str) -> StoredCommand | None:
        found = self._recorder.select_command(instance_id, command_id)
        return found and StoredCommand(_recorded(found.rows), found.fingerprint)

    def read_all(self, *, after: int, limit: int) -> Sequence[Recorded]:
        return _recorded(self._recorder.select_log(AGGREGATE_TYPE, after=after, limit=limit))

    def read_log(self, *, after: int, limit: int, until: int | None = None) -> Sequence[Entry]:
        """What ``read_all`` gives, with an ``Unreadable`` for each event at which that would stop.

        *until* is a position, as in ``EventLog``.
        """
        return [entry(row) for row in self._recorder.select_log(AGGREGATE_TYPE, after=after, limit=limit, until=until)]

    def read_histories(self, *, after: Place, until: int, limit: int) -> tuple[Sequence[Entry], Place]:
        """The same, user by user, each in sequence order, up to the position *until*; and the place of the last."""
        rows = self._recorder.select_histories(AGGREGATE_TYPE, after=after, until=until, limit=limit)
        return [entry(row) for row in rows], rows[-1][1:4] if rows else after

    def user_ids(self, instance_id: str, *, after: str = "", limit: int) -> Sequence[str]:
        """The ids of the next *limit* users with a history behind the id *after*, in the order of ids.

        Raises ``StoreUnavailable``.
        """
        return self._recorder.select_ids(instance_id, AGGREGATE_TYPE, after=after, limit=limit)

    def head(self) -> int:
        return self._recorder.head()

    def end(self) -> LogEnd:
        """Where the log ends, including what is not committed yet. Raises ``StoreUnavailable``."""
        return self._recorder.end()


def _recorded(rows: Iterable[Row]) -> list[Recorded]:
    return [_one_recorded(row) for row in rows]


def entry(row: Row) -> Entry:
    """The event in *row*, or why it cannot be read."""
    try:
        return _one_recorded(row)
    except UnreadableEvent as error:
        instance_id, user_id = (text.encode(errors="replace").decode() for text in row[1:3])
        return Unreadable(
            position=row[0], instance_id=instance_id, user_id=user_id, reason=str(error.__cause__ or error)
        )


def _one_recorded(row: Row) -> Recorded:
    position, instance_id, user_id, sequence, event_type, revision, created_at, creator, owner, payload, imported = row
    try:
        _require_utf8(f"{instance_id}{user_id}{event_type}{created_at}{creator}{owner}")
        event = event_of(event_type, payload)
        moment = _moment(created_at)
    except (TypeError, ValueError) as error:
        raise UnreadableEvent(position, str(error)) from error
    columns = (instance_id, user_id, sequence, moment, creator, owner, event, revision, position, bool(imported))
    return Recorded._make(columns)  # an event for every row of a replay


def _require_utf8(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a column is no UTF-8") from None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"there is no time zone in {text!r}")
    return as_utc(moment)
