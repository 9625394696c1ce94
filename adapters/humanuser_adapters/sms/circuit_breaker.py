"""Leaves a provider alone that does not work at the moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from humanuser import Accepted, Clock, Retryable, Sms, SmsOutcome, SmsSender, Unknown
from humanuser_adapters.forks import ForkSafeLock

NO_TIME = timedelta(0)


@dataclass(frozen=True, slots=True)
class Paused(Retryable):
    """The provider was not called, because it did not work for others; so nothing of this SMS has left."""


class CircuitBreaker:
    """Hands SMS to *sender* until *failures* in a row were retryable or unknown, and then to nobody for a *pause*.

    After the pause one SMS goes through. Is it answered, all others follow; if not, there is another pause.
    """

    def __init__(
        self, sender: SmsSender, clock: Clock, *, failures: int = 5, pause: timedelta = timedelta(seconds=30)
    ) -> None:
        self._sender = sender
        self._clock = clock
        self._allowed_failures = failures
        self._pause = pause
        self._lock = ForkSafeLock()
        self._failures = 0
        self._paused_until = datetime.min.replace(tzinfo=UTC)

    def send(self, sms: Sms) -> SmsOutcome:
        if wait := self._wait():
            return Paused("the provider is paused", wait)
        outcome = self._sender.send(sms)
        self._remember(outcome)
        return outcome

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:
        """As the provider says; it is asked during a pause as well, because to guess would be final."""
        return self._sender.look_up(sms)

    def _wait(self) -> timedelta:
        """How long this SMS has to wait; none, and the pause begins anew for all others, if it is the one to try."""
        with self._lock:
            now = self._clock()
            left = self._paused_until - now
            if self._failures < self._allowed_failures:
                return NO_TIME
            if NO_TIME < left <= self._pause:  # more than a pause is left only if the clock jumped back
                return left
            self._paused_until = now + self._pause
            return NO_TIME

    def _remember(self, outcome: SmsOutcome) -> None:
        with self._lock:
            if not isinstance(outcome, Retryable | Unknown):
                self._failures = 0
                return
            self._failures += 1
            if self._failures >= self._allowed_failures:
                self._paused_until = self._clock() + self._pause
