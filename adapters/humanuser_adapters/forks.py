"""Keeps what a process has open from being shared with its forked children.

gunicorn's ``--preload`` and ``multiprocessing`` with the start method *fork* copy a process with its sockets, file
locks and Python locks, but with one thread only. Objects that hold any of these are tracked here and follow each fork.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import NoReturn

from humanuser import StoreUnavailable


class ForkAware:
    """Follows forks once it is tracked. Only the forking thread runs in a child, and no other code before these."""

    def before_fork(self) -> None:
        """Called in the parent, in the forking thread, while other threads still run."""

    def after_fork_in_parent(self) -> None:
        """Called in the parent, also if there is no child because the fork failed."""

    def after_fork_in_child(self) -> None:
        """Replace whatever belongs to the parent: locks, threads, connections."""


class NotPicklable:
    """Belongs to one process, and says so instead of naming one of its locks."""

    def __getstate__(self) -> NoReturn:
        name = type(self).__name__
        raise TypeError(f"{name} cannot be pickled or copied: it belongs to its process. Make one in each process")


def track_forks(one: ForkAware) -> None:
    """Have *one* follow each fork for as long as it is referenced."""
    key = id(one)
    _tracked[key] = weakref.ref(one, lambda _: _tracked.pop(key, None))


class ForkSafeLock(ForkAware):
    """A lock that is free in a child, even if another thread of the parent held it at the fork."""

    def __init__(self) -> None:
        self.after_fork_in_child()
        track_forks(self)

    def after_fork_in_child(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def require_tracked_fork() -> None:
    """Raises ``StoreUnavailable`` in a process that was forked without Python's knowledge, and shares everything."""
    if os.getpid() != _process.pid:
        raise StoreUnavailable(
            "the process was forked without Python's fork hooks: open the database after the fork "
            "(uWSGI: lazy-apps, or py-call-osafterfork)"
        )


class _Process:
    def __init__(self) -> None:
        self.pid = os.getpid()


_process = _Process()
_tracked: dict[int, weakref.ref[ForkAware]] = {}  # not a WeakSet, which cannot be read while another thread adds to it


def _alive() -> list[ForkAware]:
    return [one for reference in list(_tracked.values()) if (one := reference()) is not None]


def _before() -> None:
    for one in _alive():
        one.before_fork()


def _in_parent() -> None:
    for one in _alive():
        one.after_fork_in_parent()


def _in_child() -> None:
    _process.pid = os.getpid()
    for one in _alive():
        one.after_fork_in_child()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
