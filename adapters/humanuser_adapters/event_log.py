"""The log of all events, as a subscription reads it: an entry that cannot be read is told, and does not end the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from humanuser import Recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A stored event that cannot be read."""

    position: int
    instance_id: str
    user_id: str
    reason: str
    """Names what is wrong, without what the event holds."""


Entry = Recorded | Unreadable
"""A stored event, whether it can be read or not."""


class EventLog(Protocol):
    """Everything that was stored."""

    def read_log(self, *, after: int, limit: int) -> Sequence[Entry]:
        """The next *limit* entries behind the position *after*, in position order. Raises ``StoreUnavailable``."""

    def head(self) -> int:
        """The position of the last entry; 0 if there is none. Raises ``StoreUnavailable``."""


Place = tuple[str, str, int]
"""Instance id, user id and sequence of an event."""

BEGINNING: Place = ("", "", 0)


class HistoryLog(EventLog, Protocol):
    """The same, user by user as well."""

    def read_histories(self, *, after: Place, until: int, limit: int) -> tuple[Sequence[Entry], Place]:
        """The next *limit* entries behind the place *after*, user by user in sequence order; and the last one's place.

        Only those up to the position *until*. Raises ``StoreUnavailable``.
        """


__all__ = ["Entry", "EventLog", "Unreadable"]
