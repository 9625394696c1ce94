"""The SMS that are to be sent, and what became of them. A row holds neither a number nor a code: the events do."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, assert_never

from humanuser import (
    Accepted,
    Misconfigured,
    NotWanted,
    Permanent,
    Recorded,
    Retryable,
    SmsOutcome,
    StoreUnavailable,
    Unknown,
)
from humanuser_adapters.database import Connection, Database, text_of_time, time_of_text
from humanuser_adapters.log_fields import about, log_of
from humanuser_projections import (
    PhoneNotification,
    PhoneNotifier,
    code_expires_at,
    phone_notification,
    replaces_codes,
)

log = log_of(__name__)

SCHEMA = (
    (
        """
        CREATE TABLE humanuser_outbox (
            message_id TEXT PRIMARY KEY,
            position BIGINT NOT NULL,
            instance_id TEXT NOT NULL,
            user_id TEXT NOT NULL,
            code_sequence BIGINT NOT NULL,
            state TEXT NOT NULL,
            attempts BIGINT NOT NULL DEFAULT 0,
            interruptions BIGINT NOT NULL DEFAULT 0,
            due_at {time} NOT NULL,
            fence BIGINT NOT NULL DEFAULT 0,
            note TEXT NOT NULL DEFAULT ''
        )
        """,
        "CREATE INDEX humanuser_outbox_due ON humanuser_outbox (instance_id, due_at) WHERE state IN ('due', 'claimed')",
    ),
    (
        """
        CREATE INDEX humanuser_outbox_open ON humanuser_outbox (instance_id, state, position)
            WHERE state IN ('due', 'claimed', 'failed', 'unknown')
        """,
    ),
    (
        "ALTER TABLE humanuser_outbox ADD COLUMN wanted_until {time}",
        """
        CREATE INDEX humanuser_outbox_newest ON humanuser_outbox (instance_id, position)
            WHERE state IN ('due', 'claimed')
        """,
        """
        CREATE INDEX humanuser_outbox_stale ON humanuser_outbox (instance_id, wanted_until)
            WHERE state IN ('due', 'claimed')
        """,
        """
        CREATE INDEX humanuser_outbox_user ON humanuser_outbox (instance_id, user_id)
            WHERE state IN ('due', 'claimed')
        """,
        "CREATE INDEX humanuser_outbox_state ON humanuser_outbox (instance_id, state, due_at)",
    ),
)
"""``wanted_until`` is when the code expires or was replaced. NULL: never, or the row is older than the column."""

LEASE = timedelta(seconds=20)
"""How long one worker has an SMS for itself; it must have begun to send before half of it is over."""
MOST_INTERRUPTIONS = 3
"""How often an SMS may have left without anybody knowing what became of it; then people must look."""
MOST_ATTEMPTS = 1000
"""For a code that never expires: its SMS is not retried for ever."""
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=1)
RETENTION = timedelta(days=30)
"""How long a settled SMS stays in the table."""
BATCH = 500
"""Rows that are dropped or deleted in one transaction, for which the senders wait."""
DROP_EVERY_SECONDS = 1
PRUNE_EVERY_SECONDS = 60


class State(StrEnum):
    """What has become of an SMS."""

    DUE = "due"
    CLAIMED = "claimed"
    SENT = "sent"
    DROPPED = "dropped"
    FAILED = "failed"
    UNKNOWN = "unknown"


WAITING = (State.DUE, State.CLAIMED)
OPEN = (*WAITING, State.FAILED, State.UNKNOWN)
"""What is not done with: it waits, or it waits for people."""
SETTLED = (State.SENT, State.DROPPED, State.FAILED, State.UNKNOWN)
BY_HAND = (State.DUE, State.DROPPED, State.FAILED, State.UNKNOWN)
"""What people may send again or drop."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One SMS and how far it has come."""

    notification: PhoneNotification
    state: State
    attempts: int
    interruptions: int
    due_at: datetime
    """When the next attempt is due; of a claimed one, when the lease ends."""
    fence: int
    """Grows with every claim."""
    note: str
    """The provider's id, or why it was not sent."""


