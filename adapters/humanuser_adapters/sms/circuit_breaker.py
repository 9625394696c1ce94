"""Leaves a provider alone that does not work at the moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from humanuser import Accepted, Clock, Retryable, Sms, SmsOutcome, SmsSender, Unknown
from humanuser_adapters.forks import ForkSafeLock
from humanuser_projections import CheckedSms

NO_TIME = timedelta(0)
PAUSE = timedelta(seconds=30)
"""How long a provider is left alone."""


@dataclass(frozen=True, slots=True)
class Paused(Retryable):
    """The provider was not called, because it did not work for others; so nothing of this SMS has left."""


class Pause:
    """While it lasts nobody calls the provider. After *length* one call is let through, and all others wait again.

    So a provider that works again is noticed, and one that does not is called once in each pause.
    """

    def __init__(self, clock: Clock, length: timedelta = PAUSE) -> None:
        self._clock = clock
        self._length = length
        self._lock = ForkSafeLock()
        self._until: datetime | None = None

    def begin(self) -> None:
        """Let nobody through for the whole length."""
        with self._lock:
            self._until = self._clock() + self._length

    def end(self) -> None:
        """Let everybody through."""
        with self._lock:
            self._until = None

    def wait(self) -> timedelta:
        """How long this caller has to wait; none for the one that may try."""
        with self._lock:
            if self._until is None:
                return NO_TIME
            now = self._clock()
            left = self._until - now
            if NO_TIME < left <= self._length:  # more than a pause is left only if the clock jumped back
                return left
            self._until = now + self._length
            return NO_TIME


class CircuitBreaker:
    """Hands SMS to *sender* until *failures* in a row were retryable or unknown, and then to nobody for a *pause*.

    After the pause one SMS goes through. Is it answered, all others follow; if not, there is another pause.
    """

    def __init__(self, sender: SmsSender, clock: Clock, *, failures: int = 5, pause: timedelta = PAUSE) -> None:
        self._sender = CheckedSms(sender)
        self._allowed_failures = failures
        self._pause = Pause(clock, pause)
        self._lock = ForkSafeLock()
        self._failures = 0

    def send(self, sms: Sms) -> SmsOutcome:
        if wait := self._pause.wait():
            return Paused("the provider is paused", wait)
        outcome = self._sender.send(sms)
        self._remember(outcome)
        return outcome

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:
        """As the provider says; it is asked during a pause as well, because to guess would be final."""
        return self._sender.look_up(sms)

    def _remember(self, outcome: SmsOutcome) -> None:
        if isinstance(outcome, Paused):  # by the sender itself: it was not called, so nothing is known
            return
        with self._lock:
            self._failures = self._failures + 1 if isinstance(outcome, Retryable | Unknown) else 0
            if self._failures >= self._allowed_failures:
                self._pause.begin()
            else:
                self._pause.end()
