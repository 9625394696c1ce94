"""Whether rows from elsewhere are whole histories, and go on where the stored ones end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from humanuser_adapters.event_row import EventRow, Line, Malformed, UserKey
from humanuser_adapters.replay.heads import Heads

MOST_EARLY = 100_000
"""How many rows may wait for their predecessors at once."""

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
    """Looks at all lines, batch by batch, in their order.

    The rows of one user may come a little out of order: ZITADEL's positions are times at which transactions began, not
    the order in which they stored.
    """

    def __init__(self, stored: StoredRows, heads: Heads, read_event: ReadEvent) -> None:
        self.there_already = 0
        """How many rows are stored already, and are the same."""
        self.out_of_order: set[UserKey] = set()
        """Users whose rows do not come in order."""
        self._stored = stored
        self._heads = heads
        self._read_event = read_event
        self._empty = stored.empty()
        self._early: dict[UserKey, dict[int, int]] = {}
        """By sequence, the lines of rows whose predecessors have not come yet."""

    def problems(self, lines: Sequence[Line]) -> Iterator[Problem]:
        """What is wrong with the next *lines*."""
        rows = [(place, row, row.user) for place, row in lines if isinstance(row, EventRow)]
        users = {user for _, _, user in rows}
        self._heads.fetch(users)
        stored_heads = {} if self._empty else self._stored.stored_heads(users)
        yield from (Problem(place, row.reason, row.user) for place, row in lines if isinstance(row, Malformed))
        there = []
        for place, row, user in rows:
            head = stored_heads.get(user, 0)
            if row.sequence <= head:
                there.append((place, row))
            elif reason := self._twice_or_too_early(place, user, row.sequence, head) or self._unreadable(row):
                yield Problem(place, reason, user)
        if there:
            yield from self._different(there)

    def missing(self) -> Iterator[Problem]:
        """Whose rows did not all come, now that there are no more lines."""
        for user, early in self._early.items():
            self._heads.fetch([user])
            sequence, place = min(early.items())
            last = self._heads.recent.get(user) or self._stored.stored_heads([user]).get(user, 0)
            yield Problem(place, f"sequence {sequence} comes after {last}, so events are missing", user)

    def _twice_or_too_early(self, place: int, user: UserKey, sequence: int, head: int) -> str:
        last = self._heads.recent.get(user, head)
        if sequence == last + 1:
            self._heads.recent[user] = sequence
            if self._early and user in self._early:
                self._go_on(user)
            return ""
        early = self._early.get(user, {})
        if sequence <= last or sequence in early:
            return f"sequence {sequence} is there twice"
        if sum(map(len, self._early.values())) >= MOST_EARLY:
            return f"sequence {sequence} comes after {last}; too many rows are out of order, so sort them by position"
        self._early[user] = {**early, sequence: place}
        self.out_of_order.add(user)
        return ""

    def _go_on(self, user: UserKey) -> None:
        """With the rows that came before their time."""
        early = self._early[user]
        while early.pop(self._heads.recent[user] + 1, None):
            self._heads.recent[user] += 1
        if not early:
            del self._early[user]

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
            if contradicts(row, stored):
                yield Problem(place, f"sequence {row.sequence} is stored already, with other contents", row.user)
            else:
                self.there_already += 1


def contradicts(row: EventRow, stored: Mapping[tuple[UserKey, int], EventRow]) -> bool:
    """Whether something else than *row* is in its place, of what is *stored*."""
    there = stored.get((row.user, row.sequence))
    return there is not None and _told(there) != _told(row)


def _told(row: EventRow) -> tuple[object, ...]:
    return (row.event_type, row.revision, row.created_at, row.payload_text, row.creator, row.owner)
