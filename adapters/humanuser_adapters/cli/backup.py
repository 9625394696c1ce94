"""Commands that back up a SQLite database and restore it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from humanuser_adapters.application import Application
from humanuser_adapters.cli.progress import Steps, steps
from humanuser_adapters.cli.session import (
    DatabaseOption,
    Exit,
    JsonOption,
    VaultWithoutKeys,
    err,
    errors_told,
    fail,
    read_settings,
    show,
    warn_of_readers,
)
from humanuser_adapters.settings import Settings
from humanuser_adapters.sqlite_backup import PageProgress, back_up
from humanuser_adapters.sqlite_backup import restore as restore_file

ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]


def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The new file.")],
    force: ForceOption = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    settings = read_settings(database=database)
    file = _file_of(settings, "use pg_dump")
    if not file.exists():
        fail(Exit.UNAVAILABLE, f"there is no database {file}; name one with --database")
    with errors_told(), _ended_by_signals("backup"), steps() as shown:
        try:
            size = back_up(file, target, _pages(shown, "copying"), overwrite=force)
        except FileExistsError as error:
            fail(Exit.USAGE, f"{error}; --force replaces any file but the database")
    show({"file": str(target), "bytes": size}, as_json=as_json)


def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing database, which is kept as NAME.before-restore.")
    ] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    settings = read_settings(database=database)
    file = _file_of(settings, "use pg_restore, then `humanuser outbox recheck`")
    rechecked = 0

    def prepare(copy: Path) -> None:
        nonlocal rechecked
        with Application(copy, VaultWithoutKeys("no code is encrypted or decrypted during a restore")) as application:
            rechecked = application.recheck_sms()

    with errors_told(), _ended_by_signals("restore"), steps() as shown:
        if not source.is_file():
            fail(Exit.UNAVAILABLE, f"there is no backup {source}")
        try:
            restore_file(source, file, prepare, _pages(shown, "copying"), overwrite=force)
        except FileExistsError as error:
            fail(Exit.USAGE, f"{error}" if force else f"{error}; --force keeps it as {file}.before-restore")
    warn_of_readers(source)
    if settings.code_keys is None and settings.key_file and not settings.key_file.exists():
        err.print(
            f"warning: the key file {settings.key_file} is missing; restore it as well", highlight=False, soft_wrap=True
        )
    show({"database": str(file), "rechecked SMS": rechecked}, as_json=as_json)


def _file_of(settings: Settings, otherwise: str) -> Path:
    """The SQLite file; a URL ends the command."""
    if settings.sqlite_file is None:
        fail(Exit.USAGE, f"this is for a SQLite file; on PostgreSQL {otherwise}")
    return settings.sqlite_file


def _pages(shown: Steps, name: str) -> PageProgress:
    before = 0

    def report(done: int, total: int) -> None:
        nonlocal before
        shown.step(name, total, unit="pages")
        shown.go(done - before)
        before = done

    return report


@contextmanager
def _ended_by_signals(what: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        err.print(f"{what}: stopped. Nothing was changed.", soft_wrap=True)
        raise typer.Exit(Exit.INTERRUPTED) from None
