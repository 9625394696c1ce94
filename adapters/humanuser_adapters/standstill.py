"""Notices when events wait for too long: behind an open transaction, or for a subscription that does not move."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from humanuser_adapters.event_log import EventLog, OpenTransaction
from humanuser_adapters.subscription import Subscription

LIMIT = timedelta(seconds=60)


class Standstill:
    """What has not moved for longer than a limit, although there is something to do.

    Measured from when this process first saw it, so that imported events, which may be years old, count as new.
    """

    def __init__(
        self,
        log: EventLog,
        subscriptions: Sequence[Subscription],
        *,
        limit: timedelta = LIMIT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._subscriptions = subscriptions
        self._limit = limit.total_seconds()
        self._monotonic = monotonic
        self._seen: dict[str, tuple[int, float]] = {}

    def problems(self) -> dict[str, str]:
        """What stands still for too long, by part; empty: nothing does. Raises ``StoreUnavailable``."""
        found: dict[str, str] = {}
        if (seconds := self._seconds_blocked(blocker := self._log.end().open)) > self._limit:
            found["log"] = (
                f"for {seconds:.0f} s all events after position {self._seen['log'][0]} wait for the {blocker}"
            )
        for one in self._subscriptions:
            position = one.position()
            waiting = bool(self._log.read_log(after=position, limit=1))
            if (seconds := self._seconds_at(one.name, position if waiting else None)) > self._limit:
                found[one.name] = f"has not moved from position {position} for {seconds:.0f} s"
        return found

    def _seconds_blocked(self, blocker: OpenTransaction | None) -> float:
        if blocker is None:
            return self._seconds_at("log", None)
        began = 0 if blocker.age is None else blocker.age.total_seconds()
        return max(self._seconds_at("log", blocker.position - 1), began)

    def _seconds_at(self, name: str, position: int | None) -> float:
        """For how long *name* has stood at *position*; None: it does not wait there."""
        if position is None:
            self._seen.pop(name, None)
            return 0
        now = self._monotonic()
        if self._seen.get(name, (None,))[0] != position:
            self._seen[name] = (position, now)
        return now - self._seen[name][1]


__all__ = ["Standstill"]
