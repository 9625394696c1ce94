"""The event store in PostgreSQL; also a persistence module for applications of the ``eventsourcing`` library.

Set ``PERSISTENCE_MODULE=humanuser_adapters.event_store.postgresql``, the library's own ``POSTGRES_DBNAME``,
``POSTGRES_HOST`` and so on, ``ORIGINATOR_ID_TYPE``, and where they matter ``INSTANCE_ID`` and ``AGGREGATE_TYPE``.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from eventsourcing import postgres as library
from eventsourcing.persistence import ApplicationRecorder, ProcessRecorder, StoredEvent, Tracking
from eventsourcing.utils import Environment, EnvType
from psycopg.conninfo import make_conninfo

from humanuser import StoreUnavailable
from humanuser_adapters.database import Connection, RowsClash, text_of_time
from humanuser_adapters.event_log import LogEnd, OpenTransaction
from humanuser_adapters.event_row import EventRow
from humanuser_adapters.event_store.recorder import Envelope, recorder_options
from humanuser_adapters.event_store.sql import LAST_USED, SqlEventRecorder, SqlTrackingEventRecorder, track
from humanuser_adapters.postgresql import PostgreSQLDatabase, copy_in

SCHEMA = (
    (
        "CREATE SEQUENCE humanuser_positions",
        """
        CREATE TABLE humanuser_events (
            position bigint NOT NULL,
            instance_id text NOT NULL,
            aggregate_type text NOT NULL,
            aggregate_id text NOT NULL,
            sequence bigint NOT NULL,
            event_type text NOT NULL,
            revision integer NOT NULL,
            created_at timestamptz NOT NULL,
            creator text NOT NULL,
            owner text NOT NULL,
            payload json,
            in_tx_order integer NOT NULL,
            command_id text NOT NULL,
            PRIMARY KEY (instance_id, aggregate_type, aggregate_id, sequence)
        )
        """,
        "CREATE UNIQUE INDEX humanuser_events_position ON humanuser_events (position, instance_id)",
        "CREATE UNIQUE INDEX humanuser_events_command ON humanuser_events (instance_id, command_id, in_tx_order)",
        """
        CREATE FUNCTION humanuser_append(
            instance text, kind text, command text, again boolean, made_at timestamptz, made_by text, owned_by text,
            version integer, after bigint, ids text[], sequences bigint[], types text[], payloads text[]
        ) RETURNS bigint[] LANGUAGE plpgsql AS $$
        DECLARE
            positions bigint[];
        BEGIN
            IF again THEN
                SELECT array_agg(e.position ORDER BY e.in_tx_order) INTO positions FROM humanuser_events e
                WHERE e.instance_id = instance AND e.command_id = command;
                IF positions IS NOT NULL THEN
                    RETURN positions;
                END IF;
            END IF;
            -- not max(): on a table that was empty when this was planned, that reads all of it
            IF after <> coalesce((
                SELECT e.sequence FROM humanuser_events e
                WHERE e.instance_id = instance AND e.aggregate_type = kind AND e.aggregate_id = ids[1]
                ORDER BY e.instance_id DESC, e.aggregate_type DESC, e.aggregate_id DESC, e.sequence DESC LIMIT 1
            ), 0) THEN
                RAISE unique_violation USING MESSAGE = 'the history does not end at ' || after;
            END IF;
            -- Whoever holds this lock may still store positions behind the last one there is now.
            PERFORM pg_advisory_xact_lock_shared(
                'humanuser_positions'::regclass::oid::bigint::bit(32)::integer,
                (SELECT last_value - (NOT is_called)::integer FROM humanuser_positions)::bit(32)::integer
            );
            WITH stored AS (
                INSERT INTO humanuser_events
                SELECT nextval('humanuser_positions'), instance, kind, id, sequence, type, version, made_at, made_by,
                    owned_by, payload::json, number, command
                FROM unnest(ids, sequences, types, payloads) WITH ORDINALITY AS e(id, sequence, type, payload, number)
                RETURNING position
            )
            SELECT array_agg(s.position ORDER BY s.position) INTO positions FROM stored s;
            RETURN positions;
        END $$
        """,
        """
        CREATE FUNCTION humanuser_horizon() RETURNS bigint LANGUAGE plpgsql AS $$
        DECLARE
            last bigint;
            behind bigint;
        BEGIN
            IF current_setting('transaction_isolation') <> 'read committed' THEN
                RAISE 'the log is read with the isolation level READ COMMITTED';
            END IF;
            SELECT last_value - (NOT is_called)::integer INTO last FROM humanuser_positions;
            SELECT max((last - l.objid::bigint) & 4294967295) INTO behind FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.classid = 'humanuser_positions'::regclass::oid AND l.objsubid = 2
                AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
            RETURN last - coalesce(behind, 0);
        END $$
        """,
        "CREATE TABLE humanuser_tracking (application_name text PRIMARY KEY, position bigint NOT NULL)",
    ),
    (
        "ALTER TABLE humanuser_events ADD COLUMN source_position numeric",
        "ALTER TABLE humanuser_events ALTER COLUMN command_id DROP NOT NULL",
    ),
    (
        # a lock named after a position beyond the last one holds nothing back: the difference has a sign
        """
        CREATE OR REPLACE FUNCTION humanuser_horizon() RETURNS bigint LANGUAGE plpgsql AS $$
        DECLARE
            last bigint;
            behind bigint;
        BEGIN
            IF current_setting('transaction_isolation') <> 'read committed' THEN
                RAISE 'the log is read with the isolation level READ COMMITTED';
            END IF;
            SELECT last_value - (NOT is_called)::integer INTO last FROM humanuser_positions;
            SELECT max((last - l.objid::bigint)::bit(32)::integer) INTO behind FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.classid = 'humanuser_positions'::regclass::oid AND l.objsubid = 2
                AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
            RETURN last - greatest(behind, 0);
        END $$
        """,
        "CREATE INDEX humanuser_events_type ON humanuser_events (aggregate_type, position)",
    ),
    (
        "ALTER TABLE humanuser_events ADD COLUMN fingerprint text",
        # the older function stays, for processes of the release before that still run
        """
        CREATE FUNCTION humanuser_append_command(
            instance text, kind text, command text, fingerprint text, made_at timestamptz, made_by text, owned_by text,
            version integer, after bigint, ids text[], sequences bigint[], types text[], payloads text[]
        ) RETURNS bigint[] LANGUAGE plpgsql AS $$
        DECLARE
            positions bigint[];
        BEGIN
            -- not max(): on a table that was empty when this was planned, that reads all of it
            IF after <> coalesce((
                SELECT e.sequence FROM humanuser_events e
                WHERE e.instance_id = instance AND e.aggregate_type = kind AND e.aggregate_id = ids[1]
                ORDER BY e.instance_id DESC, e.aggregate_type DESC, e.aggregate_id DESC, e.sequence DESC LIMIT 1
            ), 0) THEN
                RAISE unique_violation USING MESSAGE = 'the history does not end at ' || after;
            END IF;
            -- Whoever holds this lock may still store positions behind the last one there is now.
            PERFORM pg_advisory_xact_lock_shared(
                'humanuser_positions'::regclass::oid::bigint::bit(32)::integer,
                (SELECT last_value - (NOT is_called)::integer FROM humanuser_positions)::bit(32)::integer
            );
            WITH stored AS (
                INSERT INTO humanuser_events (
                    position, instance_id, aggregate_type, aggregate_id, sequence, event_type, revision, created_at,
                    creator, owner, payload, in_tx_order, command_id, fingerprint
                )
                SELECT nextval('humanuser_positions'), instance, kind, e.id, e.sequence, e.type, version, made_at,
                    made_by, owned_by, e.payload::json, e.number, command, fingerprint
                FROM unnest(ids, sequences, types, payloads) WITH ORDINALITY AS e(id, sequence, type, payload, number)
                RETURNING position
            )
            SELECT array_agg(s.position ORDER BY s.position) INTO positions FROM stored s;
            RETURN positions;
        END $$
        """,
    ),
)

_NO_PAYLOAD = ""
_APPEND = f"""
    SELECT humanuser_append_command(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, array_replace(?::text[], '{_NO_PAYLOAD}', NULL))
