"""Whether rows from elsewhere are whole histories, and go on where the stored ones end."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from humanuser_adapters.event_row import EventRow, Line, Malformed, UserKey
from humanuser_adapters.replay.heads import Heads
from humanuser_adapters.replay.removals import is_removal_with_owner

MOST_EARLY = 100_000
"""How many rows may wait for their predecessors at once, and how many gaps are remembered that a late row may fill."""
ROWS_OF_FIRST_PUSH = 5
"""In what a ZITADEL stores when it adds a user, ``in_tx_order`` and sequence are the same, whatever counts them."""
BEGINNINGS = frozenset(
    {"user.human.added", "user.human.selfregistered", "user.added", "user.selfregistered", "user.machine.added"}
)
"""Events that a history begins with."""

ReadEvent = Callable[[str, str | None], object]
"""From a stored type and payload to the event. Raises ``ValueError``."""


class StoredRows(Protocol):
    """What is stored already."""

    def empty(self) -> bool:
        """Whether there is no event at all."""

    def stored_heads(self, users: Iterable[UserKey]) -> Mapping[UserKey, int]:
        """The last sequence of each of *users* that has one."""

    def removed_with_owner(self, heads: Mapping[UserKey, int]) -> Collection[UserKey]:
        """Users whose last event, at the sequence in *heads*, says that their organization or instance was removed."""

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


@dataclass(frozen=True, slots=True)
class _Gap:
    """Sequences of a user that have not come."""

    first: int
    last: int
    place: int
    """The line of the row after it."""
    allowed: bool
    """Whether it may stay."""


class HistoryCheck:
    """Looks at all lines, batch by batch, in their order.

    The rows of one user may come a little out of order: ZITADEL's positions are times at which transactions began, not
    the order in which they stored. Before ``events2``, ZITADEL numbered the events of a whole instance with one
    counter, so its older histories have gaps. These are allowed and counted; other gaps are missing events.
    """

    def __init__(self, stored: StoredRows, heads: Heads, read_event: ReadEvent) -> None:
        self.there_already = 0
        """How many rows are stored already, and are the same."""
        self.new_users = 0
        """Of how many users nothing is stored yet."""
        self.gaps = 0
        """How many gaps the old counter left."""
        self.after_removal = 0
        """How many rows come after the removal of their user's organization, and are passed over."""
        self.removed: set[UserKey] = set()
        """Whose rows these are."""
        self.out_of_order: defaultdict[UserKey, list[tuple[int, int]]] = defaultdict(list)
        """The first and last lines between which the rows of a user must be sorted by sequence."""
        self._stored = stored
        self._heads = heads
        self._read_event = read_event
        self._empty = stored.empty()
        self._gaps: dict[UserKey, list[_Gap]] = {}
        self._allowed: deque[UserKey] = deque()
        """Whose gaps are allowed, oldest first, once for each."""
        self._early: dict[UserKey, int] = {}
        """How many rows wait, of users of whom others are missing."""

    def problems(self, lines: Sequence[Line]) -> Iterator[Problem]:
        """What is wrong with the next *lines*."""
        rows = [(place, row, row.user) for place, row in lines if isinstance(row, EventRow)]
        users = {user for _, _, user in rows}
        self._heads.fetch(users)
        stored_heads = {} if self._empty else self._stored.stored_heads(users)
        removed = self._stored.removed_with_owner(stored_heads) if stored_heads else ()
        yield from (Problem(place, row.reason, row.user) for place, row in lines if isinstance(row, Malformed))
        there = []
        for place, row, user in rows:
            head = stored_heads.get(user, 0)
            if row.sequence <= head:
                there.append((place, row))
            elif removed and user in removed:
                yield from self._after_removal(place, row)
            elif reason := self._out_of_sequence(place, row, user, head) or self._unreadable(row):
                yield Problem(place, reason, user)
        if there:
            yield from self._different(there, removed)

    def missing(self) -> Iterator[Problem]:
        """Whose rows did not all come, now that there are no more lines."""
        for user, gaps in self._gaps.items():
            if gap := next((gap for gap in gaps if not gap.allowed), None):
                reason = f"sequence {gap.last + 1} comes after {gap.first - 1}, so events are missing"
                yield Problem(gap.place, reason, user)

    def new_among(self, users: Collection[UserKey]) -> int:
        """How many of *users* are counted as new."""
        self._heads.fetch(users)
        stored = self._stored.stored_heads(users)
        return sum(user in self._heads.recent and user not in stored for user in users)

    def _out_of_sequence(self, place: int, row: EventRow, user: UserKey, head: int) -> str:
        sequence, last = row.sequence, self._heads.recent.get(user, head)
        if sequence <= last:
            return self._late(place, row)
        self._heads.recent[user] = sequence
        if not last:
            self.new_users += 1
        if sequence > last + 1:
            self._open(user, _Gap(last + 1, sequence - 1, place, allowed=_may_follow_gap(row, last)))
        if self._early and user in self._early:
            self._early[user] += 1
            if sum(self._early.values()) > MOST_EARLY:
                return (
                    f"sequence {sequence} comes after {last}; too many rows are out of order, so sort them by position"
                )
        return ""

    def _open(self, user: UserKey, gap: _Gap) -> None:
        self._gaps.setdefault(user, []).append(gap)
        if not gap.allowed:
            self._early.setdefault(user, 0)
            return
        self.gaps += 1
        self._allowed.append(user)
        if len(self._allowed) > MOST_EARLY:
            self._forget_gap(self._allowed.popleft())

    def _forget_gap(self, user: UserKey) -> None:
        """Forget the oldest allowed gap of *user*: no row will fill it."""
        gaps = self._gaps.get(user, [])
        if oldest := next((gap for gap in gaps if gap.allowed), None):
            gaps.remove(oldest)
        if not gaps:
            self._gaps.pop(user, None)

    def _late(self, place: int, row: EventRow) -> str:
        """Fill the gap that *row* belongs into."""
        user, sequence = row.user, row.sequence
        gaps = self._gaps.pop(user, [])
        gap = next((gap for gap in gaps if gap.first <= sequence <= gap.last), None)
        rest = [other for other in gaps if other is not gap]
        if gap is not None:
            self.gaps -= gap.allowed
            self._sort_between(user, gap.place, place)
        if rest:
            self._gaps[user] = rest
        if gap is None:
            return f"sequence {sequence} is there twice"
        if gap.first < sequence:
            self._open(user, _Gap(gap.first, sequence - 1, gap.place, allowed=_may_follow_gap(row, gap.first - 1)))
        if sequence < gap.last:
            self._open(user, _Gap(sequence + 1, gap.last, gap.place, allowed=gap.allowed))
        if all(other.allowed for other in self._gaps.get(user, ())):
            self._early.pop(user, None)
        return ""

    def _sort_between(self, user: UserKey, first: int, last: int) -> None:
        spans = self.out_of_order[user]
        while spans and spans[-1][1] >= first:
            first = min(first, spans.pop()[0])
        spans.append((first, last))

    def _after_removal(self, place: int, row: EventRow) -> Iterator[Problem]:
        if row.event_type in BEGINNINGS:
            yield Problem(place, "the user is added again after the removal of the organization", row.user)
            return
        self.after_removal += 1
        self.removed.add(row.user)

    def _unreadable(self, row: EventRow) -> str:
        try:
            self._read_event(row.event_type, row.payload_text)
        except ValueError as error:
            return str(error)
        return ""

    def _different(self, rows: Sequence[tuple[int, EventRow]], removed: Collection[UserKey]) -> Iterator[Problem]:
        """Those of *rows* in whose places something else is stored, or nothing though the history goes on."""
        stored = self._stored.stored(row for _, row in rows)
        for place, row in rows:
            there = stored.get((row.user, row.sequence))
            if there is None:
                yield Problem(
                    place, f"sequence {row.sequence} is missing in the stored history, which goes on", row.user
                )
            elif _contents(there) == _contents(row):
                self.there_already += 1
            elif row.user in removed and is_removal_with_owner(there):
                yield from self._after_removal(place, row)
            else:
                yield Problem(place, f"sequence {row.sequence} is stored already, with other contents", row.user)


def contradicts(row: EventRow, stored: Mapping[tuple[UserKey, int], EventRow]) -> bool:
    """Whether something else than *row*, or nothing, is in its place, of what is *stored*."""
    there = stored.get((row.user, row.sequence))
    return there is None or _contents(there) != _contents(row)


def _may_follow_gap(row: EventRow, last: int) -> bool:
    """Whether the sequence of *row* is of the counter that ZITADEL had for a whole instance before ``events2``.

    Its migration kept that number in ``in_tx_order``, too, which otherwise counts the events of one push.
    """
    if row.in_tx_order < row.sequence:
        return False
    return row.sequence > ROWS_OF_FIRST_PUSH if last else row.event_type in BEGINNINGS


def _contents(row: EventRow) -> tuple[object, ...]:
    return (row.event_type, row.revision, row.created_at, row.payload_text, row.creator, row.owner)
