"""Stand-ins and short words that several tests use."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from humanuser import Accepted, Caller, CodeOwner, CodeVault, Event, HumanUser, NewEvents, Sms
from humanuser.testing import AT
from humanuser_adapters.application import Application
from humanuser_adapters.database import Database
from humanuser_adapters.event_store import EventRows, SQLiteEventRecorder, UserEventStore
from humanuser_adapters.event_store.postgresql import PostgreSQLEventRecorder
from humanuser_adapters.event_store.sql import SqlEventRecorder
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.sqlite import SQLiteDatabase

PATIENCE_SECONDS = 5


class FakeClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        """Let time pass: ``advance(minutes=10)``."""
        self.now += timedelta(**span)


class Sender:
    """Accepts every SMS."""

    def __init__(self) -> None:
        self.sent: list[Sms] = []

    def send(self, sms: Sms) -> Accepted:
        self.sent.append(sms)
        return Accepted()

    def look_up(self, _: Sms) -> None:
        return None


class Callers(dict[str, Caller]):
    """Who calls, by token."""

    def authenticate(self, token: str) -> Caller | None:
        return self.get(token)


def as_caller(token: str) -> dict[str, str]:
    """The header that says who calls."""
    return {"Authorization": f"Bearer {token}"}


def pending_code(application: Application, vault: CodeVault, user_id: str = "ada") -> str:
    """The code that can prove the user's phone now."""
    pending = HumanUser.replay(application.history(user_id)).pending_code
    assert pending is not None
    assert pending.added.code is not None
    return vault.open(pending.added.code, CodeOwner("default", user_id)).characters


def new_events(
    user_id: str,
    events: Sequence[Event],
    *,
    after: int = 0,
    created_at: datetime = AT,
    creator: str = "admin",
    resource_owner: str = "org1",
    instance_id: str = "default",
) -> NewEvents:
    """*events* of one command without an id."""
    return NewEvents(
        instance_id=instance_id,
        user_id=user_id,
        events=events,
        after=after,
        created_at=created_at,
        creator=creator,
        resource_owner=resource_owner,
    )


def another(code: str) -> str:
    """A code that is not *code*."""
    return code[::-1] if code != code[::-1] else f"{code}0"


def eventually(seen: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> bool:
    """Whether it is *seen* before patience ends."""
    until = time.monotonic() + seconds
    while not seen() and time.monotonic() < until:
        time.sleep(0.002)
    return seen()


def recorder_on(database: Database) -> SqlEventRecorder:
    """A recorder for *database*, of whichever kind it is."""
    if isinstance(database, SQLiteDatabase):
        return SQLiteEventRecorder(database)
    assert isinstance(database, PostgreSQLDatabase)
    return PostgreSQLEventRecorder(database)


def store_on(database: Database) -> UserEventStore:
    """The events of users in *database*."""
    return UserEventStore(recorder_on(database))


def rows_on(database: Database) -> EventRows:
    """The same, as rows."""
    return EventRows(database, recorder_on(database))
