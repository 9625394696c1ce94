"""The SMS that are to be sent, and what became of them. A row holds neither a number nor a code: the events do."""

from __future__ import annotations

import logging
import random
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from humanuser import (
    Accepted,
    Clock,
    Misconfigured,
    NotWanted,
    Permanent,
    Recorded,
    Retryable,
    SmsOutcome,
    Unknown,
)
from humanuser_adapters.sqlite import Database, text_of_time, time_of_text
from humanuser_projections import PhoneNotification, PhoneNotifier, phone_notification

log = logging.getLogger(__name__)

SCHEMA = (
    (
        """
        CREATE TABLE humanuser_outbox (
            message_id TEXT PRIMARY KEY,
            instance_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            code_sequence INTEGER NOT NULL,
            state TEXT NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            due_at TEXT NOT NULL,
            fence INTEGER NOT NULL DEFAULT 0,
            note TEXT NOT NULL DEFAULT ''
        )
        """,
        "CREATE INDEX humanuser_outbox_due ON humanuser_outbox (instance_id, due_at) WHERE state IN ('due', 'claimed')",
    ),
)

LEASE = timedelta(seconds=20)
"""How long one worker has an SMS for itself."""
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=1)


class State(StrEnum):
    """What has become of an SMS."""

    DUE = "due"
    CLAIMED = "claimed"
    SENT = "sent"
    DROPPED = "dropped"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One SMS and how far it has come."""

    notification: PhoneNotification
    state: State
    attempts: int
    due_at: datetime
    """When the next attempt is due; of a claimed one, when the lease ends."""
    note: str
    """The provider's id, or why it was not sent."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one SMS until the lease ends."""

    notification: PhoneNotification
    attempts: int
    """With this one, from 1."""
    fence: int
    interrupted: bool
    """An earlier claim ended without a word."""


_COLUMNS = "message_id, instance_id, user_id, code_sequence, state, attempts, due_at, fence, note"


class Outbox:
    """The table, as its projection and its workers use it."""

    def __init__(self, database: Database, clock: Clock, *, lease: timedelta = LEASE) -> None:
        self._database = database
        self._clock = clock
        self._lease = lease
        database.migrate("outbox", SCHEMA)

    def apply(self, connection: sqlite3.Connection, events: Sequence[Recorded]) -> None:
        """Take in *events*: a row for each SMS that one calls for."""
        now = text_of_time(self._clock())
        wanted = [notification for recorded in events if (notification := phone_notification(recorded))]
        connection.executemany(
            "INSERT OR IGNORE INTO humanuser_outbox (message_id, instance_id, user_id, code_sequence, state, due_at) "
            "VALUES (?, ?, ?, ?, 'due', ?)",
            [(one.message_id, one.instance_id, one.user_id, one.code_sequence, now) for one in wanted],
        )

    def claim(self, instance_id: str) -> Claim | None:
        """The SMS that is longest due, for this caller alone while the lease lasts; None: none is due."""
        due = (instance_id, text_of_time(self._clock()))
        query = f"""
            SELECT {_COLUMNS} FROM humanuser_outbox
            WHERE instance_id = ? AND state IN ('due', 'claimed') AND due_at <= ? ORDER BY due_at LIMIT 1
        """
        with self._database.read() as connection:  # the common case: nothing to do, so no turn to write is taken
            if connection.execute(query, due).fetchone() is None:
                return None
        with self._database.write() as connection:
            row = connection.execute(query, due).fetchone()
            if row is None:
                return None
            message_id, *_, fence, _ = row
            lease_ends = text_of_time(self._clock() + self._lease)
            connection.execute(
                "UPDATE humanuser_outbox SET state = 'claimed', attempts = attempts + 1, fence = fence + 1, due_at = ? "
                "WHERE message_id = ?",
                (lease_ends, message_id),
            )
        before = _delivery(row)
        return Claim(before.notification, before.attempts + 1, fence + 1, before.state is State.CLAIMED)

    def settle(self, claim: Claim, state: State, note: str = "", *, pause: timedelta = timedelta(0)) -> bool:
        """Write down what came of *claim*; False: its lease had ended and somebody else has it now."""
        with self._database.write() as connection:
            return bool(
                connection.execute(
                    "UPDATE humanuser_outbox SET state = ?, note = ?, due_at = ? WHERE message_id = ? AND fence = ?",
                    (state, note, text_of_time(self._clock() + pause), claim.notification.message_id, claim.fence),
                ).rowcount
            )

    def next_due(self, instance_id: str) -> datetime | None:
        """When the next SMS is due; None: none waits."""
        query = "SELECT min(due_at) FROM humanuser_outbox WHERE instance_id = ? AND state IN ('due', 'claimed')"
        with self._database.read() as connection:
            (due_at,) = connection.execute(query, (instance_id,)).fetchone()
        return due_at and time_of_text(due_at)

    def list(self, instance_id: str) -> Sequence[Delivery]:
        """Every SMS there ever was to send, the oldest first."""
        query = f"SELECT {_COLUMNS} FROM humanuser_outbox WHERE instance_id = ? ORDER BY rowid"
        with self._database.read() as connection:
            return [_delivery(row) for row in connection.execute(query, (instance_id,))]


