"""Our event store: one table in a SQLite file, beside whatever else we keep there."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import RLock
from typing import Any

from humanuser import NewEvents, Recorded, SequenceConflict, StoredCommand, StoreUnavailable, UnreadableEvent
from humanuser_adapters.event_store import event_of, payload_of

TABLE = """
    CREATE TABLE IF NOT EXISTS user_events (
        position INTEGER PRIMARY KEY, instance_id TEXT, user_id TEXT, sequence INTEGER, created_at TEXT, creator TEXT,
        resource_owner TEXT, event_type TEXT, payload BLOB, command_id TEXT, fingerprint TEXT,
        UNIQUE (instance_id, user_id, sequence), UNIQUE (instance_id, command_id, sequence)
    )
"""
INSERT = "INSERT INTO user_events VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
FINGERPRINT = "SELECT fingerprint FROM user_events WHERE instance_id = ? AND command_id = ?"
COLUMNS = "position, instance_id, user_id, sequence, created_at, creator, resource_owner, event_type, payload"


class OurEventStore:
    """What ``humanuser.EventStore`` asks for."""

    def __init__(self, path: str) -> None:
        self._lock = RLock()  # many threads, one connection
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        self._database.execute(TABLE)

    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:
        return self._recorded("instance_id = ? AND user_id = ?", instance_id, user_id)

    def append(self, new: NewEvents) -> StoredCommand:
        user = (new.instance_id, new.user_id)
        with self._alone(), self._database:
            self._database.execute("BEGIN IMMEDIATE")  # before we look: other processes write to the file too
            if new.command_id is not None and (earlier := self.find_command(new.instance_id, new.command_id)):
                return earlier
            if len(self.load(*user)) != new.after:
                raise SequenceConflict
            envelope = (new.created_at.isoformat(), new.creator, new.resource_owner)
            for sequence, event in enumerate(new.events, new.after + 1):
                row = (*user, sequence, *envelope, event.type, payload_of(event), new.command_id, new.fingerprint)
                self._database.execute(INSERT, row)
            recorded = self._recorded("instance_id = ? AND user_id = ? AND sequence > ?", *user, new.after)
            return StoredCommand(recorded, new.fingerprint)

    def find_command(self, instance_id: str, command_id: str) -> StoredCommand | None:
        this_command = (instance_id, command_id)
        recorded = self._recorded("instance_id = ? AND command_id = ?", *this_command)
        with self._alone():
            fingerprint = self._database.execute(FINGERPRINT, this_command).fetchone()
        return StoredCommand(recorded, fingerprint[0]) if recorded else None

    def read_all(self, *, after: int, limit: int) -> Sequence[Recorded]:
        return self._recorded("position > ?", after, limit=limit)

    def head(self) -> int:
        with self._alone():
            return int(self._database.execute("SELECT coalesce(max(position), 0) FROM user_events").fetchone()[0])

    def close(self) -> None:
        self._database.close()

    def _recorded(self, condition: str, *values: object, limit: int = -1) -> list[Recorded]:
        query = f"SELECT {COLUMNS} FROM user_events WHERE {condition} ORDER BY position LIMIT ?"
        with self._alone():
            return [_one_recorded(**row) for row in self._database.execute(query, (*values, limit))]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error


# Any: the other columns, which are fields of the same name
def _one_recorded(position: int, created_at: str, event_type: str, payload: bytes, **rest: Any) -> Recorded:
    try:
        moment, event = datetime.fromisoformat(created_at), event_of(event_type, payload)
    except ValueError as error:
        raise UnreadableEvent(position, str(error)) from error
    return Recorded(position=position, created_at=moment, event=event, **rest)
