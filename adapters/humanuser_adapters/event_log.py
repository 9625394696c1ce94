"""The log of all events, as a subscription reads it: an entry that cannot be read is told, and does not end the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTransaction:
    """The oldest transaction that may still store events at positions before those of committed events."""

    position: int
    """The first position that it may still store. Readers wait there."""
    age: timedelta | None
    """How long ago it began. None: this database role may not see it."""
    process_id: int | None
    """Of the server process that runs it. None: it is a prepared transaction."""
    name: str
    """The ``application_name`` of its connection, or the identifier of a prepared transaction; may be empty."""

    def __str__(self) -> str:
        if self.process_id is None:
            return f"prepared transaction {self.name!r}"
        return f"transaction of server process {self.process_id} (application_name {self.name!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnd:
    """Where the log ends, with what readers cannot see yet."""

    position: int
    """The last position given to a writer, whether it has committed or not; 0 if there is none."""
    open: OpenTransaction | None = None
    """The transaction that readers wait for. None: they wait for nobody."""


class EventLog(Protocol):
    """Everything that was stored."""

    def read_log(self, *, after: int, limit: int, until: int | None = None) -> Sequence[Entry]:
        """The next *limit* entries after the position *after*, in position order. Raises ``StoreUnavailable``.

        Without *until*, up to the last position before which no entry can be stored any more. With it, all entries
        up to that position that are committed: pass a ``head`` to miss none.
        """

    def head(self) -> int:
        """The last position before which no entry can be stored any more; 0 if there is no entry.

        Raises ``StoreUnavailable``.
        """

    def end(self) -> LogEnd:
        """Where the log ends, including what is not committed yet. Raises ``StoreUnavailable``."""


Place = tuple[str, str, int]
"""Instance id, user id and sequence of an event."""

BEGINNING: Place = ("", "", 0)


class HistoryLog(EventLog, Protocol):
    """The same, user by user as well."""

    def read_histories(self, *, after: Place, until: int, limit: int) -> tuple[Sequence[Entry], Place]:
        """The next *limit* entries behind the place *after*, user by user in sequence order; and the last one's place.

        Only those up to the position *until*. Raises ``StoreUnavailable``.
        """


__all__ = ["Entry", "EventLog", "LogEnd", "OpenTransaction", "Unreadable"]
