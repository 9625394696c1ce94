"""R15: writers do not wait for each other, as they do with the ``eventsourcing`` library's lock on its whole table."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.postgresql_appends import measured, times_as_many

from reliability.proof import Effort, Figure, Proof, at_least

CONNECTIONS = 32
TIMES = 4


def run(effort: Effort) -> Iterator[Figure]:
    """Append by the library's statements and by ours, in turns."""
    for _, rates in measured([CONNECTIONS], effort.of(3, quick=1), effort.of(4, quick=2)):
        yield Figure("appends a second by the library's statements", round(statistics.median(rates["library"])))
        yield Figure("the same, sent together", round(statistics.median(rates["together"])))
        yield Figure("appends a second by ours", round(statistics.median(rates["ours"])))
        times = at_least(TIMES, "times the library's", round(times_as_many(rates, "library"), 1))
        yield replace(times, wanted="", holds=True) if effort.quick else times  # speed is not judged in passing


APPENDS = Proof("R15", f"{CONNECTIONS} connections append {TIMES} times as much as the library's lock lets them", run)
