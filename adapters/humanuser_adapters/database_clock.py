"""The clock of the database: one time for all processes, whatever the clocks of their machines say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from humanuser import Clock, StoreError
from humanuser_adapters.database import Database
from humanuser_adapters.log_fields import log_of

log = log_of(__name__)

REFRESH_SECONDS = 5
"""How often the database is asked, at most; only while somebody asks for the time."""
SKEW_LIMIT = timedelta(seconds=5)
"""A machine whose clock differs by more is reported."""


def monotonic_seconds() -> float:
    """Seconds that only grow, whatever happens to the machine's wall clock; on Linux also while it is suspended."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class DatabaseClock:
    """Tells the time of *database* without asking it each time.

    It keeps the offset between the database's clock and the machine's monotonic clock, so a wall clock that is wrong or
    jumps does not matter. The offset is refreshed in the background; while the database is away, the last one holds.
    Raises ``StoreUnavailable`` if the first measurement fails.
    """

    def __init__(
        self, database: Database, machine_clock: Clock, *, monotonic: Callable[[], float] = monotonic_seconds
    ) -> None:
        """*machine_clock* is the wall clock whose skew is measured; the time does not depend on it."""
        self._database = database
        self._machine_clock = machine_clock
        self._monotonic = monotonic
        self._is_skewed = False
        earliest, latest = self._measure()
        self._zero = earliest + (latest - earliest) / 2  # the time of the database when the monotonic clock was 0
        self._refresh_at = self._monotonic() + REFRESH_SECONDS
        self._report_skew()

    def __call__(self) -> datetime:
        now = self._monotonic()
        if now >= self._refresh_at:
            self._refresh_at = now + REFRESH_SECONDS
            with suppress(RuntimeError):  # no thread can start: at the end of the process, or at its limit
                threading.Thread(target=self.refresh, name="humanuser-clock", daemon=True).start()
        return self._zero + timedelta(seconds=now)

    def refresh(self) -> None:
        """Measure the offset again; keep it if the database cannot be asked.

        It moves only as far as the measurement proves it wrong, so a slow answer does not make the time jump.
        """
        try:
            earliest, latest = self._measure()
        except StoreError:
            return
        self._zero = min(max(self._zero, earliest), latest)
        self._report_skew()

    def skew(self) -> timedelta:
        """How far the machine's clock is ahead of the database's; negative if it is behind."""
        return self._machine_clock() - self()

    def _measure(self) -> tuple[datetime, datetime]:
        """The bounds of the database's time when the monotonic clock was 0. Raises ``StoreUnavailable``."""
        with self._database.read() as connection:
            before = self._monotonic()
            now = self._database.now(connection)
            after = self._monotonic()
        return now - timedelta(seconds=after), now - timedelta(seconds=before)

    def _report_skew(self) -> None:
        """Log a warning once, until the clocks agree again."""
        skew = self._machine_clock() - (self._zero + timedelta(seconds=self._monotonic()))
        was_skewed, self._is_skewed = self._is_skewed, abs(skew) > SKEW_LIMIT
        if self._is_skewed and not was_skewed:
            direction = "ahead of" if skew > timedelta(0) else "behind"
            log.warning(
                "this machine's clock is %.1f s %s the database's; the database's is used",
                abs(skew.total_seconds()),
                direction,
            )
