"""The read models of users, as tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from itertools import groupby, islice
from operator import itemgetter
from typing import Self

from humanuser import Details, PhoneNumber, Recorded
from humanuser_adapters.database import Connection, Database, text_of_time, time_of_text
from humanuser_adapters.known_phones import differences_from
from humanuser_adapters.migrations import in_words_of
from humanuser_adapters.read_model import MOST_DIFFERENCES, Difference, KnownPhone
from humanuser_projections import UserPhone, user_details_after, user_phone_after

SCHEMA = (
    (
        """
        CREATE TABLE humanuser_user_details (
            instance_id TEXT, user_id TEXT, sequence BIGINT NOT NULL, creation_date {time} NOT NULL,
            change_date {time} NOT NULL, resource_owner TEXT NOT NULL, taken_in BIGINT NOT NULL,
            PRIMARY KEY (instance_id, user_id)
        )
        """,
        """
        CREATE TABLE humanuser_user_phone (
            instance_id TEXT, user_id TEXT, phone TEXT, verified BOOLEAN NOT NULL, last_verified_phone TEXT,
            PRIMARY KEY (instance_id, user_id)
        )
        """,
    ),
)

TABLES = {
    "humanuser_user_details": "sequence, creation_date, change_date, resource_owner, taken_in",
    "humanuser_user_phone": "phone, verified, last_verified_phone",
}
"""Every table, and its columns behind the key."""

_ONLY_IN = """
    SELECT '{side}' AS side, instance_id, user_id, {columns} FROM (
        SELECT instance_id, user_id, {columns} FROM {one} EXCEPT SELECT instance_id, user_id, {columns} FROM {other}
    ) AS only_{side}
"""

_FIND = """
    SELECT taken_in, sequence, creation_date, change_date, resource_owner, phone, verified, last_verified_phone
    FROM humanuser_user_details JOIN humanuser_user_phone USING (instance_id, user_id)
    WHERE instance_id = ? AND user_id = ?
"""

_SET_DETAILS = """
    INSERT INTO humanuser_user_details VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (instance_id, user_id) DO UPDATE SET sequence = excluded.sequence,
    creation_date = excluded.creation_date, change_date = excluded.change_date,
    resource_owner = excluded.resource_owner, taken_in = excluded.taken_in
"""
_SET_PHONE = """
    INSERT INTO humanuser_user_phone VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (instance_id, user_id) DO UPDATE SET phone = excluded.phone, verified = excluded.verified,
    last_verified_phone = excluded.last_verified_phone
