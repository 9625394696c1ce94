"""How far a command has come that goes through all events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from humanuser_adapters.cli.session import err


@contextmanager
def progress_shown(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar for *total* events on a terminal, and nothing in a pipe; tell it how many more are done."""
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TextColumn("events"), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda more: progress.advance(task, more)
