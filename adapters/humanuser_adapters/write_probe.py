"""Proves that a command could be stored: a small durable write of its own."""

from __future__ import annotations

import secrets

from humanuser_adapters.database import Database
from humanuser_adapters.event_store import SqlEventRecorder

SCHEMA = (("CREATE TABLE humanuser_write_probe (id BIGINT PRIMARY KEY, payload TEXT NOT NULL)",),)

REPEATS = 1024
"""Of 16 characters. In SQLite that takes as many pages as a command; PostgreSQL compresses it to nearly nothing."""

_WRITE = """
    INSERT INTO humanuser_write_probe VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET payload = excluded.payload
"""


class WriteProbe:
    """Overwrites the one row of a table, as durably as commands are stored."""

    def __init__(self, database: Database, recorder: SqlEventRecorder) -> None:
        self._database = database
        self._recorder = recorder
        database.migrate("write_probe", SCHEMA)

    def run(self) -> None:
        """Write, and wait until that is durable. Raises ``StoreUnavailable``."""
        with self._database.probe() as connection:
            self._recorder.require_appendable(connection)
            connection.execute(_WRITE, (secrets.token_hex(8) * REPEATS,))  # SQLite skips pages that do not change