"""

Key = tuple[str, str]
"""Instance id and user id."""

User = tuple[Details, UserPhone]


@dataclass(frozen=True, slots=True)
class TakenIn:
    """A user as of one of their events."""

    sequence: int = 0
    """Of the last event taken in; 0 also for users who were removed."""
    details: Details | None = None
    phone: UserPhone | None = None

    @property
    def user(self) -> User | None:
        """Details and phone; None: there is no such user."""
        return (self.details, self.phone) if self.details and self.phone else None

    def after(self, history: Sequence[Recorded]) -> TakenIn:
        """The user after *history*, too, which is all that is known of the user since."""
        sequence = history[-1].sequence if history else self.sequence
        return TakenIn(sequence, user_details_after(self.details, history), user_phone_after(self.phone, history))


class UserReadModels:
    """Details and phones of all users."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._suffix = ""
        self._folded: dict[Key, TakenIn] = {}
        database.migrate("read_models", SCHEMA)

    def find(self, instance_id: str, user_id: str) -> TakenIn:
        """The user as of the last event taken in."""
        with self._database.read() as connection:
            return self._find(connection, (instance_id, user_id))

    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Take in *events*."""
        of_users: defaultdict[Key, list[Recorded]] = defaultdict(list)
        for recorded in events:
            of_users[recorded[:2]].append(recorded)
        self._store(connection, {key: self._find(connection, key).after(one) for key, one in of_users.items()})

    def fold(self, events: Sequence[Recorded]) -> int:
        """Take in *events*, which come user by user, in memory at first; how many users wait there."""
        for key, history in groupby(events, itemgetter(0, 1)):
            self._folded[key] = self._folded.get(key, TakenIn()).after(list(history))
        return len(self._folded)

    def flush(self, connection: Connection) -> None:
        """Store those who wait; the last one stays, because more of the same history may come."""
        self._store(connection, self._folded)
        for key in list(self._folded)[:-1]:
            del self._folded[key]

    def beside(self, connection: Connection) -> Self:
        """Others, with nobody in them, beside these; what was left of earlier ones is gone."""
        others = copy(self)
        others._suffix, others._folded = "_anew", {}  # noqa: SLF001 - of our own kind
        others.drop(connection)
        for statement in (statement for script in SCHEMA for statement in script):
            connection.execute(in_words_of(self._database.types, others._in(statement)))  # noqa: SLF001 - as above
        return others

    def drop(self, connection: Connection) -> None:
        """Be no more."""
        for table in TABLES:
            connection.execute(self._in(f"DROP TABLE IF EXISTS {table}"))

    def become(self, connection: Connection, others: Self) -> None:
        """Have the place of these taken by the *others*."""
        self.drop(connection)
        for table in TABLES:
            connection.execute(f"ALTER TABLE {others._in(table)} RENAME TO {table}")

    def differences(self, connection: Connection, others: Self) -> Iterator[Difference]:
        """Where these are not as the *others*, in the order of users."""
        for table, columns in TABLES.items():
            what = table.removeprefix("humanuser_user_")
            yield from differences_between(connection, what, columns, self._in(table), others._in(table))

    def differences_from(self, phones: Iterable[KnownPhone]) -> Sequence[Difference]:
        """Where they say something else of a user's phone than somebody else, who knows *phones*."""
        return sorted(islice(differences_from(self._database, phones), MOST_DIFFERENCES), key=_key)

    def _store(self, connection: Connection, users: Mapping[Key, TakenIn]) -> None:
        there = [(key, taken_in, *taken_in.user) for key, taken_in in users.items() if taken_in.user]
        connection.executemany(
            self._in(_SET_DETAILS),
            [(*key, *_details_row(details), taken_in.sequence) for key, taken_in, details, _ in there],
        )
        connection.executemany(self._in(_SET_PHONE), [(*key, *_phone_row(phone)) for key, _, _, phone in there])
        gone = [key for key, taken_in in users.items() if not taken_in.user]
        for table in TABLES:
            connection.executemany(self._in(f"DELETE FROM {table} WHERE instance_id = ? AND user_id = ?"), gone)

    def _find(self, connection: Connection, key: Key) -> TakenIn:
        row = connection.execute(self._in(_FIND), key).fetchone()
        return _taken_in(*row) if row else TakenIn()

    def _in(self, query: str) -> str:
        return _suffixed(query, self._suffix)


def _key(difference: Difference) -> Key:
    return (difference.instance_id, difference.user_id)


def differences_between(
    connection: Connection,
    what: str,
    columns: str,
    stored: str,
    expected: str,
    *,
    given: str = "",
    values: Sequence[object] = (),
) -> Iterator[Difference]:
    """Where the *columns* of the table *stored* are not as in *expected*, in the order of users.

    One of them may be *given*, as a WITH clause that wants *values*.
    """
    only_stored = _ONLY_IN.format(side="stored", columns=columns, one=stored, other=expected)
    only_expected = _ONLY_IN.format(side="expected", columns=columns, one=expected, other=stored)
    rows = connection.execute(f"{given} {only_stored} UNION ALL {only_expected} ORDER BY 2, 3", values)
    for (instance_id, user_id), of_user in groupby(rows, key=lambda row: row[1:3]):
        found = {side: tuple(values) for side, _, _, *values in of_user}
        yield Difference(instance_id, user_id, what, found.get("stored"), found.get("expected"))


@cache
def _suffixed(query: str, suffix: str) -> str:
    """*query*, about the tables of that *suffix*."""
    for table in TABLES:
        query = query.replace(table, table + suffix)
    return query


def _taken_in(
    taken_in: int,
    sequence: int,
    creation_date: str,
    change_date: str,
    resource_owner: str,
    phone: str | None,
    verified: bool,
    last_verified_phone: str | None,
) -> TakenIn:
    return TakenIn(
        taken_in,
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
