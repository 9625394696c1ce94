"""How long an event loop stands still while a host asks for 200 commands at once. Run it with ``make bench``.

A coroutine sleeps a millisecond again and again, and what it oversleeps is how long the loop was held up. Once nothing
else runs, which is the machine's own unrest; once ``AsyncApplication`` changes 200 users' phones at once; and once the
same is done on the loop itself, as by a host that calls without it. On SQLite and on PostgreSQL, both waiting for their
disks. Threads take turns of 5 ms in Python, so a few of these are what there is to expect.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cluster import cluster
from humanuser import By, HumanUserAdded
from humanuser_adapters.application import Application
from humanuser_adapters.async_application import AsyncApplication
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys

ROUNDS = 5
COMMANDS = 200
BY = By("admin", organization="acme")
DURABLE = ("max_connections=100", "shared_buffers=256MB")
Work = Callable[[str], Coroutine[None, None, None]]
"""What is done for one user."""


def main() -> None:
    """Print the longest standstill of each round, and what it took."""
    with tempfile.TemporaryDirectory(prefix="humanuser-bench-") as folder, cluster(DURABLE) as url:
        for name, database in (("SQLite", str(Path(folder) / "loop.sqlite")), ("PostgreSQL", url)):
            vault = AesGcmVault(Keys("key1", {"key1": bytes(KEY_BYTES)}))
            asyncio.run(_measured(name, Application(database, vault)))


async def _measured(name: str, application: Application) -> None:
    async with AsyncApplication(application) as identity:

        async def nothing(_: str) -> None:
            await asyncio.sleep(1)

        async def awaited(user_id: str) -> None:
            await identity.commands.change_phone(user_id, "+41791234567", by=BY)

        async def on_the_loop(user_id: str) -> None:
            application.commands.change_phone(user_id, "+41791234567", by=BY)

        print(f"{name}: {COMMANDS} commands at once, {ROUNDS} rounds; the longest standstill of a round:")
        for how, work in (("nothing runs", nothing), ("AsyncApplication", awaited), ("on the loop", on_the_loop)):
            stalls, seconds = zip(*[await _round(application, work) for _ in range(ROUNDS)], strict=True)
            of_rounds = f"median {statistics.median(stalls) * 1000:>6.1f} ms, worst {max(stalls) * 1000:>6.1f} ms"
            rate = "" if work is nothing else f"; {COMMANDS / statistics.median(seconds):>4.0f} commands a second"
            print(f"  {how:<16} {of_rounds}{rate}", flush=True)


async def _round(application: Application, work: Work) -> tuple[float, float]:
    """The longest standstill in seconds, and the seconds that the work took."""
    users = [secrets.token_hex(8) for _ in range(COMMANDS)]
    for one in users:
        application.commands.add_human_user(one, HumanUserAdded(user_name="ada"), by=BY)
    ticking = asyncio.create_task(_longest_standstill(done := asyncio.Event()))
    await asyncio.sleep(0.01)
    began = time.perf_counter()
    await asyncio.gather(*(work(one) for one in users))
    seconds = time.perf_counter() - began
    done.set()
    return await ticking, seconds


async def _longest_standstill(done: asyncio.Event) -> float:
    longest = 0.0
    while not done.is_set():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - began - 0.001)
    return longest


if __name__ == "__main__":
    main()
