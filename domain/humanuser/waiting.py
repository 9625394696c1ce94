"""How long to wait until a limit on codes allows another one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

Stretch = tuple[timedelta, timedelta]
"""A time during which another code is refused: its begin and its end, both exclusive, counted from now."""

NOW = timedelta(0)


def refused_stretches(asked_at: Iterable[datetime], count: int, within: timedelta, *, now: datetime) -> list[Stretch]:
    """When *count* of the codes *asked_at* are less than *within* away.

    Codes ahead of the clock count like those before it: a clock that jumped back put them there. So a wait that is over
    may meet them, and the next stretch.
    """
    away = sorted(asked - now for asked in asked_at)
    return [
        (last - within, first + within)
        for first, last in zip(away, away[count - 1 :], strict=False)
        if last - within < first + within
    ]


def time_to_wait(stretches: Sequence[Stretch]) -> timedelta:
    """How long until the first moment outside of all *stretches*; zero if now is one."""
    moment = NOW
    while ends := [end for begin, end in stretches if begin < moment < end]:
        moment = max(ends)
    return moment
