"""How long an answer asks to wait, and times as HTTP and mail write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST_WAIT = timedelta(hours=1)
"""No code lives long enough to wait for more."""


def read_retry_after(header: str, now: datetime) -> timedelta | None:
    """The wait that a ``Retry-After`` of seconds or of a date asks for; None: it asks for none."""
    if re.fullmatch(r"[0-9]{1,9}", header):
        return min(timedelta(seconds=int(header)), LONGEST_WAIT)
    until = read_date(header)
    return None if until is None else min(max(until - now, timedelta(0)), LONGEST_WAIT)


def read_date(text: str) -> datetime | None:
    """The time that an HTTP date or one of RFC 2822 says, aware; None: it says none."""
    try:
        read = parsedate_to_datetime(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, IndexError, OverflowError):  # the library's parser raises all of these
        return None
