"""The whole for a host with an event loop: everything that waits for the database is a coroutine."""

from __future__ import annotations

import asyncio
from typing import Self

from humanuser import Commands
from humanuser_adapters.application import Application
from humanuser_adapters.forks import NotPicklable
from humanuser_adapters.threads import Threads

THREADS = 4
"""More of them answer hardly sooner: they share one interpreter, and make the loop wait longer for its turn."""


class AsyncCommands:
    """The commands, as coroutines with the same arguments, answers and refusals."""

    def __init__(self, commands: Commands, threads: Threads) -> None:
        self.add_human_user = threads.awaited(commands.add_human_user)
        self.change_phone = threads.awaited(commands.change_phone)
        self.verify_phone = threads.awaited(commands.verify_phone)
        self.add_phone_code = threads.awaited(commands.add_phone_code)
        self.record_code_sent = threads.awaited(commands.record_code_sent)
        self.remove_phone = threads.awaited(commands.remove_phone)
        self.set_phone = threads.awaited(commands.set_phone)
        self.resend_phone_code = threads.awaited(commands.resend_phone_code)
        self.verify_user_phone = threads.awaited(commands.verify_user_phone)
        self.remove_user_phone = threads.awaited(commands.remove_user_phone)


class AsyncApplication(NotPicklable):
    """An ``Application`` whose calls never block the event loop.

    A call that is cancelled is either never made, or made whole and its answer dropped: nobody sees half of it. Given
    a ``command_id``, it can be asked again for that answer.
    """

    def __init__(self, application: Application, *, threads: int = THREADS) -> None:
        """*application* is closed with this. No more than *threads* calls are at work at once; others wait in turn."""
        self._application = application
        self._threads = Threads(threads)
        awaited = self._threads.awaited
        self.instance_id = application.instance_id
        self.new_user_id = application.new_user_id
        self.commands = AsyncCommands(application.commands, self._threads)
        self.start = awaited(application.start)
        self.stop = awaited(application.stop)
        self.find_user = awaited(application.find_user)
        self.history = awaited(application.history)
        self.rebuild = awaited(application.rebuild)
        self.head = awaited(application.head)
        self.deliveries = awaited(application.deliveries)
        self.delivery_counts = awaited(application.delivery_counts)
        self.send_again = awaited(application.send_again)
        self.drop_sms = awaited(application.drop_sms)
        self.sms_reported = awaited(application.sms_reported)
        self.problems = awaited(application.problems)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for the calls that were made, end the background work, and close the database."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.close()
        self._application.close()


__all__ = ["AsyncApplication", "AsyncCommands"]
