"""Brings in events from elsewhere: every user's history whole, or nothing of it.

All lines are looked at before the first one is stored, so rows are read twice. They are stored in batches, each
in one transaction with the number of its last line, so a run that was killed goes on where it was.
"""

from __future__ import annotations

import copyreg
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol

from humanuser_adapters.database import Connection, Database, RowsClash, text_of_time
from humanuser_adapters.event_row import EventRow, EventSource, Line, Malformed, UserKey
from humanuser_adapters.replay.check import HistoryCheck, Problem, ReadEvent, StoredRows, contradicts
from humanuser_adapters.replay.heads import Heads
from humanuser_adapters.replay.removals import LivingUser, Removals, removes_users

LINES_A_BATCH = 20_000
CHECKED_AT_ONCE = 1000
PROBLEMS_KEPT = 20
OF_UNKNOWN = (
    "\nthese lines may belong to any user, so they cannot be put aside: repair them, or delete them from the file"
)

SCHEMA = (
    (
        """
        CREATE TABLE humanuser_imports (
            identity TEXT PRIMARY KEY, name TEXT NOT NULL, line BIGINT NOT NULL, changed_at {time} NOT NULL
        )
        """,
    ),
)

Told = Callable[[str, int], None]
"""Told which step is at work, and how many more lines it is through with."""


class ImportedRows(StoredRows, Protocol):
    """Where rows go."""

    def takes(self, row: EventRow) -> bool:
        """Whether *row* is to be stored at all."""

    def heads(self, connection: Connection, users: Iterable[UserKey]) -> Mapping[UserKey, int]:
        """The last sequence of each of *users* that has one."""

    def living(self, connection: Connection, instance_id: str, organizations: Collection[str]) -> Iterable[LivingUser]:
        """The users of *organizations* (an empty one: of all) who were added and not removed."""

    def insert(self, connection: Connection, rows: Sequence[EventRow]) -> None:
        """Store *rows* in the transaction at hand. Raises ``RowsClash``."""


class ImportRefused(ValueError):
    """Some histories are not in order. Nothing was stored."""

    def __init__(self, name: str, problems: Sequence[Problem], count: int, advice: str = "") -> None:
        more = "" if count == len(problems) else f"\n… and {count - len(problems)} more"
        super().__init__(f"nothing was stored of {name}:\n" + "\n".join(map(str, problems)) + more + advice)
        self.problems = problems
        """The first ones."""
        self.count = count
        """How many histories, and lines that nobody's are, are not in order."""

    def __reduce__(self) -> tuple[Any, ...]:  # Any: as the pickle protocol has it
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # not in its stub


class ChangedMeanwhile(ValueError):
    """Somebody else stored events of the same users. What is stored of them is in order; run it again to see."""

    def __init__(self, name: str) -> None:
        super().__init__(f"while {name} was brought in, somebody else stored events of its users; run it again")

    def __reduce__(self) -> tuple[Any, ...]:  # Any: as the pickle protocol has it
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # not in its stub


@dataclass(slots=True)
class ImportSummary:
    """What came of it, in rows if nothing else is said."""

    stored: int = 0
    new_users: int = 0
    there_already: int = 0
    put_aside: int = 0
    of_others: int = 0
    """About something that is no user; passed over."""
    gaps: int = 0
    """How often sequences are skipped in histories older than ``events2``: one counter numbered a whole instance."""
    removed_users: int = 0
    """Users who got a ``user.removed`` because their organization or instance was removed."""
    after_removal: int = 0
    """Rows that came later about such users; passed over."""

    def and_then(self, other: ImportSummary) -> ImportSummary:
        """What came of both."""
        return ImportSummary(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


@dataclass(slots=True)
class _Bad:
    """The histories that are not in order."""

    users: set[UserKey] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    count: int = 0
    unknown: list[Problem] = field(default_factory=list)
    """The first lines of users who cannot be told."""
    unknown_count: int = 0

    def add(self, problem: Problem) -> None:
        """Keep the first problem of each user."""
        if problem.user is not None and problem.user in self.users:
            return
        if problem.user is not None:
            self.users.add(problem.user)
        else:
            self.unknown_count += 1
            if len(self.unknown) < PROBLEMS_KEPT:
                self.unknown.append(problem)
        self.count += 1
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)


