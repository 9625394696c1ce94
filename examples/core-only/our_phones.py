"""The phones of our users: humanuser decides, and we keep the events in a table of our own."""

import base64
import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import get_args

from humanuser import (
    CodeInvalid,
    Event,
    HumanUser,
    HumanUserAdded,
    PhoneVerificationCodeAdded,
    PhoneVerificationFailed,
    Policy,
    Recorded,
    SealedCode,
    UnknownEvent,
    VerificationCode,
    parse_phone_number,
)

TABLE = """
    CREATE TABLE IF NOT EXISTS user_events (
        user_id TEXT, sequence INTEGER, created_at TEXT, creator TEXT, type TEXT, payload TEXT,
        PRIMARY KEY (user_id, sequence)
    )
"""
FACTS = {fact.type: fact for fact in get_args(Event) if fact is not UnknownEvent}
POLICY = Policy.recommended()
INSTANCE, ORGANIZATION = "default", "our-company"
SendText = Callable[[str, str], object]
"""Sends to a number of the form +41791234567 a text."""
Decision = Callable[[HumanUser], list[Event]]


class OurPhones:
    """Reads, decides and writes in one transaction, so that two requests never decide on the same past."""

    def __init__(self, path: str, key: bytes, send_text: SendText) -> None:
        self._path = path
        self._key = key
        self._send_text = send_text
        with closing(self._connect()) as database:
            database.execute(TABLE)

    def user(self, user_id: str) -> HumanUser:
        """What all that happened has made of the user."""
        with closing(self._connect()) as database:
            return _replayed(database, user_id)

    def add_user(self, user_id: str, name: str) -> None:
        """There is a new user, without a phone."""
        self._carry_out(user_id, lambda user: user.add(HumanUserAdded(user_name=name)))

    def change(self, user_id: str, typed: str) -> None:
        """The user gets the number that somebody *typed*, and a text with the code that proves it."""
        number = parse_phone_number(typed, POLICY.phone)
        code = "".join(secrets.choice(POLICY.code.alphabet) for _ in range(POLICY.code.length))
        added = PhoneVerificationCodeAdded(code=self._sealed(user_id, code), expiry=POLICY.code_expiry_nanoseconds)
        self._carry_out(user_id, lambda user: user.change_phone(number, added, now=datetime.now(UTC), policy=POLICY))
        self._send_text(number.e164, f"{code} is your code.")

    def verify(self, user_id: str, code: str) -> None:
        """The user proves the number. A wrong code is stored, and counts, before it is refused."""
        given = VerificationCode(self._sealed(user_id, code).crypted)

        def decide(user: HumanUser) -> list[Event]:
            sealed = user.pending_code and user.pending_code.added.code
            pending = VerificationCode(sealed.crypted) if sealed else None
            return user.verify_phone(given, pending, now=datetime.now(UTC), policy=POLICY)

        if self._carry_out(user_id, decide) == [PhoneVerificationFailed()]:
            raise CodeInvalid

    def _carry_out(self, user_id: str, decide: Decision) -> list[Event]:
        with closing(self._connect()) as database, database:
            database.execute("BEGIN IMMEDIATE")
            user = _replayed(database, user_id)
            events = decide(user)
            now = datetime.now(UTC).isoformat()
            for sequence, event in enumerate(events, user.sequence + 1):
                row = (user_id, sequence, now, user_id, event.type, _payload_of(event))
                database.execute("INSERT INTO user_events VALUES (?, ?, ?, ?, ?, ?)", row)
        return events

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, isolation_level=None)

    def _sealed(self, user_id: str, code: str) -> SealedCode:
        """Our way to seal a code: nobody need open it again, because what is given later is sealed as well."""
        seal = hmac.digest(self._key, f"{user_id}\0{code}".encode(errors="surrogatepass"), hashlib.sha256)
        return SealedCode(algorithm="HMAC-SHA256", key_id="1", crypted=base64.b64encode(seal).decode())


def _replayed(database: sqlite3.Connection, user_id: str) -> HumanUser:
    query = "SELECT user_id, sequence, created_at, creator, type, payload FROM user_events WHERE user_id = ? ORDER BY 2"
    return HumanUser.replay(_recorded(*row) for row in database.execute(query, (user_id,)))


def _recorded(user_id: str, sequence: int, created_at: str, creator: str, stored_type: str, payload: str) -> Recorded:
    fact = FACTS.get(stored_type)
    return Recorded(
        instance_id=INSTANCE,
        user_id=user_id,
        sequence=sequence,
        created_at=datetime.fromisoformat(created_at),
        creator=creator,
        resource_owner=ORGANIZATION,
        event=fact.model_validate_json(payload) if fact else UnknownEvent(stored_type, payload.encode()),
    )


def _payload_of(event: Event) -> str:
    return event.payload.decode() if isinstance(event, UnknownEvent) else event.model_dump_json()
