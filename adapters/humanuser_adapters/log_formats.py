"""Records of the log as lines: for people, and as JSON for programs."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

WHO = ("request_id", "caller_id", "user_id")
"""Fields that say whom a record is about."""
WHAT = ("message_id", "method", "operation", "outcome", "error_type", "seconds")
"""Fields that say once more what its message says."""


class JsonLines(logging.Formatter):
    """A line of JSON; of a record's fields it has those that are ours, for nobody knows what others put there."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields_of(record, WHO + WHAT),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """A line for people, with whom it is about in the end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's
        who = (f"{name}={_word(str(value))}" for name, value in _fields_of(record, WHO).items())
        return " ".join([super().formatMessage(record), *who])


def _fields_of(record: logging.LogRecord, names: Sequence[str]) -> Mapping[str, object]:
    return {name: getattr(record, name) for name in names if hasattr(record, name)}


def _word(value: str) -> str:
    """*value* as one word, of which nobody can make another line or another field."""
    return value if re.fullmatch(r"[\w.:-]+", value, re.ASCII) else json.dumps(value)


__all__ = ["JsonLines", "TextLines"]
