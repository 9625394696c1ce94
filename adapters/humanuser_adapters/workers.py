"""Threads that do work whenever the database changed, and go on after a fault."""

from __future__ import annotations

import threading
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

    def __init__(self, name: str, database: Database, work: Callable[[], timedelta | None]) -> None:
        self.name = name
        self.fault: str | None = None
        """Why the last try failed; None if it did not."""
        self._database = database
        self._work = work
        self.after_fork_in_child()
        track_forks(self)

    def after_fork_in_child(self) -> None:
        """Not running, as at first: the parent's thread is not here."""
        self.fault = None
        self._rung = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def healthy(self) -> bool:
        """Whether it runs and its last try worked."""
        return self._thread is not None and self._thread.is_alive() and self.fault is None

    def start(self) -> None:
        """Begin, with what is there to do already. Does nothing while it runs."""
        if self._thread is None:
            self._stopping.clear()
            self._database.listen(self._rung)
            self._thread = threading.Thread(target=self._run, name=f"humanuser-{self.name}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let the work at hand finish, and end. Does nothing while it does not run."""
        if self._thread is not None:
            self._stopping.set()
            self._rung.set()
            self._thread.join()
            self._thread = None
            self._database.unlisten(self._rung)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._rung.clear()
            try:
                wait = self._work()
                self.fault = None
            except StoreUnavailable as error:
                if self.fault is None:
                    log.error("%s stopped, will try again: %s", self.name, error)  # noqa: TRY400 - the text says it all
                self._pause(error)
            except Exception as error:  # whatever it is, the others must go on and an operator must know
                if self.fault != str(error):
                    log.exception("%s stopped, will try again", self.name)
                self._pause(error)
            except BaseException as error:  # noqa: BLE001 - such as sys.exit in a sender, which means no thread of ours
                what = type(error).__name__  # alone: the text is the sender's
                log.error("%s stopped by %s, will try again", self.name, what)  # noqa: TRY400 - as above
                self._pause(RuntimeError(what))
            else:
                self._rung.wait(min(LONGEST_WAIT if wait is None else wait, LONGEST_WAIT).total_seconds())

    def _pause(self, error: Exception) -> None:
        self.fault = str(error)
        self._stopping.wait(PAUSE_AFTER_FAULT.total_seconds())