"""
"""No NULL is sent within the array, because a setting (array_nulls) can make a text of that."""
_LOCK_POSITIONS = """
    SELECT pg_advisory_xact_lock_shared(
        'humanuser_positions'::regclass::oid::bigint::bit(32)::integer,
        (SELECT last_value - (NOT is_called)::integer FROM humanuser_positions)::bit(32)::integer
    )
"""
_TRY_POSITIONS = _LOCK_POSITIONS.replace("pg_advisory_xact_lock", "pg_try_advisory_xact_lock")
_BEHIND = f"""
    SELECT greatest(
        coalesce(({LAST_USED}), 0) - (SELECT last_value - (NOT is_called)::integer FROM humanuser_positions), 0
    )
"""
_APPENDING = """
    SELECT count(*) FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.classid = 'humanuser_positions'::regclass::oid AND l.objsubid = 2
        AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
"""
REPAIR_SECONDS = 2
"""How long a repair of positions waits for appends that are under way."""
_TAKE_POSITIONS = "SELECT nextval('humanuser_positions') FROM generate_series(1, ?)"
_END = """
    SELECT last.position, l.behind, l.pid, coalesce(a.application_name, p.gid, ''),
        extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, p.prepared, a.state_change))::float8
    FROM (SELECT last_value - (NOT is_called)::integer AS position FROM humanuser_positions) last
    LEFT JOIN LATERAL (
        SELECT (last.position - objid::bigint)::bit(32)::integer AS behind, pid, virtualtransaction, granted
        FROM pg_locks WHERE locktype = 'advisory' AND classid = 'humanuser_positions'::regclass::oid AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) l ON l.behind > 0
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_locks t ON l.pid IS NULL AND t.pid IS NULL AND t.locktype = 'transactionid'
        AND t.virtualtransaction = l.virtualtransaction
    LEFT JOIN pg_prepared_xacts p ON p.transaction = t.transactionid
    ORDER BY l.behind DESC NULLS LAST, l.granted DESC, a.xact_start LIMIT 1
