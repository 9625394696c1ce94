"""Phones as somebody else knows them, kept in a temporary file of our own.

No lock or snapshot of our database is held while the other side is read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing

from humanuser_adapters.database import Database
from humanuser_adapters.read_model import Difference, KnownPhone

ROWS_AT_ONCE = 1000

_SCHEMA = """
    CREATE TABLE phones (
        instance_id TEXT, user_id TEXT, phone TEXT, verified INTEGER, PRIMARY KEY (instance_id, user_id)
    ) WITHOUT ROWID
"""
_OURS = """
    SELECT instance_id, user_id, phone, verified FROM humanuser_user_phone
    WHERE (instance_id, user_id) > (?, ?) ORDER BY instance_id, user_id LIMIT ?
"""


def differences_from(database: Database, phones: Iterable[KnownPhone]) -> Iterator[Difference]:
    """Where the read model of phones in *database* differs from *phones*."""
    with closing(sqlite3.connect("", isolation_level=None)) as known:
        known.execute(_SCHEMA)
        known.execute("BEGIN")
        known.executemany("INSERT INTO phones VALUES (?, ?, ?, ?)", phones)
        for instance_id, user_id, *ours in _our_phones(database):
            key = (instance_id, user_id)
            theirs = known.execute("SELECT phone, verified FROM phones WHERE instance_id = ? AND user_id = ?", key)
            stored, row = (ours[0], bool(ours[1])), theirs.fetchone()
            expected = (row[0], bool(row[1])) if row else None
            if stored != expected:
                yield Difference(*key, "phone elsewhere", stored, expected)
            known.execute("DELETE FROM phones WHERE instance_id = ? AND user_id = ?", key)
        for instance_id, user_id, phone, verified in known.execute("SELECT * FROM phones"):
            yield Difference(instance_id, user_id, "phone elsewhere", None, (phone, bool(verified)))


def _our_phones(database: Database) -> Iterator[tuple[str, str, str | None, bool]]:
    after = ("", "")
    while True:
        with database.read(at_length=True) as connection:
            page = connection.execute(_OURS, (*after, ROWS_AT_ONCE)).fetchall()
        yield from page
        if len(page) < ROWS_AT_ONCE:
            return
        after = page[-1][:2]
