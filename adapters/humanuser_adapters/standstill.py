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
        blocker = self._log.end().open
        if blocker is not None and (seconds := self._blocked(blocker)) > self._limit:
            found["log"] = f"for {seconds:.0f} s events from position {blocker.position} on wait for the {blocker}"
        for one in self._subscriptions:
            position = one.position()
            waiting = self._log.read_log(after=position, limit=1)
            if waiting and (seconds := self._seconds_at(one.name, position)) > self._limit:
                found[one.name] = f"has not moved from position {position} for {seconds:.0f} s"
        return found

    def blocked_seconds(self) -> float:
        """For how long events wait for an open transaction; 0 if there is none. Raises ``StoreUnavailable``."""
        blocker = self._log.end().open
        return 0 if blocker is None else self._blocked(blocker)

    def _blocked(self, blocker: OpenTransaction) -> float:
        """The age of the transaction, or for how long this process has seen it, where that is hidden or longer."""
        seen = self._seconds_at("log", blocker.position)
        return seen if blocker.age is None else max(seen, blocker.age.total_seconds())

    def _seconds_at(self, name: str, position: int) -> float:
        """Since when *name* has been seen to wait at *position*, which it never returns to."""
        now = self._monotonic()
        before, since = self._seen.get(name, (None, now))
        since = since if before == position else now
        self._seen[name] = (position, since)
        return now - since


__all__ = ["Standstill"]