@dataclass(frozen=True, slots=True)
class _Checked:
    """What was found when all lines were looked at."""

    bad: _Bad
    out_of_order: Mapping[UserKey, Sequence[tuple[int, int]]]
    removed: Collection[UserKey]
    """Whose rows are passed over, because the organization was removed earlier."""
    removals: Sequence[EventRow]
    first_removal: float
    """The line of the first one."""


class _OutOfOrder:
    """Rows that wait until all those that come too late for their sequence are there."""

    def __init__(self, spans: Mapping[UserKey, Sequence[tuple[int, int]]]) -> None:
        """*spans* are the first and last lines between which a user's rows wait."""
        self._spans = {user: deque(of_user) for user, of_user in spans.items()}
        self._waiting: dict[UserKey, list[tuple[int, EventRow]]] = {}

    def in_order(self, place: int, row: EventRow) -> Sequence[EventRow]:
        """The rows that can be stored now that *row* is there."""
        spans = self._spans.get(row.user) if self._spans else None
        if spans is None:
            return (row,)
        before = self._sorted(row.user) if spans and spans[0][1] < place else []
        while spans and spans[0][1] < place:
            spans.popleft()
        if spans and spans[0][0] <= place:
            self._waiting.setdefault(row.user, []).append((place, row))
            return before
        return [*before, row]

    def complete(self, place: int) -> Iterator[EventRow]:
        """The rows that can be stored now that every line up to *place* is there."""
        for user in list(self._waiting):
            if self._spans[user][0][1] <= place:
                self._spans[user].popleft()
                yield from self._sorted(user)

    def first_place(self) -> float:
        """The first line that waits."""
        return min((place for waiting in self._waiting.values() for place, _ in waiting), default=float("inf"))

    def _sorted(self, user: UserKey) -> list[EventRow]:
        return sorted((row for _, row in self._waiting.pop(user, [])), key=lambda row: row.sequence)


