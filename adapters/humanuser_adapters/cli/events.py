"""Commands that bring events in and out, and hold read models against them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar, cast

import typer
from rich.table import Table
from rich.text import Text

from humanuser import PhoneNumber, StoreUnavailable
from humanuser_adapters.application import Application
from humanuser_adapters.cli.progress import Steps, steps
from humanuser_adapters.cli.session import (
    DatabaseOption,
    Exit,
    JsonOption,
    RevealOption,
    err,
    fail,
    opened,
    out,
    read_settings,
    show,
    show_json,
)
from humanuser_adapters.database_name import hide_credentials, postgresql_url
from humanuser_adapters.event_files import EventFile, FileFormat, json_line, new_file, spooled, write_events
from humanuser_adapters.event_row import EventRow, EventSource, Malformed
from humanuser_adapters.read_model import Difference
from humanuser_adapters.replay import ChangedMeanwhile, ImportRefused, ImportSummary, Told

FormatOption = Annotated[
    FileFormat | None,
    typer.Option(
        "--format", help="How rows are written; else the name tells: .jsonl, .csv or .copy, with .gz or .zst."
    ),
]
SkipBadOption = Annotated[
    Path | None,
    typer.Option(help="Put users whose history is not in order aside into this file, instead of refusing all."),
]
GOES_ON = "What is stored is whole; the same command goes on from there."
AS_BEFORE = "Nothing was changed."
NO_FILE = "There is no file of it."
One = TypeVar("One")
FOLLOW_SECONDS = 1.0
"""How often what happens elsewhere is looked for."""
LONGEST_PAUSE_SECONDS = 30.0
"""The longest back-off while a database is unavailable."""


def import_(
    source: Annotated[str, typer.Argument(metavar="FILE", help="The file; - reads what is piped in.")],
    file_format: FormatOption = None,
    skip_bad: SkipBadOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    _require_file(source)
    with opened(read_settings(database=database), make=True) as application, _stoppable(source), steps() as shown:
        with _read_from(source) as path, ExitStack() as stack:
            seen = _Bytes(path.stat().st_size, shown)
            events = EventFile(path, _format(source, file_format), name=source, progress=seen.more)
            put_aside = stack.enter_context(_putting_aside(skip_bad, os.O_TRUNC)) if skip_bad else None
            summary = _imported(application, events, put_aside, seen.tell)
        if summary.stored or summary.removed_users:
            _bring_up_to_date(application, shown)
    _show_summary(summary, as_json=as_json)


def replay(
    source: Annotated[str, typer.Option("--from", help="The postgresql:// URL of the ZITADEL database.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what happens there, until Ctrl-C.")] = False,
    skip_bad: SkipBadOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    _require_url("--from", source)
    total = ImportSummary()
    with opened(read_settings(database=database), make=True) as application, _stoppable("the replay"), steps() as shown:
        with ExitStack() as stack:
            put_aside = stack.enter_context(_putting_aside(skip_bad, os.O_APPEND)) if skip_bad else None
            total = _replayed(application, source, put_aside, shown)
            pause = FOLLOW_SECONDS
            while follow:
                try:
                    application.take_in()
                    time.sleep(pause)
                    summary = _replayed(application, source, put_aside, shown)
                    total = total.and_then(summary)
                    if summary.stored or summary.removed_users:
                        err.print(f"{total.stored:,} events stored", highlight=False)
                    pause = FOLLOW_SECONDS
                except StoreUnavailable as error:
                    pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                    err.print(f"unavailable, retrying in {pause:g} s: {error}", highlight=False, markup=False)
                    time.sleep(pause)
        if total.stored or total.removed_users:
            _bring_up_to_date(application, shown)
    _show_summary(total, as_json=as_json)


def _require_url(option: str, url: str) -> None:
    """End the command, without a part of *url* in the error, unless it is one."""
    try:
        postgresql_url(url)
    except ValueError as error:
        fail(Exit.USAGE, f"{option}: {error}")


def _require_file(name: str) -> None:
    """End the command if *name* is a URL or a connection string: as the name of a file it would be shown."""
    if hide_credentials(name) != name and not Path(name).exists():
        fail(Exit.USAGE, "FILE looks like a URL or a connection string: `replay` reads a ZITADEL database")


def _replayed(
    application: Application, url: str, put_aside: Callable[[EventRow | Malformed], None] | None, shown: Steps
) -> ImportSummary:
    from humanuser_adapters.zitadel.events import zitadel_events  # noqa: PLC0415 - psycopg is an extra

    def tell(step: str, events: int) -> None:
        shown.step(step)
        shown.go(events)

    with zitadel_events(url) as events:
        return _imported(application, events, put_aside, tell)


def export(
    target: Annotated[str, typer.Argument(metavar="FILE", help="The file; - writes into the pipe.")],
    file_format: FormatOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    _require_file(target)
    written_as = _format(target, file_format)
    with opened(read_settings(database=database)) as application, _stoppable(target, NO_FILE), steps() as shown:
        shown.step("writing", application.head())
        rows = _counted(application.export_events(), shown)
        if target == "-":
            count = write_events(rows, cast(BinaryIO, sys.stdout.buffer), "", written_as)
            sys.stdout.flush()
            return
        path = Path(target)
        with new_file(path) as file:
            count = write_events(rows, file, path.name, written_as)
    show({"events": count}, as_json=as_json)


def verify(
    zitadel: Annotated[
        str | None, typer.Option(help="Hold them against the table of users in this ZITADEL database, too: its URL.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at the details alone, without reading payloads: many times faster.")
    ] = False,
    database: DatabaseOption = None,
    reveal: RevealOption = False,
    as_json: JsonOption = False,
) -> None:
    if zitadel:
        _require_url("--zitadel", zitadel)
    with opened(read_settings(database=database)) as application, _stoppable("check", AS_BEFORE), steps() as shown:
        shown.step("comparing" if quick else "replaying", application.head())
        found = list((application.differences_of_details if quick else application.differences)(shown.go))
        if zitadel:
            found += _differences_from_zitadel(application, zitadel, shown)
    if as_json:
        show_json([_difference(one, reveal=reveal) for one in found])
    elif found:
        out.print(_table(found, reveal=reveal))
    else:
        out.print(f"the {'details' if quick else 'read models'} are what the events make them", highlight=False)
    if found:
        raise typer.Exit(Exit.REFUSED)


def _differences_from_zitadel(application: Application, url: str, shown: Steps) -> Sequence[Difference]:
    from humanuser_adapters.zitadel.users import zitadel_phones  # noqa: PLC0415 - psycopg is an extra

    shown.step("reading ZITADEL's users")
    with zitadel_phones(url) as phones:
        return application.differences_from(_counted(phones, shown))


def rebuild(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    with (
        opened(read_settings(database=database)) as application,
        _stoppable("rebuild", AS_BEFORE),
        steps() as shown,
    ):
        shown.step("rebuilding", application.head())
        count = application.rebuild(shown.go)
    show({"events": count}, as_json=as_json)


def _show_summary(summary: ImportSummary, *, as_json: bool) -> None:
    show({name.replace("_", " "): count for name, count in asdict(summary).items()}, as_json=as_json)


def _imported(
    application: Application, events: EventSource, put_aside: Callable[[EventRow | Malformed], None] | None, told: Told
) -> ImportSummary:
    try:
        return application.import_events(events, put_aside=put_aside, told=told)
    except (ImportRefused, ChangedMeanwhile) as refusal:
        fail(Exit.REFUSED, str(refusal))


class _Bytes:
    """How far a file is read."""

    def __init__(self, size: int, shown: Steps) -> None:
        self._size = size
        self._shown = shown
        self._read = self._told = self._before = 0

    def more(self, count: int) -> None:
        self._read += count

    def tell(self, step: str, events: int) -> None:
        if self._shown.step(step, self._size):
            self._before = self._told  # every step reads it again
        self._told = self._read
        self._shown.go(events, self._read - self._before)


@contextmanager
def _stoppable(what: str, so_now: str = GOES_ON) -> Iterator[None]:
    """Ctrl-C, or SIGTERM, ends the command in a clean way, and *so_now* tells how things are then."""
    try:
        yield
    except KeyboardInterrupt:
        err.print(f"{what}: stopped. {so_now}", soft_wrap=True)
        raise typer.Exit(Exit.INTERRUPTED) from None


@contextmanager
def _read_from(source: str) -> Iterator[Path]:
    if source != "-":
        yield Path(source)
        return
    with spooled(cast(BinaryIO, sys.stdin.buffer), "rows") as path:
        yield path


def _format(name: str, given: FileFormat | None) -> FileFormat:
    if given or name == "-":
        return given or FileFormat.JSON
    try:
        return FileFormat.of(Path(name))
    except ValueError as error:
        fail(Exit.USAGE, f"{error} with --format")


@contextmanager
def _putting_aside(path: Path, how: int) -> Iterator[Callable[[EventRow | Malformed], None]]:
    """Write into the file at *path*, anew or behind what is there; for its owner alone: numbers are in it."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | how, 0o600), "wb", buffering=0) as file:

        def put_aside(content: EventRow | Malformed) -> None:
            line = content.raw.rstrip(b"\r\n") if isinstance(content, Malformed) else json_line(content).encode()
            file.write(line + b"\n")

        yield put_aside


