"""How numbers, codes, times and limits are told to a reader."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from humanuser import PendingCode, PhoneNumber, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What the reader may see and wants to know."""

    reveal: bool = False
    """Whether numbers are shown whole."""
    policy: Policy | None = None
    """Whose limits failures are counted against; None: they are only counted."""

    def number(self, phone: PhoneNumber) -> str:
        """The number, masked unless it is to be revealed."""
        return phone.e164 if self.reveal else phone.masked

    def attempt(self, count: int) -> str:
        """*count*, of as many attempts as a code has."""
        return f"{count} of {self._attempts}" if self._attempts else str(count)

    def is_used_up(self, code: PendingCode) -> bool:
        """Whether so many attempts with *code* failed that it proves nothing any more."""
        return self._attempts is not None and code.failures >= self._attempts

    def is_beyond_help(self, failures_in_a_row: int) -> bool:
        """Whether so many attempts failed that no code proves anything any more."""
        limit = self.policy.failures_in_a_row if self.policy else None
        return limit is not None and failures_in_a_row >= limit

    @property
    def _attempts(self) -> int | None:
        return self.policy.attempts_per_code if self.policy else None


def sentence(*parts: str) -> str:
    """The *parts* that say something, one behind the other."""
    return "; ".join(part for part in parts if part)


def the_code(code: PendingCode) -> str:
    """Which code it is, by the place of its event in the history."""
    return f"the code of step {code.sequence}"


def told_validity(code: PendingCode) -> str:
    """How long a new code lives."""
    lifetime = code.added.lifetime
    if lifetime is not None and lifetime <= timedelta(0):
        return "expired from the start"
    if lifetime is None or code.expires_at is None:
        return "which does not expire"
    return f"valid for {told_span(lifetime)}, until {told_time(code.expires_at)}"


def told_death(code: PendingCode, at: datetime) -> str:
    """Why *code* is not valid at a moment; empty: it is."""
    lifetime = code.added.lifetime
    if lifetime is None or code.lives_at(at):
        return ""
    if lifetime <= timedelta(0):
        return f"{the_code(code)} was expired from the start"
    if at < code.added_at:
        return f"{the_code(code)} is from the future: a clock was set back"
    expired_at = code.added_at + lifetime
    return f"{the_code(code)} expired at {told_time(expired_at)}, {told_span(at - expired_at)} before"


def told_time(moment: datetime) -> str:
    """*moment* (UTC) to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def told_span(span: timedelta) -> str:
    """*span* in its two largest units, such as ``1 hour 30 minutes``."""
    minutes, seconds = divmod(span.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    units = {"day": span.days, "hour": hours, "minute": minutes, "second": seconds}
    told = [f"{count} {unit}{'s' if count > 1 else ''}" for unit, count in units.items() if count]
    return " ".join(told[:2]) or "less than a second"
