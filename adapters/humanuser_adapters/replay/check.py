"""Whether rows from elsewhere are whole histories, and go on where the stored ones end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from humanuser_adapters.event_row import EventRow, Line, Malformed, UserKey
from humanuser_adapters.replay.heads import Heads

ReadEvent = Callable[[str, str | None], object]
"""From a stored type and payload to the event. Raises ``ValueError``."""


class StoredRows(Protocol):
    """What is stored already."""

    def empty(self) -> bool:
        """Whether there is no event at all."""

    def stored_heads(self, users: Iterable[UserKey]) -> Mapping[UserKey, int]:
        """The last sequence of each of *users* that has one."""

    def stored(self, rows: Iterable[EventRow]) -> Mapping[tuple[UserKey, int], EventRow]:
        """What is stored in the places, user and sequence, of *rows*."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a history cannot be brought in."""

    place: int
    """The number of the line."""
    reason: str
    user: UserKey | None
    """None: that cannot be told."""

    def __str__(self) -> str:
        whose = f"user {self.user.user_id!r}: " if self.user else ""
        return f"line {self.place}: {whose}{self.reason}"


class HistoryCheck:
    """Looks at all lines, batch by batch, in their order."""

    def __init__(self, stored: StoredRows, heads: Heads, read_event: ReadEvent) -> None:
        self.there_already = 0
        """How many rows are stored already, and are the same."""
        self._stored = stored
        self._heads = heads
        self._read_event = read_event
        self._empty = stored.empty()

    def problems(self, lines: Sequence[Line]) -> Iterator[Problem]:
        """What is wrong with the next *lines*."""
        rows = [(place, row) for place, row in lines if isinstance(row, EventRow)]
        users = {row.user for _, row in rows}
        self._heads.fetch(users)
        stored_heads = {} if self._empty else self._stored.stored_heads(users)
        yield from (Problem(place, row.reason, row.user) for place, row in lines if isinstance(row, Malformed))
        for place, row in rows:
            if reason := self._out_of_order(row, stored_heads) or self._unreadable(row):
                yield Problem(place, reason, row.user)
        if stored_heads:
            yield from self._different([one for one in rows if one[1].sequence <= stored_heads.get(one[1].user, 0)])

    def _out_of_order(self, row: EventRow, stored_heads: Mapping[UserKey, int]) -> str:
        user, sequence = row.user, row.sequence
        last = self._heads.recent.get(user)
        self._heads.recent[user] = sequence
        if last is None:
            last = min(stored_heads.get(user, 0), sequence - 1)
        if sequence == last + 1:
            return ""
        if sequence <= last:
            return f"sequence {sequence} comes after {last}, so it is there twice or the rows are not in order"
        return f"sequence {sequence} comes after {last}, so events are missing"

    def _unreadable(self, row: EventRow) -> str:
        try:
            self._read_event(row.event_type, row.payload_text)
        except ValueError as error:
            return str(error)
        return ""

    def _different(self, rows: Sequence[tuple[int, EventRow]]) -> Iterator[Problem]:
        """Those of *rows* in whose places something else is stored."""
        stored = self._stored.stored(row for _, row in rows)
        for place, row in rows:
            there = stored.get((row.user, row.sequence))
            if there is not None and _told(there) != _told(row):
                yield Problem(place, f"sequence {row.sequence} is stored already, with other contents", row.user)
            else:
                self.there_already += there is not None


def _told(row: EventRow) -> tuple[object, ...]:
    return (row.event_type, row.revision, row.created_at, row.payload_text, row.creator, row.owner)
