"""The read models of users, as tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from humanuser import Details, PhoneNumber, Recorded
from humanuser_adapters.sqlite import Database, text_of_time, time_of_text
from humanuser_projections import UserPhone, user_details, user_phone

SCHEMA = (
    (
        """
        CREATE TABLE humanuser_user_details (
            instance_id TEXT, user_id TEXT, sequence INTEGER NOT NULL, creation_date TEXT NOT NULL,
            change_date TEXT NOT NULL, resource_owner TEXT NOT NULL,
            PRIMARY KEY (instance_id, user_id)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE humanuser_user_phone (
            instance_id TEXT, user_id TEXT, phone TEXT, verified INTEGER NOT NULL, last_verified_phone TEXT,
            PRIMARY KEY (instance_id, user_id)
        ) WITHOUT ROWID
        """,
    ),
)

_FIND = """
    SELECT sequence, creation_date, change_date, resource_owner, phone, verified, last_verified_phone
    FROM humanuser_user_details JOIN humanuser_user_phone USING (instance_id, user_id)
    WHERE instance_id = ? AND user_id = ?
"""

Key = tuple[str, str]
"""Instance id and user id."""

User = tuple[Details, UserPhone]


class UserReadModels:
    """Details and phones of all users."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate("read_models", SCHEMA)

    def find(self, instance_id: str, user_id: str) -> User | None:
        """The user as of the last event taken in; None: there is no such user."""
        with self._database.read() as connection:
            return _find(connection, (instance_id, user_id))

    def apply(self, connection: sqlite3.Connection, events: Sequence[Recorded]) -> None:
        """Take in *events*."""
        users: dict[Key, tuple[Details | None, UserPhone | None]] = {}
        for recorded in events:
            key = (recorded.instance_id, recorded.user_id)
            details, phone = users[key] if key in users else _find(connection, key) or (None, None)
            users[key] = user_details(details, recorded), user_phone(phone, recorded)
        connection.executemany(
            "REPLACE INTO humanuser_user_details VALUES (?, ?, ?, ?, ?, ?)",
            [(*key, *_details_row(details)) for key, (details, _) in users.items() if details],
        )
        connection.executemany(
            "REPLACE INTO humanuser_user_phone VALUES (?, ?, ?, ?, ?)",
            [(*key, *_phone_row(phone)) for key, (_, phone) in users.items() if phone],
        )
        gone = [key for key, (details, _) in users.items() if details is None]
        for table in ("humanuser_user_details", "humanuser_user_phone"):
            connection.executemany(f"DELETE FROM {table} WHERE instance_id = ? AND user_id = ?", gone)

    def clear(self, connection: sqlite3.Connection) -> None:
        """Forget all users."""
        connection.execute("DELETE FROM humanuser_user_details")
        connection.execute("DELETE FROM humanuser_user_phone")


def _find(connection: sqlite3.Connection, key: Key) -> User | None:
    row = connection.execute(_FIND, key).fetchone()
    if row is None:
        return None
    sequence, creation_date, change_date, resource_owner, phone, verified, last_verified_phone = row
    return (
        Details(
            sequence=sequence,
            creation_date=time_of_text(creation_date),
            change_date=time_of_text(change_date),
            resource_owner=resource_owner,
        ),
        UserPhone(
            phone=None if phone is None else PhoneNumber(phone),
            verified=bool(verified),
            last_verified_phone=None if last_verified_phone is None else PhoneNumber(last_verified_phone),
        ),
    )


def _details_row(details: Details) -> tuple[int, str, str, str]:
    return (
        details.sequence,
        text_of_time(details.creation_date),
        text_of_time(details.change_date),
        details.resource_owner,
    )


def _phone_row(phone: UserPhone) -> tuple[str | None, bool, str | None]:
    last_verified = phone.last_verified_phone
    return (
        phone.phone.e164 if phone.phone else None,
        phone.verified,
        last_verified.e164 if last_verified else None,
    )
