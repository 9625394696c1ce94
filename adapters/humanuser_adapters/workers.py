"""Threads that do work whenever the database changed, and go on after a fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from humanuser import StoreUnavailable
from humanuser_adapters.database import Database
from humanuser_adapters.forks import ForkAware, track_forks
from humanuser_adapters.log_fields import log_of

log = log_of(__name__)

LONGEST_WAIT = timedelta(seconds=1)
"""Even if nothing rings."""
PAUSE_AFTER_FAULT = timedelta(seconds=0.25)
"""So that all goes on within a second after the database is back."""


class Worker(ForkAware):
    """Does *work* after every change of the database, and when the time is up that *work* itself gave."""

    def __init__(
        self,
        name: str,
        database: Database,
        work: Callable[[], timedelta | None],
        *,
        longest_work: timedelta | None = None,
    ) -> None:
        """*longest_work* is how long one call of *work* may take before it counts as hung; None: any time."""
        self.name = name
        self._database = database
        self._work = work
        self._longest_work = None if longest_work is None else longest_work.total_seconds()
        self.after_fork_in_child()
        track_forks(self)

    def after_fork_in_child(self) -> None:
        """Not running, as at first: the parent's thread is not here."""
        self._failure: str | None = None
        self._busy_since: float | None = None
        self._rung = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def fault(self) -> str | None:
        """Why the last try failed, or that this one hangs; None if neither."""
        since = self._busy_since  # of the worker's thread, which may set it to None now
        seconds = 0 if since is None else time.monotonic() - since
        if self._longest_work is not None and seconds > self._longest_work:
            return f"hangs in one task for {seconds:.0f} s"
        return self._failure

    @property
    def healthy(self) -> bool:
        """Whether it runs, its last try worked and this one does not hang."""
        return self._thread is not None and self._thread.is_alive() and self.fault is None

    def start(self) -> None:
        """Begin, with what is there to do already. Does nothing while it runs."""
        if self._thread is None:
            self._stopping = threading.Event()  # a new one: a thread that hung may still look at the old
            self._database.listen(self._rung)
            self._thread = threading.Thread(
                target=self._run, args=(self._stopping,), name=f"humanuser-{self.name}", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Let the work at hand finish, and end. Does nothing while it does not run.

        Waits no longer than one call may take: a thread that hangs is left behind, and ends if the call ever does.
        """
        if self._thread is not None:
            self._stopping.set()
            self._rung.set()
            self._thread.join(self._longest_work)
            if self._thread.is_alive():
                log.error("%s hangs, and is left behind", self.name)
            self._thread = None
            self._database.unlisten(self._rung)

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self._rung.clear()
            try:
                self._busy_since = time.monotonic()
                try:
                    wait = self._work()
                finally:
                    self._busy_since = None
                self._failure = None
            except StoreUnavailable as error:
                if self._failure is None:
                    log.error("%s stopped, will try again: %s", self.name, error)  # noqa: TRY400 - the text says it all
                self._pause(stopping, str(error))
            except Exception as error:  # whatever it is, the others must go on and an operator must know
                if self._failure != str(error):
                    log.exception("%s stopped, will try again", self.name)
                self._pause(stopping, str(error))
            except BaseException as error:  # noqa: BLE001 - such as sys.exit in a sender, which means no thread of ours
                what = type(error).__name__  # alone: the text is the sender's
                log.error("%s stopped by %s, will try again", self.name, what)  # noqa: TRY400 - as above
                self._pause(stopping, what)
            else:
                self._rung.wait(min(LONGEST_WAIT if wait is None else wait, LONGEST_WAIT).total_seconds())

    def _pause(self, stopping: threading.Event, failure: str) -> None:
        self._failure = failure
        stopping.wait(PAUSE_AFTER_FAULT.total_seconds())