class OutboxWorker:
    """Sends what is due. Any number may run, in any process."""

    def __init__(
        self,
        outbox: Outbox,
        notifier: PhoneNotifier,
        clock: Clock,
        *,
        instance_id: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._notifier = notifier
        self._clock = clock
        self._instance_id = instance_id
        self._jitter = jitter

    def send_due(self) -> timedelta | None:
        """Send all that is due now; how long until the next is due, None if none waits."""
        while claim := self._outbox.claim(self._instance_id):
            self._send(claim)
        due_at = self._outbox.next_due(self._instance_id)
        return None if due_at is None else max(due_at - self._clock(), timedelta(0))

    def _send(self, claim: Claim) -> None:
        outcome = self._notifier.deliver(claim.notification, interrupted=claim.interrupted)
        state, note, pause = self._after(outcome, claim.attempts)
        log.log(
            logging.INFO if state in (State.SENT, State.DROPPED) else logging.WARNING,
            "SMS %s is %s%s",
            claim.notification.message_id,
            state,
            f": {note}" if note else "",
        )
        if not self._outbox.settle(claim, state, note, pause=pause):
            log.warning("SMS %s took longer than its lease", claim.notification.message_id)

    def _after(self, outcome: SmsOutcome | NotWanted, attempts: int) -> tuple[State, str, timedelta]:
        """The state that follows, a note on why, and how long to wait for the next try."""
        at_once = timedelta(0)
        match outcome:
            case Accepted(provider_id=provider_id):
                after = State.SENT, provider_id, at_once
            case NotWanted.SENT:
                after = State.SENT, "", at_once
            case NotWanted():
                after = State.DROPPED, outcome.value, at_once
            case Retryable(reason=reason, retry_after=retry_after):
                after = State.DUE, reason, retry_after or self._pause(attempts)
            case Misconfigured(reason=reason):
                after = State.DUE, reason, self._pause(attempts)
            case Permanent(reason=reason):
                after = State.FAILED, reason, at_once
            case Unknown(reason=reason):
                after = State.UNKNOWN, reason, at_once
            case _:
                assert_never(outcome)
        return after

    def _pause(self, attempts: int) -> timedelta:
        """Longer after each attempt, and never the same for all who wait."""
        longest = min(FIRST_PAUSE * (1 << min(attempts, 20)), LONGEST_PAUSE)
        return longest * (0.5 + 0.5 * self._jitter())


def _delivery(row: Sequence[object]) -> Delivery:
    message_id, instance_id, user_id, code_sequence, state, attempts, due_at, _, note = row
    return Delivery(
        PhoneNotification(
            message_id=str(message_id),
            instance_id=str(instance_id),
            user_id=str(user_id),
            code_sequence=int(str(code_sequence)),
        ),
        State(str(state)),
        int(str(attempts)),
        time_of_text(str(due_at)),
        str(note),
    )
