"""A bounded pool of threads, in which calls wait for a database so that an event loop need not."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

from humanuser_adapters.forks import ForkAware, track_forks

P = ParamSpec("P")
R = TypeVar("R")


class Threads(ForkAware):
    """Runs functions in at most *count* threads of its own."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._closed = False
        self.after_fork_in_child()
        track_forks(self)

    def after_fork_in_child(self) -> None:
        """Start with no thread; a forked pool would wait for the parent's."""
        self._pool = ThreadPoolExecutor(self._count, thread_name_prefix="humanuser-call")
        if self._closed:
            self._pool.shutdown()

    def awaited(self, function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:  # Any: as coroutines are typed
        """*function* as a coroutine. It sees the context variables of its caller.

        Cancelled while it waits for a thread, it is not called any more; cancelled later, it finishes unheard.
        """

        @wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            context = contextvars.copy_context()
            work = partial(context.run, function, *args, **kwargs)
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

        return call

    def close(self) -> None:
        """Let what is under way finish, and what waits for a thread as well; nothing is called after that."""
        self._closed = True
        self._pool.shutdown()