@dataclass(frozen=True, slots=True)
class OpenSms:
    """How many SMS in one state are not done with."""

    count: int
    oldest: int
    """The position of the event that first asked for one."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one SMS until the lease ends."""

    notification: PhoneNotification
    attempts: int
    """With this one, from 1."""
    fence: int
    interruptions: int
    """How many earlier claims ended without a word."""


_COLUMNS = "message_id, instance_id, user_id, code_sequence, state, attempts, interruptions, due_at, fence, note"


class Outbox:
    """The table, as its projection and its workers use it."""

    def __init__(
        self,
        database: Database,
        now: Callable[[Connection], datetime] | None = None,
        *,
        lease: timedelta = LEASE,
        retention: timedelta | None = RETENTION,
    ) -> None:
        """*now*: the clock that all workers share; the database's own if there is none.

        *retention*: how long settled SMS are kept; None: for ever. Raises ``ValueError`` if it is not positive.
        """
        if retention is not None and retention <= timedelta(0):
            raise ValueError("the retention of the outbox must be positive")
        self._database = database
        self._now = now or database.now
        self.lease = lease
        self._retention = retention
        database.migrate("outbox", SCHEMA)

    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Add a row for each SMS that *events* call for, and mark the rows of codes that they replace.

        A row is due at once, even if the time of its event is yet to come.
        """
        wanted = [(one, recorded) for recorded in events if (one := phone_notification(recorded))]
        replacing = [recorded for recorded in events if replaces_codes(recorded)]
        if not wanted and not replacing:
            return
        now = self._now(connection)
        connection.executemany(
            "INSERT INTO humanuser_outbox "
            "(message_id, position, instance_id, user_id, code_sequence, state, due_at, wanted_until) "
            "VALUES (?, ?, ?, ?, ?, 'due', ?, ?) ON CONFLICT DO NOTHING",
            [
                (
                    one.message_id,
                    recorded.position,
                    one.instance_id,
                    one.user_id,
                    one.code_sequence,
                    text_of_time(min(recorded.created_at, now)),
                    (until := code_expires_at(recorded)) and text_of_time(until),
                )
                for one, recorded in wanted
            ],
        )
        connection.executemany(
            "UPDATE humanuser_outbox SET wanted_until = ?, note = ? "
            "WHERE instance_id = ? AND user_id = ? AND position < ? AND state IN ('due', 'claimed') "
            "AND (wanted_until IS NULL OR wanted_until > ?)",
            [
                (
                    text_of_time(min(recorded.created_at, now)),
                    NotWanted.SUPERSEDED.value,
                    recorded.instance_id,
                    recorded.user_id,
                    recorded.position,
                    text_of_time(min(recorded.created_at, now)),
                )
                for recorded in replacing
            ],
        )

    def claim(self, instance_id: str) -> Claim | None:
        """The newest SMS that is due, for this caller alone while the lease lasts; None: none is due.

        The newest first, because somebody still waits for it: after an outage a new code does not queue behind
        thousands of old ones. What expired or was replaced is left to ``drop_stale``.
        """
        query = f"""
            SELECT {_COLUMNS} FROM humanuser_outbox
            WHERE instance_id = ? AND state IN ('due', 'claimed') AND coalesce(due_at, due_at) <= ?
                AND (wanted_until IS NULL OR wanted_until > ?)
            ORDER BY position DESC LIMIT 1
        """  # coalesce: or the planner takes the index of due_at, and sorts all that are due to find the newest
        with self._database.read() as connection:  # the common case: nothing to do, so no turn to write is taken
            now_text = text_of_time(self._now(connection))
            if connection.execute(query, (instance_id, now_text, now_text)).fetchone() is None:
                return None
        with self._database.write() as connection:
            now = self._now(connection)
            values = (instance_id, text_of_time(now), text_of_time(now))
            row = connection.execute(query + self._database.claiming, values).fetchone()
            if row is None:
                return None
            before = _delivery(row)
            claim = Claim(
                before.notification,
                before.attempts + 1,
                before.fence + 1,
                before.interruptions + (before.state is State.CLAIMED),
            )
            connection.execute(
                "UPDATE humanuser_outbox SET state = 'claimed', attempts = ?, fence = ?, interruptions = ?, due_at = ? "
                "WHERE message_id = ?",
                (
                    claim.attempts,
                    claim.fence,
                    claim.interruptions,
                    text_of_time(now + self.lease),
                    claim.notification.message_id,
                ),
            )
        return claim

    def settle(self, claim: Claim, state: State, note: str = "", *, pause: timedelta = timedelta(0)) -> bool:
        """Write down what came of *claim*; False: its lease had ended and somebody else has it now."""
        with self._database.write() as connection:
            due_at = text_of_time(self._now(connection) + pause)
            return bool(
                connection.execute(
                    "UPDATE humanuser_outbox SET state = ?, note = ?, due_at = ? WHERE message_id = ? AND fence = ?",
                    (state.value, note, due_at, claim.notification.message_id, claim.fence),
                ).rowcount
            )

    def drop_stale(self, instance_id: str) -> Mapping[NotWanted, int]:
        """Drop a batch of SMS whose code expired or was replaced; how many for which reason, empty if there are none.

        One whose lease still lasts is left to its worker.
        """
        query = """
            SELECT message_id, note FROM humanuser_outbox
            WHERE instance_id = ? AND wanted_until <= ? AND state IN ('due', 'claimed')
                AND (state = 'due' OR due_at <= ?)
            LIMIT ?
        """
        with self._database.read() as connection:
            now = text_of_time(self._now(connection))
            if connection.execute(query, (instance_id, now, now, 1)).fetchone() is None:
                return {}
        with self._database.write() as connection:
            now = text_of_time(self._now(connection))
            rows = connection.execute(query + self._database.claiming, (instance_id, now, now, BATCH)).fetchall()
            stale: dict[NotWanted, list[str]] = {}
            for message_id, note in rows:
                replaced = note == NotWanted.SUPERSEDED.value
                stale.setdefault(NotWanted.SUPERSEDED if replaced else NotWanted.EXPIRED, []).append(message_id)
            for reason, message_ids in stale.items():
                connection.execute(
                    "UPDATE humanuser_outbox SET state = 'dropped', note = ?, fence = fence + 1, due_at = ? "
                    f"WHERE message_id IN ({_marks(message_ids)})",
                    (reason.value, now, *message_ids),
                )
        return {reason: len(message_ids) for reason, message_ids in stale.items()}

    def prune(self, instance_id: str) -> int:
        """Delete a batch of SMS that were settled longer ago than the retention; how many that were.

        A deleted row is not added again: the subscription has moved past its event. What was sent stays in the history.
        """
        if self._retention is None:
            return 0
        query = f"""
            SELECT message_id FROM humanuser_outbox
            WHERE instance_id = ? AND state IN ({_marks(SETTLED)}) AND due_at <= ? LIMIT ?
        """
        settled = [state.value for state in SETTLED]
        with self._database.read() as connection:
            until = text_of_time(self._now(connection) - self._retention)
            if connection.execute(query, (instance_id, *settled, until, 1)).fetchone() is None:
                return 0
        with self._database.write() as connection:
            rows = connection.execute(query + self._database.claiming, (instance_id, *settled, until, BATCH)).fetchall()
            message_ids = [message_id for (message_id,) in rows]
            if message_ids:
                connection.execute(
                    f"DELETE FROM humanuser_outbox WHERE message_id IN ({_marks(message_ids)})", message_ids
                )
        return len(message_ids)

    def due_in(self, instance_id: str) -> timedelta | None:
        """How long until the next SMS is due; None: none waits."""
        query = "SELECT min(due_at) FROM humanuser_outbox WHERE instance_id = ? AND state IN ('due', 'claimed')"
        with self._database.read() as connection:
            (due_at,) = connection.execute(query, (instance_id,)).fetchone()
            return due_at and max(time_of_text(due_at) - self._now(connection), timedelta(0))

    def open(self, instance_id: str) -> Mapping[State, OpenSms]:
        """What waits, and what was given up and waits for people, by state."""
        query = """
            SELECT state, count(*), min(position) FROM humanuser_outbox
            WHERE instance_id = ? AND state IN ('due', 'claimed', 'failed', 'unknown') GROUP BY state
        """  # as in the index, which is all that it reads
        with self._database.read() as connection:
            rows = connection.execute(query, (instance_id,)).fetchall()
        return {State(state): OpenSms(count, oldest) for state, count, oldest in rows}

    def counts(self, instance_id: str) -> Mapping[State, int]:
        """How many SMS are in each state, without those that were pruned."""
        query = "SELECT state, count(*) FROM humanuser_outbox WHERE instance_id = ? GROUP BY state"
        with self._database.read() as connection:
            return {State(state): count for state, count in connection.execute(query, (instance_id,)).fetchall()}

    def list(self, instance_id: str, states: Collection[State] = tuple(State)) -> Sequence[Delivery]:
        """Every SMS in one of *states*, without those that were pruned, the oldest first."""
        query = f"""
            SELECT {_COLUMNS} FROM humanuser_outbox WHERE instance_id = ? AND state IN ({_marks(states)})
            ORDER BY position
        """
        with self._database.read() as connection:
            rows = connection.execute(query, (instance_id, *(state.value for state in states))).fetchall()
        return [_delivery(row) for row in rows]

    def find(self, instance_id: str, message_id: str) -> PhoneNotification | None:
        """The SMS of that id; None: there is none."""
        query = f"SELECT {_COLUMNS} FROM humanuser_outbox WHERE instance_id = ? AND message_id = ?"
        with self._database.read() as connection:
            row = connection.execute(query, (instance_id, message_id)).fetchone()
        return row and _delivery(row).notification

    def report(self, instance_id: str, message_id: str, outcome: Accepted | Permanent) -> None:
        """Take in what the provider tells later, and perhaps in another order than it happened."""
        if isinstance(outcome, Accepted):
            state, note, fence, before = State.SENT, outcome.provider_id, 0, [*WAITING, State.UNKNOWN]
        else:  # whoever is sending it now has heard less, and is fenced off
            state, note, fence, before = State.FAILED, outcome.reason, 1, [*WAITING, State.UNKNOWN, State.SENT]
        query = f"""
            UPDATE humanuser_outbox SET state = ?, note = ?, fence = fence + ?
            WHERE instance_id = ? AND message_id = ? AND state IN ({_marks(before)})
        """
        values = (state.value, note, fence, instance_id, message_id, *(one.value for one in before))
        with self._database.write() as connection:
            told = connection.execute(query, values).rowcount
        if told and state is State.FAILED:
            log.warning("SMS %s is %s: %s", message_id, state, note)

    def retry(self, instance_id: str, message_id: str) -> bool:
        """Have an SMS that waits, or that was given up, sent now; False: there is no such one."""
        return self._by_hand(instance_id, message_id, State.DUE, "to be sent again, by hand")

    def drop(self, instance_id: str, message_id: str) -> bool:
        """Have an SMS never sent that waits or was given up; False: there is no such one."""
        return self._by_hand(instance_id, message_id, State.DROPPED, "dropped by hand")

    def recheck(self) -> int:
        """Treat every waiting SMS, of all instances, as one that may have been sent; return how many.

        Its provider is asked before it is sent. For a database that was restored: what waited in the backup may have
        been sent since.
        """
        query = """
            UPDATE humanuser_outbox SET state = 'claimed', fence = fence + 1, due_at = ?, note = 'rechecked'
            WHERE state IN ('due', 'claimed')
        """
        with self._database.write() as connection:
            return connection.execute(query, (text_of_time(self._now(connection)),)).rowcount

    def _by_hand(self, instance_id: str, message_id: str, state: State, note: str) -> bool:
        # what may have left (and what was dropped may have, before) is asked after first
        query = f"""
            UPDATE humanuser_outbox SET interruptions = 0, fence = fence + 1, note = ?, due_at = ?,
                state = CASE WHEN state IN ('unknown', 'dropped') AND ? = 'due' THEN 'claimed' ELSE ? END
            WHERE instance_id = ? AND message_id = ? AND state IN ({_marks(BY_HAND)})
        """
        with self._database.write() as connection:
            now = text_of_time(self._now(connection))
            values = (note, now, state.value, state.value, instance_id, message_id, *(one.value for one in BY_HAND))
            return bool(connection.execute(query, values).rowcount)


class Deliveries(Protocol):
    """What a worker needs of an outbox."""

    @property
    def lease(self) -> timedelta:
        """How long a claim lasts."""

    def claim(self, instance_id: str) -> Claim | None:
        """As in ``Outbox``."""

    def settle(self, claim: Claim, state: State, note: str = "", *, pause: timedelta = timedelta(0)) -> bool:
        """As in ``Outbox``."""

    def due_in(self, instance_id: str) -> timedelta | None:
        """As in ``Outbox``."""

    def drop_stale(self, instance_id: str) -> Mapping[NotWanted, int]:
        """As in ``Outbox``."""

    def prune(self, instance_id: str) -> int:
        """As in ``Outbox``."""


class OutboxWorker:
    """Sends what is due. Any number may run, in any process."""

    def __init__(
        self,
        outbox: Deliveries,
        notifier: PhoneNotifier,
        *,
        instance_id: str,
        jitter: Callable[[], float] = random.random,
        timer: Callable[[], float] = time.monotonic,
        dropped: Callable[[NotWanted, int], object] = lambda _, __: None,
    ) -> None:
        """*timer* gives seconds that only ever grow. *dropped* is called with why SMS were dropped, and how many."""
        self._outbox = outbox
        self._notifier = notifier
        self._instance_id = instance_id
        self._jitter = jitter
        self._timer = timer
        self._dropped = dropped
        self._drop_at = self._prune_at = -math.inf

    def send_due(self) -> timedelta | None:
        """Send all that is due; how long until the next is, None if none waits."""
        while (wait := self.send_next()) == timedelta(0):
            pass
        return wait

    def send_next(self) -> timedelta | None:
        """Send the newest one that is due, if any is; how long until the next is, None if none waits."""
        start = self._timer()  # before the lease begins
        if start >= self._drop_at:  # also while there is always something to send
            self._drop_at = start + DROP_EVERY_SECONDS
            self._drop_stale()
        claim = self._outbox.claim(self._instance_id)
        if claim is None:
            return timedelta(0) if self._drop_stale() or self._prune(start) else self._outbox.due_in(self._instance_id)
        with about(user_id=claim.notification.user_id, message_id=claim.notification.message_id):
            self._send(claim, give_up_at=start + self._outbox.lease.total_seconds() / 2)
        return timedelta(0)

    def _drop_stale(self) -> bool:
        """Whether there was any; then there may be more."""
        counts = self._outbox.drop_stale(self._instance_id)
        for reason, count in counts.items():
            log.log(_level_of(reason), "%d SMS dropped: %s", count, reason)
            self._dropped(reason, count)
        return bool(counts)

    def _prune(self, now: float) -> bool:
        """Whether there was anything to delete; then there may be more."""
        if now < self._prune_at:
            return False
        if self._outbox.prune(self._instance_id):
            return True
        self._prune_at = now + PRUNE_EVERY_SECONDS
        return False

    def _send(self, claim: Claim, *, give_up_at: float) -> None:
        used_up = claim.interruptions >= MOST_INTERRUPTIONS
        leaving = False

        def still_ours() -> bool:
            nonlocal leaving
            leaving = not used_up and self._timer() < give_up_at
            return leaving

        try:
            outcome = self._notifier.deliver(
                claim.notification, interrupted=claim.interruptions > 0, still_ours=still_ours
            )
        except StoreUnavailable:
            if not leaving:  # so it is no interruption, of which there may be few
                with suppress(StoreUnavailable):
                    self._outbox.settle(claim, State.DUE, "the store was not there", pause=self._pause(claim.attempts))
            raise
        except Exception as error:  # noqa: BLE001 - such as an event that cannot be read; its text may contain anything
            what = f"the delivery raised {type(error).__name__}"
            outcome = Unknown(what) if leaving or used_up else Misconfigured(what)
        if outcome is None and used_up:
            outcome = Unknown("every attempt was interrupted")
        if outcome is None:
            log.warning("SMS %s was not sent in time, and is left to others", claim.notification.message_id)
            self._outbox.settle(claim, State.DUE, "nothing was sent in time")
            return
        state, note, pause = self._after(outcome, claim)
        level = logging.INFO if state is State.SENT else logging.WARNING
        log.log(
            _level_of(outcome) if isinstance(outcome, NotWanted) else level,
            "SMS %s is %s%s",
            claim.notification.message_id,
            state,
            f": {note}" if note else "",
        )
        if not self._outbox.settle(claim, state, note, pause=pause):
            log.warning("SMS %s took longer than its lease", claim.notification.message_id)
        elif state is State.DROPPED and isinstance(outcome, NotWanted):
            self._dropped(outcome, 1)

    def _after(self, outcome: SmsOutcome | NotWanted, claim: Claim) -> tuple[State, str, timedelta]:
        """The state that follows, a note on why, and how long to wait for the next try."""
        at_once = timedelta(0)
        match outcome:
            case Accepted(provider_id=provider_id):
                after = State.SENT, provider_id, at_once
            case NotWanted.SENT:
                after = State.SENT, "", at_once
            case NotWanted():
                after = State.DROPPED, outcome.value, at_once
            case Retryable(reason=reason) | Misconfigured(reason=reason) if claim.attempts >= MOST_ATTEMPTS:
                after = State.FAILED, f"given up after {claim.attempts} attempts: {reason}", at_once
            case Retryable(reason=reason, retry_after=retry_after):
                # never sooner than after our own pause: a provider that always says "at once" would be called in a loop
                after = State.DUE, reason, max(retry_after or at_once, self._pause(claim.attempts))
            case Misconfigured(reason=reason):
                after = State.DUE, reason, self._pause(claim.attempts)
            case Permanent(reason=reason):
                after = State.FAILED, reason, at_once
            case Unknown(reason=reason) if claim.interruptions + 1 < MOST_INTERRUPTIONS:
                after = State.CLAIMED, reason, self._pause(claim.attempts)  # then the provider is asked
            case Unknown(reason=reason):
                after = State.UNKNOWN, reason, at_once
            case _:
                assert_never(outcome)
        return after

    def _pause(self, attempts: int) -> timedelta:
        """Longer after each attempt, and never the same for all who wait."""
        longest = min(FIRST_PAUSE * (1 << min(attempts, 20)), LONGEST_PAUSE)
        return longest * (0.5 + 0.5 * self._jitter())


def _level_of(reason: NotWanted) -> int:
    """A user who waited in vain is worth a warning; that an older code is not sent is as it should be."""
    return logging.WARNING if reason in (NotWanted.EXPIRED, NotWanted.INCOMPLETE) else logging.INFO


def _marks(values: Collection[object]) -> str:
    """As many question marks as there are *values*."""
    return ", ".join("?" * len(values))


def _delivery(row: Sequence[Any]) -> Delivery:  # Any: the columns have several types
    message_id, instance_id, user_id, code_sequence, state, attempts, interruptions, due_at, fence, note = row
    return Delivery(
        PhoneNotification(message_id=message_id, instance_id=instance_id, user_id=user_id, code_sequence=code_sequence),
        State(state),
        attempts,
        interruptions,
        time_of_text(due_at),
        fence,
        note,
    )


__all__ = ["Delivery", "State"]