"""
_COPY = """
    COPY humanuser_events (
        position, instance_id, aggregate_type, aggregate_id, event_type, sequence, revision, created_at, payload,
        creator, owner, source_position, in_tx_order
    ) FROM STDIN
"""
_BASE64 = '"'
"""A payload that begins like this is no object, but base64 of what an application of the library stored."""

_NULL = r"\N"
_ESCAPES = {ord("\\"): r"\\", ord("\t"): r"\t", ord("\n"): r"\n", ord("\r"): r"\r"}


class PostgreSQLTransactionRecorder(SqlEventRecorder):
    """Records events in transactions of a PostgreSQL database.

    A reader never misses a position, and writers do not wait for each other: every append holds a lock of its own,
    named after the last position before it. A position behind the oldest of these locks is not given to readers yet.
    """

    SCHEMA = SCHEMA

    def _insert(
        self, stored_events: Sequence[StoredEvent], envelope: Envelope, after: int | None, tracking: Tracking | None
    ) -> Sequence[int]:
        with self._database.write() as connection:
            if tracking is not None:
                track(connection, tracking)
            return _append(connection, stored_events, envelope, after) if stored_events else []

    def _horizon(self, connection: Connection) -> int:
        horizon: int = connection.execute("SELECT humanuser_horizon()").fetchone()[0]
        return horizon  # what is read after this sees all that was stored up to it

    def require_appendable(self, connection: Connection) -> None:
        super().require_appendable(connection)
        if not connection.execute(_TRY_POSITIONS).fetchone()[0]:
            raise StoreUnavailable("another session holds an exclusive lock on positions: appends wait for it")

    def end(self) -> LogEnd:
        with self._database.read() as connection:
            last, behind, process_id, name, seconds = connection.execute(_END).fetchone()
        if behind is None:
            return LogEnd(position=last)
        age = None if seconds is None else timedelta(seconds=max(seconds, 0))
        open_ = OpenTransaction(position=last - behind + 1, age=age, process_id=process_id, name=name)
        return LogEnd(position=last, open=open_)

    def state(self, payload: str | bytes | None) -> bytes:
        if isinstance(payload, str) and payload.startswith(_BASE64):
            return base64.b64decode(json.loads(payload))
        return super().state(payload)

    def positions_behind(self) -> int:
        with self._database.read() as connection:
            behind: int = connection.execute(_BEHIND).fetchone()[0]
        return behind

    def repair_positions(self) -> int:
        until = time.monotonic() + REPAIR_SECONDS
        while True:
            with self._database.write() as connection:
                connection.execute(f"SET LOCAL lock_timeout = '{REPAIR_SECONDS}s'")
                connection.execute("LOCK TABLE humanuser_events IN SHARE ROW EXCLUSIVE MODE")
                if not connection.execute(_APPENDING).fetchone()[0]:
                    behind: int = connection.execute(_BEHIND).fetchone()[0]
                    if behind:
                        connection.execute(f"SELECT setval('humanuser_positions', ({LAST_USED}))")
                    return behind
            # somebody has taken positions and waits for the table: this transaction had to end first
            if time.monotonic() > until:
                raise StoreUnavailable("positions cannot be repaired: an append is still under way")
            time.sleep(0.05)

    def insert_rows(self, connection: Connection, rows: Sequence[EventRow]) -> None:
        connection.execute(_LOCK_POSITIONS)
        positions = connection.execute(_TAKE_POSITIONS, (len(rows),)).fetchall()
        lines = (f"{position}\t{_copied(row)}\n" for (position,), row in zip(positions, rows, strict=True))
        copy_in(connection, _COPY, lines)


class PostgreSQLEventRecorder(PostgreSQLTransactionRecorder):
    """Records events in a PostgreSQL database, each command with one statement, which is its own transaction."""

    _database: PostgreSQLDatabase

    def _insert(
        self, stored_events: Sequence[StoredEvent], envelope: Envelope, after: int | None, tracking: Tracking | None
    ) -> Sequence[int]:
        if tracking is not None:
            return super()._insert(stored_events, envelope, after, tracking)
        ours = replace(envelope, command_id=envelope.command_id or uuid.uuid4().hex)
        try:
            with self._database.statement() as connection:
                return _append(connection, stored_events, ours, after)
        except StoreUnavailable:
            return self._settle(stored_events, ours, after, drawn=envelope.command_id is None)

    def _settle(
        self, stored_events: Sequence[StoredEvent], envelope: Envelope, after: int | None, *, drawn: bool
    ) -> Sequence[int]:
        """Try again, for it is unknown whether the events were stored; if they were, they clash with themselves.

        What is found under a command id that was *drawn* for this call is what this call stored. Under one that the
        caller gave, others may have stored something else meanwhile: then the stored rows must be read.
        """
        try:
            with self._database.statement() as connection:
                return _append(connection, stored_events, envelope, after)
        except RowsClash:
            if drawn and (stored := self.select_command(envelope.instance_id, str(envelope.command_id))):
                return [row.position for row in stored.rows]
            raise


class PostgreSQLTrackingEventRecorder(PostgreSQLEventRecorder, SqlTrackingEventRecorder):
    """Records events, and in the same transaction how far another application was followed."""


class Factory(library.PostgresFactory):
    """Gives applications of the library our recorders; their snapshots and custom trackers stay the library's own."""

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        names = {"dbname": "DBNAME", "host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
        given = {name: self.env.get(f"POSTGRES_{variable}") for name, variable in names.items()}
        if schema := self.env.get("POSTGRES_SCHEMA"):
            given["options"] = f"-csearch_path={schema}"
        self._database = PostgreSQLDatabase(make_conninfo(**{name: text for name, text in given.items() if text}))

    def application_recorder(self) -> ApplicationRecorder:
        return PostgreSQLEventRecorder(self._database, **recorder_options(self.env, self.datastore.originator_id_type))

    def process_recorder(self) -> ProcessRecorder:
        options = recorder_options(self.env, self.datastore.originator_id_type)
        return PostgreSQLTrackingEventRecorder(self._database, **options)

    def close(self) -> None:
        self._database.close()
        super().close()


def _copied(row: EventRow) -> str:
    """The row as COPY reads it, without its position."""
    texts = (row.instance_id, row.aggregate_type, row.aggregate_id, row.event_type, row.creator, row.owner)
    instance, kind, user, event_type, creator, owner = map(_escaped, texts)
    payload = row.payload_text
    return (
        f"{instance}\t{kind}\t{user}\t{event_type}\t{row.sequence}\t{row.revision}\t{row.created_at.isoformat()}\t"
        f"{_NULL if payload is None else _escaped(payload)}\t{creator}\t{owner}\t{row.position_text}\t{row.in_tx_order}"
    )


def _escaped(text: str) -> str:
    if "\\" in text or "\t" in text or "\n" in text or "\r" in text:
        return text.translate(_ESCAPES)
    return text


def _append(
    connection: Connection,
    stored_events: Sequence[StoredEvent],
    envelope: Envelope,
    after: int | None,
) -> Sequence[int]:
    positions: Sequence[int] = connection.execute(
        _APPEND,
        (
            envelope.instance_id,
            envelope.aggregate_type,
            envelope.command_id or uuid.uuid4().hex,
            envelope.fingerprint,
            text_of_time(envelope.created_at or datetime.now(UTC)),
            envelope.creator,
            envelope.owner,
            envelope.revision,
            after,
            [str(one.originator_id) for one in stored_events],
            [one.originator_version for one in stored_events],
            [one.topic for one in stored_events],
            [_payload(one.state) for one in stored_events],
        ),
    ).fetchone()[0]
    return positions


def _payload(state: bytes) -> str:
    """JSON as it is; what is no JSON object (encrypted, compressed) as a JSON string with base64."""
    if not state:
        return _NO_PAYLOAD
    if state.startswith(b"{") and state.endswith(b"}"):
        return state.decode()
    return json.dumps(base64.b64encode(state).decode())


__all__ = [
    "Factory",
    "PostgreSQLEventRecorder",
    "PostgreSQLTrackingEventRecorder",
    "PostgreSQLTransactionRecorder",
]
