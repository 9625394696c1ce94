"""What is still to be done in the background, and for how long already, as operators watch it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from humanuser import Clock, Recorded
from humanuser_adapters.event_log import EventLog
from humanuser_adapters.outbox import OPEN, WAITING, Outbox
from humanuser_adapters.standstill import Standstill
from humanuser_adapters.subscription import Subscription
from humanuser_adapters.telemetry import Gauge, Labels, Observation
from humanuser_adapters.telemetry.measurements import (
    CLOCK_SKEW,
    DELAY,
    INSTANCE,
    LAG,
    OPEN_AGE,
    OUTBOX_AGE,
    OUTBOX_SIZE,
    PARKED,
    STATE,
    SUBSCRIPTION,
)


class Backlog:
    """The work of subscriptions and of the outbox, for one instance."""

    def __init__(
        self,
        instance_id: str,
        subscriptions: Sequence[Subscription],
        outbox: Outbox,
        log: EventLog,
        clock: Clock,
        standstill: Standstill,
        clock_skew: Callable[[], timedelta],
    ) -> None:
        self._instance_id = instance_id
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._log = log
        self._clock = clock
        self._standstill = standstill
        self._values: dict[Gauge, Callable[[], Iterator[tuple[float, Labels]]]] = {
            LAG: lambda: self._of_each(lambda one: one.lag().positions),
            DELAY: lambda: self._of_each(lambda one: self._seconds_since(one.lag().oldest)),
            PARKED: lambda: self._of_each(lambda one: len(one.parked())),
            OPEN_AGE: self._open_age,
            OUTBOX_SIZE: self._outbox_size,
            OUTBOX_AGE: self._outbox_age,
            CLOCK_SKEW: lambda: iter([(clock_skew().total_seconds(), {})]),
        }

    def read(self, gauge: Gauge) -> Sequence[Observation]:
        """What *gauge* shows now. Raises ``StoreUnavailable``."""
        instance = {INSTANCE: self._instance_id}
        return [Observation(value, {**instance, **labels}) for value, labels in self._values[gauge]()]

    def _of_each(self, value: Callable[[Subscription], float]) -> Iterator[tuple[float, Labels]]:
        for one in self._subscriptions:
            yield value(one), {SUBSCRIPTION: one.name}

    def _open_age(self) -> Iterator[tuple[float, Labels]]:
        yield self._standstill.blocked_seconds(), {}

    def _outbox_size(self) -> Iterator[tuple[float, Labels]]:
        sms = self._outbox.open(self._instance_id)
        for state in OPEN:
            yield sms[state].count if state in sms else 0, {STATE: state.value}

    def _outbox_age(self) -> Iterator[tuple[float, Labels]]:
        sms = self._outbox.open(self._instance_id)
        oldest = min((sms[state].oldest for state in WAITING if state in sms), default=None)
        yield self._seconds_since(None if oldest is None else self._stored_at(oldest)), {}

    def _stored_at(self, position: int) -> datetime | None:
        """When the event at *position* was stored; None: it can no longer be read."""
        entries = self._log.read_log(after=position - 1, limit=1, until=position)
        return entries[0].created_at if entries and isinstance(entries[0], Recorded) else None

    def _seconds_since(self, moment: datetime | None) -> float:
        """None, which is what there is nothing of, is 0 seconds ago."""
        return 0 if moment is None else max((self._clock() - moment).total_seconds(), 0)
