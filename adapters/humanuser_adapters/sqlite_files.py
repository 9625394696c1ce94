"""Which files a SQLite database is, to notice when others take their place while it is open."""

from __future__ import annotations

import os
import time
from pathlib import Path

from humanuser import StoreUnavailable

CHECK_SECONDS = 0.5
"""How long a read may trust the last check."""

FileId = tuple[int, int]
"""Device and inode."""


class SQLiteFiles:
    """The database file, its WAL and the index of that, as they were when they were opened.

    Moving a backup over the file of a running process leaves that process with a file that no longer has a name: it
    would go on storing, and lose everything at the next start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names_beside = ("", "")
        self._opened: FileId | None = None
        self._companions: tuple[FileId | None, ...] | None = None
        self._check_again_at = 0.0

    @property
    def opened(self) -> FileId | None:
        """The database file that was opened; None before ``remember``."""
        return self._opened

    @property
    def wal(self) -> Path:
        """The write-ahead log."""
        return Path(self._names_beside[0])

    def remember(self) -> None:
        """The database is opened. Raises ``OSError``."""
        self._opened = _file_id(self._path)
        file = os.path.realpath(self._path)  # SQLite puts them beside the file that a symbolic link leads to
        self._names_beside = (f"{file}-wal", f"{file}-shm")

    def remember_companions(self) -> None:
        """A connection keeps the WAL and its index open."""
        self._companions = self._companions_now()

    def forget_companions(self) -> None:
        """All connections are closed, and SQLite may have removed the WAL and its index."""
        self._companions = None

    def require_same(self) -> None:
        """Raises ``StoreUnavailable`` if the path leads to other files than those that are open, or to none."""
        begun = time.monotonic()
        try:
            same = _file_id(self._path) == self._opened
        except OSError:
            same = False
        if not same or self._companions not in (None, self._companions_now()):
            raise StoreUnavailable(
                f"{self._path}, its -wal or its -shm was replaced or removed while it was open. "
                "Nothing is stored any more: put the files in place and restart"
            )
        self._check_again_at = begun + CHECK_SECONDS

    def require_same_lately(self) -> None:
        """The same, but a check every ``CHECK_SECONDS`` is enough."""
        if time.monotonic() >= self._check_again_at:
            self.require_same()

    def _companions_now(self) -> tuple[FileId | None, ...]:
        return tuple(map(_file_id_if_any, self._names_beside))


def _file_id(path: Path | str) -> FileId:
    status = os.stat(path)
    return (status.st_dev, status.st_ino)


def _file_id_if_any(path: str) -> FileId | None:
    try:
        return _file_id(path)
    except OSError:
        return None


__all__ = ["SQLiteFiles"]
