"""How far long work is: a bar with rate and time left on a terminal, a line now and then in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from humanuser_adapters.cli.session import err

SECONDS_A_LINE = 10
"""How often a pipe is told."""


class Steps:
    """Work that goes through one step after the other, each with a bar of its own."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._name = ""
        self._unit = "events"
        self._task: TaskID | None = None
        self._events = 0
        self._done = 0.0
        self._total: float | None = None
        self._began = self._told = time.monotonic()

    def step(self, name: str, total: float | None = None, *, unit: str = "events") -> bool:
        """Begin the step of that *name*; False: it is at work already. *total* is all that ``go`` counts."""
        if name == self._name:
            return False
        self.finish()
        self._name, self._total, self._events, self._done, self._unit = name, total, 0, 0, unit
        self._began = self._told = time.monotonic()
        if self._progress:
            self._task = self._progress.add_task(name, total=total, rate="")
        return True

    def go(self, events: int, done: float | None = None) -> None:
        """It is *events* further; *done* of the total, or just as many."""
        self._events += events
        self._done = self._events if done is None else done
        if self._progress and self._task is not None:
            self._progress.update(self._task, completed=self._done, rate=self._rate())
        elif time.monotonic() - self._told > SECONDS_A_LINE:
            self._tell()

    def finish(self) -> None:
        """The step at work is through."""
        if self._progress and self._task is not None:
            self._progress.update(self._task, total=self._done or 1, completed=self._done or 1)

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._began, 0.001)
        return f"{self._events:,} {self._unit}, {self._events / seconds:,.0f}/s"

    def _tell(self) -> None:
        self._told = time.monotonic()
        share = f"{self._done / self._total:.0%}, " if self._total else ""
        err.print(f"{self._name}: {share}{self._rate()}", highlight=False, soft_wrap=True)


@contextmanager
def steps() -> Iterator[Steps]:
    """Show the steps of the work that the block does."""
    if not err.is_terminal:
        yield Steps(None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        shown = Steps(progress)
        yield shown
        shown.finish()
