"""Back up and restore a SQLite database: page by page while it is in use, checked, and complete or not there at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from humanuser import StoreUnavailable

PAGES = 1000
"""How many pages are copied between two reports of progress."""
REPLACED = ".before-restore"
"""Ends the name of the database that a restore replaced."""

PageProgress = Callable[[int, int], None]
"""Called with the number of pages copied so far, and of all pages."""

_LOCK_BYTES = (512, 0x40000000)
"""Length and start of what SQLite locks in a file."""


def back_up(
    database: Path, target: Path, progress: PageProgress = lambda _, __: None, *, overwrite: bool = False
) -> int:
    """Copy the SQLite file *database* to *target*, as it is now; return its size in bytes.

    Writers and readers go on meanwhile. The copy is one file for its owner alone, checked and on disk; an incomplete
    one is removed. Raises ``FileExistsError`` unless *overwrite*, ``FileNotFoundError``, and
    ``StoreUnavailable`` where *database* cannot be read or the copy cannot be written.
    """
    _require_file(database)
    if target.exists() and (not overwrite or target.samefile(database)):
        raise FileExistsError(f"{target} exists already")
    with _new_file(target) as fresh:
        _copy(database, fresh, progress)
        size = fresh.stat().st_size
        if overwrite:
            fresh.replace(target)
        else:
            _rename_to_new(fresh, target)
    return size


def restore(
    backup: Path,
    database: Path,
    prepare: Callable[[Path], object],
    progress: PageProgress = lambda _, __: None,
    *,
    overwrite: bool = False,
) -> None:
    """Put a copy of *backup* in the place of *database*, which no process may have open.

    *prepare* is called with the path of the checked copy before it takes that place. With *overwrite* an existing
    database is renamed to ``<name>.before-restore``; if anything fails, it stays. Raises ``FileExistsError``,
    ``FileNotFoundError``, ``StoreUnavailable``, and what *prepare* raises.
    """
    _require_file(backup)
    replaced = database.with_name(database.name + REPLACED)
    if database.exists():
        if not overwrite:
            raise FileExistsError(f"{database} exists already")
        if backup.samefile(database):
            raise FileExistsError(f"{backup} is the database itself")
        if replaced.exists() and not replaced.samefile(database):
            raise FileExistsError(f"{replaced} is left from an earlier restore: move or remove it first")
    with _new_file(database) as fresh:
        _copy(backup, fresh, progress)
        prepare(fresh)
        _to_one_file(fresh)
        with _alone(database):
            if database.exists():
                _take_owner(fresh, database)
                with contextlib.suppress(FileExistsError):  # of a restore that was killed here
                    os.link(database, replaced)
            for end in ("-wal", "-journal"):  # SQLite would apply them to the restored file
                left = database.with_name(database.name + end)
                if left.exists():
                    left.replace(replaced.with_name(replaced.name + end))
            database.with_name(f"{database.name}-shm").unlink(missing_ok=True)
            fresh.replace(database)


def _copy(source: Path, target: Path, progress: PageProgress) -> None:
    """Copy *source* to the empty file *target*, and check the copy."""

    def report(_: int, remaining: int, total: int) -> None:
        progress(total - remaining, total)

    with (
        _translated(f"cannot copy {source} to {target.parent}"),
        contextlib.closing(_connect(source)) as original,
        contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        original.execute("BEGIN")  # one snapshot, or every write would make the copy begin again
        tables = {name for (name,) in original.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if "humanuser_events" not in tables:
            raise StoreUnavailable(f"{source} holds no events: it is no database of humanuser")
        original.backup(copy, pages=PAGES, progress=report)
        copy.execute("PRAGMA journal_mode=DELETE")
        (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise StoreUnavailable(f"{source} is damaged: {found}")


def _to_one_file(database: Path) -> None:
    """Write back what stands in files beside *database*, which nobody else uses."""
    with _translated(f"cannot write {database}"), contextlib.closing(_connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


@contextlib.contextmanager
def _alone(database: Path) -> Iterator[None]:
    """Keep other processes out of *database* while the block runs. Raises ``StoreUnavailable`` if one has it open."""
    if not database.exists():
        yield
        return
    in_use = f"{database} is in use: stop the processes that have it open, then restore"
    with contextlib.closing(_connect(database, timeout=0)) as connection:
        try:
            connection.execute("PRAGMA journal_mode=DELETE")  # possible only for the only connection
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise StoreUnavailable(f"{in_use} ({error})") from error
        except sqlite3.DatabaseError as error:  # it is damaged, which may be why it is replaced
            if not _is_unlocked(database):
                raise StoreUnavailable(in_use) from error
        yield


def _is_unlocked(file: Path) -> bool:
    with file.open("r+b") as opened:
        try:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB, *_LOCK_BYTES)
        except OSError:
            return False
    return True


def _connect(database: Path, *, timeout: float = 5) -> sqlite3.Connection:
    """A connection to a file that exists."""
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", timeout=timeout, isolation_level=None, uri=True)


def _require_file(database: Path) -> None:
    if not database.is_file():
        raise FileNotFoundError(f"there is no file {database}")


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[Path]:
    """An empty file beside *target* for its owner alone, which the block renames; removed if it does not."""
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    with _translated(f"cannot write {target}"):
        try:
            os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            yield fresh
            _sync(target.parent)
        finally:
            for end in ("", "-journal", "-wal", "-shm"):
                fresh.with_name(fresh.name + end).unlink(missing_ok=True)


def _rename_to_new(fresh: Path, target: Path) -> None:
    """Rename *fresh* to *target*. Raises ``FileExistsError`` if another process made that name meanwhile."""
    os.link(fresh, target)
    fresh.unlink()


def _take_owner(fresh: Path, database: Path) -> None:
    """Give *fresh* the owner of *database*: a restore by root must not lock the server out."""
    status = database.stat()
    if (status.st_uid, status.st_gid) != (fresh.stat().st_uid, fresh.stat().st_gid):
        os.chown(fresh, status.st_uid, status.st_gid)


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{what}: {error}") from error
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreUnavailable(f"{what}: {error.strerror}") from error


def _sync(folder: Path) -> None:
    """Have the names in *folder* on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
