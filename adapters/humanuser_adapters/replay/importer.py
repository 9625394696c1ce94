"""Brings in events from elsewhere: every user's history whole, or nothing of it.

All lines are looked at before the first one is stored, so rows are read twice. They are stored in batches, each
in one transaction with the number of its last line, so a run that was killed goes on where it was.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol

from humanuser_adapters.database import Connection, Database, RowsClash, text_of_time
from humanuser_adapters.event_row import EventRow, EventSource, Line, Malformed, UserKey
from humanuser_adapters.replay.check import HistoryCheck, Problem, ReadEvent, StoredRows, contradicts
from humanuser_adapters.replay.heads import Heads

LINES_A_BATCH = 20_000
CHECKED_AT_ONCE = 1000
PROBLEMS_KEPT = 20

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

    def insert(self, connection: Connection, rows: Sequence[EventRow]) -> None:
        """Store *rows* in the transaction at hand. Raises ``RowsClash``."""


class ImportRefused(ValueError):
    """Some histories are not in order. Nothing was stored."""

    def __init__(self, name: str, problems: Sequence[Problem], count: int) -> None:
        more = "" if count == len(problems) else f"\n… and {count - len(problems)} more"
        super().__init__(f"nothing was stored of {name}:\n" + "\n".join(map(str, problems)) + more)
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

    def and_then(self, other: ImportSummary) -> ImportSummary:
        """What came of both."""
        return ImportSummary(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


@dataclass(slots=True)
class _Bad:
    """The histories that are not in order."""

    users: set[UserKey] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    count: int = 0

    def add(self, problem: Problem) -> None:
        """Keep the first problem of each user."""
        if problem.user is not None and problem.user in self.users:
            return
        if problem.user is not None:
            self.users.add(problem.user)
        self.count += 1
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)


class _Early:
    """Rows that wait for their predecessors, of the users whose rows do not come in order."""

    def __init__(self, users: set[UserKey], rows: ImportedRows) -> None:
        self._last = dict.fromkeys(users, 0) | dict(rows.stored_heads(users) if users else {})
        self._waiting: dict[UserKey, dict[int, tuple[int, EventRow]]] = {}

    def in_order(self, place: int, row: EventRow) -> Iterable[EventRow]:
        """The rows that can be stored now that *row* is there."""
        return self._following(place, row) if self._last and row.user in self._last else (row,)

    def first_place(self) -> float:
        """The first line that waits."""
        places = (place for waiting in self._waiting.values() for place, _ in waiting.values())
        return min(places, default=float("inf"))

    def _following(self, place: int, row: EventRow) -> Iterator[EventRow]:
        waiting = self._waiting.setdefault(row.user, {})
        waiting[row.sequence] = (place, row)
        while following := waiting.pop(self._last[row.user] + 1, None):
            self._last[row.user] += 1
            yield following[1]


class Importer:
    """Brings rows into a database."""

    def __init__(self, database: Database, rows: ImportedRows, read_event: ReadEvent) -> None:
        self._database = database
        self._rows = rows
        self._read_event = read_event
        database.migrate("imports", SCHEMA)

    def run(
        self,
        source: EventSource,
        *,
        put_aside: Callable[[EventRow | Malformed], None] | None = None,
        told: Told = lambda _, __: None,
    ) -> ImportSummary:
        """Store what is in *source* and not stored yet.

        *put_aside* is given every row of a user whose history is not in order; without it such a user refuses all.
        Raises ``ImportRefused``, ``ChangedMeanwhile``, ``StoreUnavailable``, ``OSError``.
        """
        summary = ImportSummary()
        identity = source.identity()
        stored_up_to = self._reached(identity)
        bad, out_of_order = self._check(source, stored_up_to if source.grows else 0, summary, told)
        if bad.count and put_aside is None:
            raise ImportRefused(source.name, bad.problems, bad.count)
        empty = self._rows.empty()
        early = _Early(out_of_order - bad.users, self._rows)
        all_again = put_aside is not None and not source.grows
        for batch in _batches(source.lines(after=0 if all_again else stored_up_to), LINES_A_BATCH):
            rows: list[EventRow] = []
            for place, content in batch:
                if isinstance(content, Malformed) or (bad.users and content.user in bad.users):
                    summary.put_aside += 1
                    if put_aside is not None:
                        put_aside(content)
                elif place > stored_up_to and self._rows.takes(content):
                    rows += early.in_order(place, content)
            reached = min(batch[-1].place, early.first_place() - 1)
            if batch[-1].place > stored_up_to:
                self._store(source, identity, int(reached), rows, summary, empty=empty)
            told("storing", len(batch))
        return summary

    def _check(self, source: EventSource, after: int, summary: ImportSummary, told: Told) -> tuple[_Bad, set[UserKey]]:
        bad = _Bad()
        with Heads() as heads:
            check = HistoryCheck(self._rows, heads, self._read_event)
            for batch in _batches(source.lines(after=after), CHECKED_AT_ONCE):
                ours = [one for one in batch if isinstance(one.content, Malformed) or self._rows.takes(one.content)]
                summary.of_others += len(batch) - len(ours)
                for problem in check.problems(ours):
                    bad.add(problem)
                told("checking", len(batch))
            for problem in check.missing():
                bad.add(problem)
            summary.there_already = check.there_already
        return bad, check.out_of_order

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
                connection.execute(
                    "INSERT INTO humanuser_imports VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (identity) DO UPDATE SET line = excluded.line, changed_at = excluded.changed_at",
                    (identity, source.name, line, text_of_time(datetime.now(UTC))),
                )
        except RowsClash as error:
            raise ChangedMeanwhile(source.name) from error
        summary.stored += len(rows)
        summary.new_users += sum(row.sequence == 1 for row in rows)

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
