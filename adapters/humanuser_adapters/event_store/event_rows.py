"""The log of users as rows: many at once, in and out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from msgspec import Raw

from humanuser_adapters.database import Connection, Database, time_of_text
from humanuser_adapters.event_row import NO_PAYLOAD, EventRow, UserKey
from humanuser_adapters.event_store.event_json import REGISTRY
from humanuser_adapters.event_store.sql import SqlEventRecorder
from humanuser_adapters.event_store.user_event_store import AGGREGATE_TYPE
from humanuser_adapters.replay.removals import USER_REMOVED, LivingUser, is_removal_with_owner
from humanuser_projections.user_details import BEGIN_OR_END

PAGE = 5000
"""How many rows a query gives."""
PLACES = 1000
"""How many a query asks for; a statement of SQLite takes 32,766 values."""

_BEGIN_OR_END = ", ".join(f"'{name}'" for name, fact in REGISTRY.items() if fact in BEGIN_OR_END)
_COLUMNS = """
    instance_id, aggregate_type, aggregate_id, event_type, sequence, revision, created_at, payload, creator, owner,
    source_position, in_tx_order
"""
_STORED = f"""
    SELECT {_COLUMNS} FROM humanuser_events WHERE instance_id = ? AND aggregate_type = ?
    AND (aggregate_id, sequence) IN (VALUES %s)
"""
_HEADS = """
    SELECT aggregate_id, max(sequence) FROM humanuser_events
    WHERE instance_id = ? AND aggregate_type = ? AND aggregate_id IN (%s) GROUP BY aggregate_id
"""
_REMOVED_WITH_OWNER = f"""
    SELECT {_COLUMNS} FROM humanuser_events WHERE instance_id = ? AND aggregate_type = ?
    AND event_type = '{USER_REMOVED}' AND (aggregate_id, sequence) IN (VALUES %s)
"""
_LIVING = f"""
    SELECT aggregate_id, marks.last, begun.owner, begun.created_at
    FROM (
        SELECT instance_id, aggregate_type, aggregate_id, max(sequence) AS last,
            max(CASE WHEN event_type IN ({_BEGIN_OR_END}) THEN sequence END) AS begun
        FROM humanuser_events WHERE instance_id = ? AND aggregate_type = '{AGGREGATE_TYPE}'
        GROUP BY instance_id, aggregate_type, aggregate_id
    ) AS marks
    JOIN humanuser_events AS begun USING (instance_id, aggregate_type, aggregate_id)
    WHERE begun.sequence = marks.begun AND begun.event_type <> '{USER_REMOVED}'
"""
_ANY = "SELECT 1 FROM humanuser_events LIMIT 1"
_PAGE = f"""
    SELECT position, {_COLUMNS} FROM humanuser_events WHERE position > ? AND position <= ? AND aggregate_type = ?
    ORDER BY position LIMIT {PAGE}
"""


class EventRows:
    """Takes in and gives out the rows of users' events."""

    def __init__(self, database: Database, recorder: SqlEventRecorder) -> None:
        self._database = database
        self._recorder = recorder

    def takes(self, row: EventRow) -> bool:
        """Whether *row* is about a user; others are none of ours."""
        return row.aggregate_type == AGGREGATE_TYPE

    def empty(self) -> bool:
        """Whether there is no event at all."""
        with self._database.read(at_length=True) as connection:
            return connection.execute(_ANY).fetchone() is None

    def heads(self, connection: Connection, users: Iterable[UserKey]) -> Mapping[UserKey, int]:
        """The last sequence of each of *users* that has one."""
        found: dict[UserKey, int] = {}
        for instance_id, user_ids in _by_instance(users).items():
            query = _HEADS % ", ".join("?" * len(user_ids))
            heads = connection.execute(query, (instance_id, AGGREGATE_TYPE, *user_ids)).fetchall()
            found |= {UserKey(instance_id, user_id): head for user_id, head in heads}
        return found

    def stored_heads(self, users: Iterable[UserKey]) -> Mapping[UserKey, int]:
        """The same, of what is stored now."""
        with self._database.read(at_length=True) as connection:
            return self.heads(connection, users)

    def stored(self, rows: Iterable[EventRow]) -> Mapping[tuple[UserKey, int], EventRow]:
        """What is stored in the places, user and sequence, of *rows*."""
        stored = self._in_places(_STORED, ((row.user, row.sequence) for row in rows))
        return {(row.user, row.sequence): row for row in stored}

    def removed_with_owner(self, heads: Mapping[UserKey, int]) -> Collection[UserKey]:
        """Users whose last event, at the sequence in *heads*, says that their organization or instance was removed."""
        return {row.user for row in self._in_places(_REMOVED_WITH_OWNER, heads.items()) if is_removal_with_owner(row)}

    def living(self, connection: Connection, instance_id: str, organizations: Collection[str]) -> Iterator[LivingUser]:
        """The users of *organizations* (an empty one: of all) who were added and not removed."""
        for user_id, sequence, organization, added_at in connection.execute(_LIVING, (instance_id,)):
            if "" in organizations or organization in organizations:
                yield LivingUser(UserKey(instance_id, user_id), sequence, organization, time_of_text(added_at))

    def insert(self, connection: Connection, rows: Sequence[EventRow]) -> None:
        """Store *rows* in the transaction at hand. Raises ``RowsClash``."""
        self._recorder.insert_rows(connection, rows)

    def head(self) -> int:
        """The position of the last event of all; 0 if there is none."""
        return self._recorder.head()

    def read(self, *, after: int = 0, until: int | None = None) -> Iterator[EventRow]:
        """All rows behind the position *after*, up to *until*, or up to the last one there is now, in order."""
        until = self.head() if until is None else until
        while True:
            with self._database.read(at_length=True) as connection:
                page = connection.execute(_PAGE, (after, until, AGGREGATE_TYPE)).fetchall()
            for position, *columns in page:
                yield _event_row(columns)
                after = position
            if len(page) < PAGE:
                return

    def _in_places(self, query: str, places: Iterable[tuple[UserKey, int]]) -> Iterator[EventRow]:
        """What *query* gives of the *places*, user and sequence."""
        by_instance: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        for user, sequence in places:
            by_instance[user.instance_id].append((user.user_id, sequence))
        with self._database.read(at_length=True) as connection:
            for instance_id, of_instance in by_instance.items():
                following = iter(of_instance)
                while pairs := list(islice(following, PLACES)):
                    marks = ", ".join(["(?, ?)"] * len(pairs))
                    values = (instance_id, AGGREGATE_TYPE, *(value for pair in pairs for value in pair))
                    yield from map(_event_row, connection.execute(query % marks, values).fetchall())


def _by_instance(users: Iterable[UserKey]) -> Mapping[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for instance_id, user_id in users:
        found[instance_id].append(user_id)
    return found


def _event_row(columns: Sequence[Any]) -> EventRow:  # Any: what the columns hold
    instance_id, kind, user_id, event_type, sequence, revision, text, payload, creator, owner, position, order = columns
    created_at = time_of_text(text)
    return EventRow(
        instance_id,
        kind,
        user_id,
        event_type,
        sequence,
        revision,
        created_at,
        Raw(payload.encode() if payload else NO_PAYLOAD),
        creator,
        owner,
        Raw(str(_position(created_at) if position is None else position).encode()),
        order,
    )


def _position(created_at: datetime) -> str:
    """Where ZITADEL would have put what was stored here: at the time in seconds."""
    return f"{int(created_at.timestamp())}.{created_at.microsecond:06}"