class Importer:
    """Brings rows into a database."""

    def __init__(self, database: Database, rows: ImportedRows, read_event: ReadEvent) -> None:
        self._database = database
        self._rows = rows
        self._read_event = read_event
        database.migrate("imports", SCHEMA)

    def run(  # noqa: C901 - one loop, and the ways out of it
        self,
        source: EventSource,
        *,
        put_aside: Callable[[EventRow | Malformed], None] | None = None,
        told: Told = lambda _, __: None,
    ) -> ImportSummary:
        """Store what is in *source* and not stored yet.

        *put_aside* is given every row of a user whose history is not in order; without it such a user refuses all.
        A line whose user cannot be told refuses all in any case: a history would lack it.
        Raises ``ImportRefused``, ``ChangedMeanwhile``, ``StoreUnavailable``, ``OSError``.
        """
        summary = ImportSummary()
        identity = source.identity()
        stored_up_to = self._reached(identity)
        checked = self._check(source, stored_up_to if source.grows else 0, summary, told)
        bad, removals = checked.bad, checked.removals
        if bad.count and put_aside is None:
            raise ImportRefused(source.name, bad.problems, bad.count)
        if bad.unknown_count:
            raise ImportRefused(source.name, bad.unknown, bad.unknown_count, OF_UNKNOWN)
        empty = self._rows.empty()
        out_of_order = _OutOfOrder(
            {user: spans for user, spans in checked.out_of_order.items() if user not in bad.users}
        )
        all_again = put_aside is not None and not source.grows
        last = stored_up_to
        for batch in _batches(source.lines(after=0 if all_again else stored_up_to), LINES_A_BATCH):
            rows: list[EventRow] = []
            for place, content in batch:
                if isinstance(content, Malformed) or (bad.users and content.user in bad.users):
                    summary.put_aside += 1
                    if put_aside is not None:
                        put_aside(content)
                elif place > stored_up_to and self._rows.takes(content):
                    if checked.removed and content.user in checked.removed:
                        continue
                    rows += out_of_order.in_order(place, content)
            rows += out_of_order.complete(batch[-1].place)
            if batch[-1].place > stored_up_to:
                last = batch[-1].place
                reached = min(last, out_of_order.first_place() - 1, checked.first_removal - 1)
                self._store(source, identity, int(reached), rows, summary, empty=empty)
            told("storing", len(batch))
        if removals:
            self._remove_users(source, identity, last, removals, bad, summary)
        return summary

    def _check(self, source: EventSource, after: int, summary: ImportSummary, told: Told) -> _Checked:
        bad = _Bad()
        removals: list[EventRow] = []
        first_removal = float("inf")
        with Heads() as heads:
            check = HistoryCheck(self._rows, heads, self._read_event)
            for batch in _batches(source.lines(after=after), CHECKED_AT_ONCE):
                ours = [one for one in batch if isinstance(one.content, Malformed) or self._rows.takes(one.content)]
                if len(ours) < len(batch):
                    removing = [
                        (place, row) for place, row in batch if isinstance(row, EventRow) and removes_users(row)
                    ]
                    removals += (row for _, row in removing)
                    first_removal = min(first_removal, *(place for place, _ in removing), float("inf"))
                    summary.of_others += len(batch) - len(ours) - len(removing)
                for problem in check.problems(ours):
                    bad.add(problem)
                told("checking", len(batch))
            for problem in check.missing():
                bad.add(problem)
            summary.there_already = check.there_already
            summary.gaps = check.gaps
            summary.after_removal = check.after_removal
            summary.new_users = check.new_users - (check.new_among(bad.users) if bad.users else 0)
        return _Checked(bad, check.out_of_order, check.removed, removals, first_removal)

    def _remove_users(
        self,
        source: EventSource,
        identity: str,
        line: int,
        removals: Sequence[EventRow],
        bad: _Bad,
        summary: ImportSummary,
    ) -> None:
        """End the users of what was removed, now that all rows about them are stored."""
        removed = Removals(removals)
        try:
            with self._database.write() as connection:
                living = (
                    one
                    for instance_id, organizations in removed.organizations().items()
                    for one in self._rows.living(connection, instance_id, organizations)
                    if one.user not in bad.users
                )
                rows = list(removed.rows_for(living))
                if rows:
                    self._rows.insert(connection, rows)
                self._remember(connection, source, identity, line)
        except RowsClash as error:
            raise ChangedMeanwhile(source.name) from error
        summary.removed_users += len(rows)

    def _store(
        self,
        source: EventSource,
        identity: str,
        line: int,
        rows: Sequence[EventRow],
        summary: ImportSummary,
        *,
        empty: bool,
    ) -> None:
        try:
            with self._database.write() as connection:
                if not empty:
                    rows = self._not_there(connection, rows)
                if rows:
                    self._rows.insert(connection, rows)
                self._remember(connection, source, identity, line)
        except RowsClash as error:
            raise ChangedMeanwhile(source.name) from error
        summary.stored += len(rows)

    def _remember(self, connection: Connection, source: EventSource, identity: str, line: int) -> None:
        connection.execute(
            "INSERT INTO humanuser_imports VALUES (?, ?, ?, ?) "
            "ON CONFLICT (identity) DO UPDATE SET line = excluded.line, changed_at = excluded.changed_at",
            (identity, source.name, line, text_of_time(datetime.now(UTC))),
        )

    def _not_there(self, connection: Connection, rows: Sequence[EventRow]) -> Sequence[EventRow]:
        """Those of *rows* that are not stored, be it since they were looked at. Raises ``RowsClash``."""
        heads = self._rows.heads(connection, {row.user for row in rows})
        there = [row for row in rows if row.sequence <= heads.get(row.user, 0)]
        stored = self._rows.stored(there)
        if any(contradicts(row, stored) for row in there):
            raise RowsClash
        return [row for row in rows if row.sequence > heads.get(row.user, 0)]

    def _reached(self, identity: str) -> int:
        """Up to which line the source of that *identity* was stored before; 0: nothing of it."""
        query = "SELECT line FROM humanuser_imports WHERE identity = ?"
        with self._database.read() as connection:
            row = connection.execute(query, (identity,)).fetchone()
        return row[0] if row else 0


def _batches(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    """The *lines* in batches of *size*, or a little more: what has one place stays together."""
    following = iter(lines)
    first = next(following, None)
    while first is not None:
        batch = [first, *islice(following, size - 1)]
        first = next(following, None)
        while first is not None and first.place == batch[-1].place:
            batch.append(first)
            first = next(following, None)
        yield batch
