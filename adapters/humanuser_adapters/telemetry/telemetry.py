"""Takes measurements, writes them to the log, and hands them to every exit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from humanuser import DomainError, SequenceConflict, StoreError
from humanuser_adapters.log_fields import log_of
from humanuser_adapters.telemetry.measurements import ERROR, OUTCOME, Counter, Gauge, Labels, Observation, Timed

log = log_of(__name__)

End = Callable[[float, Labels], None]
"""Told how many seconds the work took, and its labels."""

Read = Callable[[Gauge], Sequence[Observation]]
"""What a gauge shows now."""


class Exit(Protocol):
    """A way for measurements to leave."""

    def begin(self, timed: Timed, name: str) -> End:
        """The work *name*, of the kind *timed*, begins in this thread; what is given back is called when it ends."""

    def count(self, counter: Counter, labels: Labels, amount: int) -> None:
        """It happened *amount* times more."""

    def observe(self, read: Read) -> None:
        """Show of every gauge what *read* says, whenever somebody looks. Called once."""


class Telemetry:
    """The measurements of a process; without exits there is nobody to measure for."""

    def __init__(self, *exits: Exit) -> None:
        self._exits = exits
        self._sources: list[Read] = []
        for one in exits:
            one.observe(self._read)

    @contextmanager
    def measure(self, timed: Timed, name: str, labels: Labels) -> Iterator[dict[str, str]]:
        """Measure the block; its labels, to which it may add."""
        ends = [one.begin(timed, name) for one in self._exits]
        begin = time.perf_counter()
        known = {**labels, OUTCOME: "done"}
        try:
            yield known
        except BaseException as error:
            known[OUTCOME] = "refused" if isinstance(error, DomainError | SequenceConflict) else "failed"
            known[ERROR] = type(error).__name__
            raise
        finally:
            seconds = time.perf_counter() - begin
            if log.isEnabledFor(timed.level):
                _log(timed, name, seconds, known)
            for end in reversed(ends):
                end(seconds, known)

    def count(self, counter: Counter, labels: Labels, amount: int = 1) -> None:
        """Count what happened *amount* times."""
        for one in self._exits:
            one.count(counter, labels, amount)

    def watch(self, source: Read) -> None:
        """Have gauges show what *source* says as well. It may raise ``StoreError``, and is left out that time."""
        self._sources.append(source)

    def unwatch(self, source: Read) -> None:
        """Ask *source* no more. Does nothing if it is not asked."""
        with suppress(ValueError):
            self._sources.remove(source)

    def _read(self, gauge: Gauge) -> Sequence[Observation]:
        shown: list[Observation] = []
        for source in list(self._sources):
            with suppress(StoreError):
                shown += source(gauge)
        return shown


def _log(timed: Timed, name: str, seconds: float, labels: Labels) -> None:
    error = {"error_type": labels[ERROR]} if ERROR in labels else {}
    fields = {"operation": name, "outcome": labels[OUTCOME], "seconds": round(seconds, 6), **error}
    told = " ".join([labels[OUTCOME], *error.values()])
    log.log(timed.level, "%s: %s in %.6f s", name, told, seconds, extra=fields)
