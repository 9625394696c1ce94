"""Moments, as options of the command line name them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time

from humanuser_adapters.cli.session import Exit, fail


def moment_of(option: str, text: str | None, *, in_day: time) -> datetime | None:
    """The moment that *text* means: ISO 8601, in UTC unless it names a zone; of a day without a time *in_day*.

    None: nothing is given. What is no moment ends the command.
    """
    if text is None:
        return None
    with suppress(ValueError):
        return datetime.combine(date.fromisoformat(text), in_day, UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(Exit.USAGE, f"{option} {text!r} is no day or time, such as 2026-05-10 or 2026-05-10T12:00Z")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