def _bring_up_to_date(application: Application, shown: Steps) -> None:
    """Have the read models take in what came: event by event if that is the lesser part, else all anew."""
    if application.subscriptions()["users"].lag().positions < application.head() / 2:
        application.take_in()
        return
    shown.step("rebuilding", application.head())
    application.rebuild(shown.go)


def _counted(rows: Iterable[One], shown: Steps) -> Iterator[One]:
    for number, row in enumerate(rows, 1):
        if number % 1000 == 0:
            shown.go(1000)
        yield row


def _table(found: Sequence[Difference], *, reveal: bool) -> Table:
    table = Table(title=f"{len(found)} differences")
    for heading in ("user", "read model", "stored", "of the events"):
        table.add_column(heading, overflow="fold")
    for one in found:
        columns = (one.user_id, one.what, _said(one.stored, reveal=reveal), _said(one.expected, reveal=reveal))
        table.add_row(*(Text(str(column)) for column in columns))
    return table


def _difference(one: Difference, *, reveal: bool) -> dict[str, object]:
    return {
        "instanceId": one.instance_id,
        "userId": one.user_id,
        "what": one.what,
        "stored": _shown(one.stored, reveal=reveal),
        "expected": _shown(one.expected, reveal=reveal),
    }


def _shown(columns: tuple[object, ...] | None, *, reveal: bool) -> list[object] | None:
    """The columns, with numbers masked unless *reveal*."""
    if columns is None:
        return None
    return [one if reveal else _masked(one) for one in columns]


def _masked(value: object) -> object:
    return PhoneNumber(value).masked if isinstance(value, str) and value.startswith("+") else value


def _said(columns: tuple[object, ...] | None, *, reveal: bool) -> str:
    shown = _shown(columns, reveal=reveal)
    return "nothing" if shown is None else ", ".join("none" if one is None else str(one) for one in shown)
