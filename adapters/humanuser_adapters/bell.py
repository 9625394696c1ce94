"""Wakes whoever waits for changes of a database."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Bell:
    """Sets events, whenever ``ring`` is called by who writes here or by a thread that watches for what others write."""

    def __init__(self, watch: Callable[[threading.Event], None]) -> None:
        """*watch* is run in a thread of its own once somebody listens, until the event that it is given is set."""
        self._watch = watch
        self._listeners: frozenset[threading.Event] = frozenset()
        self._change = threading.Lock()
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None

    def add(self, event: threading.Event) -> None:
        """Have *event* set at every ring."""
        with self._change:
            self._listeners |= {event}
            if self._watcher is None:
                self._watcher = threading.Thread(
                    target=self._watch, args=[self._closed], name="humanuser-watch", daemon=True
                )
                self._watcher.start()

    def remove(self, event: threading.Event) -> None:
        """End what ``add`` began."""
        with self._change:
            self._listeners -= {event}

    def ring(self) -> None:
        """Wake all."""
        for event in self._listeners:
            event.set()

    def close(self) -> None:
        """End the watch."""
        self._closed.set()
        if self._watcher is not None:
            self._watcher.join()
