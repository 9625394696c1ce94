"""How many SMS may go to one number, to its neighbours and to its country: pumped codes cost money, and prove nobody.

Limits of a user do not stop somebody who makes many users with numbers of one range. These do. Numbers are kept as
keyed hashes, so that the table tells nobody whom we text.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import phonenumbers

from humanuser import Accepted, PhoneNumber, Retryable, Sms, SmsOutcome, SmsSender, StoreUnavailable, Unknown
from humanuser_adapters.database import Connection, Database, text_of_time
from humanuser_adapters.log_fields import log_of
from humanuser_projections import CheckedSms

log = log_of(__name__)

SCHEMA = (
    (
        """
        CREATE TABLE humanuser_sms_budget (
            whom TEXT, began_at {time}, ends_at {time} NOT NULL, count BIGINT NOT NULL, PRIMARY KEY (whom, began_at)
        )
        """,
        "CREATE INDEX humanuser_sms_budget_end ON humanuser_sms_budget (ends_at)",
    ),
    ("CREATE TABLE humanuser_sms_budget_key (id BIGINT PRIMARY KEY, key TEXT NOT NULL)",),
)

UNKNOWN_COUNTRY = "?"
"""Of numbers from a history that is not ours, which may be any text."""
KEY_BYTES = 32
NEIGHBOURS = 3
"""Numbers that differ in their last three digits alone are neighbours: such blocks are rented together."""


class Scope(StrEnum):
    """Who shares a limit."""

    NUMBER = "number"
    RANGE = "range"
    COUNTRY = "country"


@dataclass(frozen=True, slots=True)
class SendLimit:
    """No more than *count* SMS to the same *scope* in each span of *within*, counted from the epoch."""

    scope: Scope
    count: int
    within: timedelta

    def __post_init__(self) -> None:
        if self.count < 1 or self.within <= timedelta(0):
            raise ValueError("a limit needs a count and a span above zero")


DEFAULT_LIMITS = (
    SendLimit(Scope.NUMBER, 20, timedelta(days=1)),
    SendLimit(Scope.RANGE, 100, timedelta(hours=1)),
    SendLimit(Scope.COUNTRY, 1000, timedelta(hours=1)),
)


@dataclass(frozen=True, slots=True)
class SmsBudget:
    """How many SMS may be sent."""

    limits: Sequence[SendLimit] = DEFAULT_LIMITS
    key: bytes = field(default=b"", repr=False)
    """Hides the numbers that are counted. Empty: a random one that is kept in the database, for all processes on it.

    Another key starts all counts at zero.
    """


class BudgetedSms:
    """Sends through another sender while the budget lasts; what is over it waits for the next span, or for its end."""

    def __init__(
        self,
        sender: SmsSender,
        database: Database,
        budget: SmsBudget,
        *,
        now: Callable[[Connection], datetime] | None = None,
    ) -> None:
        """*now*: the clock that all processes share; the database's own if there is none."""
        self._sender = CheckedSms(sender)
        self._database = database
        self._budget = budget
        self._now = now or database.now
        database.migrate("sms_budget", SCHEMA)
        self._key = budget.key or _stored_key(database)

    def send(self, sms: Sms) -> SmsOutcome:
        try:
            taken_at = self._take(sms.to)
        except _UsedUp as used_up:
            log.warning("%s for %s: is somebody pumping codes?", used_up, _shown(used_up.limit.scope, sms.to))
            return Retryable(str(used_up), used_up.wait)
        except StoreUnavailable:
            return Retryable("what is left of the budget cannot be told now")
        outcome = self._sender.send(sms)
        if not isinstance(outcome, Accepted | Unknown):
            with contextlib.suppress(StoreUnavailable):  # then it counts; to forget the outcome would do more harm
                self._give_back(sms.to, taken_at)
        return outcome

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:
        return self._sender.look_up(sms)

    def _take(self, to: PhoneNumber) -> datetime:
        """Count one more SMS; when that was. Raises ``_UsedUp``, and then counts nothing."""
        with self._database.write() as connection:
            now = self._now(connection)
            for limit in self._budget.limits:
                whom, began_at = self._span(limit, to, now)
                ends_at = began_at + limit.within
                if not connection.execute(
                    "INSERT INTO humanuser_sms_budget VALUES (?, ?, ?, 1) "
                    "ON CONFLICT (whom, began_at) DO UPDATE SET count = humanuser_sms_budget.count + 1 "
                    "WHERE humanuser_sms_budget.count < ?",
                    (whom, text_of_time(began_at), text_of_time(ends_at), limit.count),
                ).rowcount:
                    raise _UsedUp(limit, ends_at - now)
            connection.execute("DELETE FROM humanuser_sms_budget WHERE ends_at <= ?", (text_of_time(now),))
        return now

    def _give_back(self, to: PhoneNumber, taken_at: datetime) -> None:
        with self._database.write() as connection:
            for limit in self._budget.limits:
                whom, began_at = self._span(limit, to, taken_at)
                connection.execute(
                    "UPDATE humanuser_sms_budget SET count = count - 1 WHERE whom = ? AND began_at = ?",
                    (whom, text_of_time(began_at)),
                )

    def _span(self, limit: SendLimit, to: PhoneNumber, now: datetime) -> tuple[str, datetime]:
        """The hash of whom *limit* counts, and when the span began that *now* is in."""
        whom = f"{limit.scope}\0{limit.within}\0{_of(limit.scope, to)}"
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return (
            hmac.new(self._key, whom.encode(), hashlib.sha256).hexdigest(),
            epoch + (now - epoch) // limit.within * limit.within,
        )


def _stored_key(database: Database) -> bytes:
    """The key of all processes that were given none; the first one draws it."""
    query = "SELECT key FROM humanuser_sms_budget_key"
    with database.read() as connection:
        row = connection.execute(query).fetchone()
    if row is None:
        with database.write() as connection:
            new_key = secrets.token_hex(KEY_BYTES)
            connection.execute("INSERT INTO humanuser_sms_budget_key VALUES (1, ?) ON CONFLICT DO NOTHING", (new_key,))
            row = connection.execute(query).fetchone()
    return bytes.fromhex(row[0])


class _UsedUp(Exception):
    def __init__(self, limit: SendLimit, wait: timedelta) -> None:
        super().__init__(f"the budget of {limit.count} SMS in {limit.within} for one {limit.scope} is used up")
        self.limit = limit
        self.wait = wait


def _of(scope: Scope, to: PhoneNumber) -> str:
    match scope:
        case Scope.NUMBER:
            return to.e164
        case Scope.RANGE:
            return to.e164[:-NEIGHBOURS]
        case Scope.COUNTRY:
            with contextlib.suppress(phonenumbers.NumberParseException):
                return str(phonenumbers.parse(to.e164).country_code)
            return UNKNOWN_COUNTRY


def _shown(scope: Scope, to: PhoneNumber) -> str:
    return f"+{_of(scope, to)}" if scope is Scope.COUNTRY else to.masked


__all__ = ["Scope", "SendLimit", "SmsBudget"]
