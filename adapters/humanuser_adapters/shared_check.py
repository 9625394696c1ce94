"""A check that waits for a database: run at most once a second, shared by all callers, each answered in time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from humanuser import StoreError
from humanuser_adapters.log_fields import log_of

log = log_of(__name__)

INTERVAL_SECONDS = 1.0
"""How long a result is kept."""
ANSWER_SECONDS = 2.0
"""How long a check may take. A slower one goes on, alone, and is reported as a problem until it ends."""

Check = Callable[[], dict[str, str]]
"""Returns problems by part; empty: there are none. Raises ``StoreError``."""


class SharedCheck:
    """Runs a check in a thread of its own when somebody asks and the last result is old. Nothing runs unasked."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._runs = _Runs(check)

    def problems(self) -> dict[str, str]:
        """What the check found, a second ago at most; within about two seconds, whatever the database does."""
        if self._runs.process_id != os.getpid():  # forked: the parent's thread and lock are not usable here
            self._runs = _Runs(self._check)
        return self._runs.problems()

    def close(self) -> None:
        """Wait for a check that runs."""
        if self._runs.process_id == os.getpid():
            self._runs.close()


class _Runs:
    """The runs of a check in one process."""

    def __init__(self, check: Check) -> None:
        self.process_id = os.getpid()
        self._check = check
        self._change = threading.Condition()
        self._running = False
        self._thread: threading.Thread | None = None
        self._started = 0.0
        self._fresh_until = 0.0
        self._found: dict[str, str] = {}

    def problems(self) -> dict[str, str]:
        with self._change:
            if not self._running and time.monotonic() >= self._fresh_until:
                self._running, self._started = True, time.monotonic()
                self._thread = threading.Thread(target=self._run, name="humanuser-health", daemon=True)
                self._thread.start()
            left = self._started + ANSWER_SECONDS - time.monotonic()
            if self._change.wait_for(lambda: not self._running, max(left, 0)):
                return dict(self._found)
            return {"database": f"no durable write within {time.monotonic() - self._started:.1f} s"}

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            found = self._check()
        except StoreError as error:
            found = {"database": str(error)}
        except Exception as error:  # whatever it is, the next caller must get an answer
            log.exception("the health check failed")
            found = {"database": f"the health check failed: {type(error).__name__}"}
        with self._change:
            self._found = found
            self._fresh_until = time.monotonic() + INTERVAL_SECONDS
            self._running = False
            self._change.notify_all()


__all__ = ["SharedCheck"]
