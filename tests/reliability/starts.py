"""However many processes start together on a new database, its tables are made once, and all of them work."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from cluster import cluster, new_schema
from humanuser import By, HumanUserAdded
from humanuser_adapters.application import Application
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys
from reliability.proof import Effort, Figure, Proof, exactly, none

PROCESSES = 10
PATIENCE_SECONDS = 60
ADMIN = By("admin", organization="org1")

Start = Callable[[str, str], str]
"""Starts on a database and adds a user of that id; what went wrong, empty if nothing did."""


def run(effort: Effort) -> Iterator[Figure]:
    """Start on new databases of each kind."""
    rounds = range(effort.of(50, quick=3))
    with tempfile.TemporaryDirectory() as folder, cluster() as url:
        kinds = {
            "SQLite": [f"{folder}/{number}.sqlite" for number in rounds],
            "PostgreSQL": [new_schema(url) for _ in rounds],
        }
        for name, databases in kinds.items():
            for figure in start_together(databases):
                yield Figure(f"{figure.what}, {name}", figure.measured, figure.wanted, figure.holds)


def start(database: str, user_id: str) -> str:
    """As a server does."""
    try:
        with _opened(database) as application:
            application.commands.add_human_user(user_id, HumanUserAdded(user_name=user_id), by=ADMIN)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not be
        return f"{type(error).__name__}: {error}"
    return ""


def start_together(databases: Sequence[str], *, start: Start = start) -> Iterator[Figure]:
    """Have all processes *start* on each of the *databases*, one after the other, at the same moment."""
    spawning = multiprocessing.get_context("spawn")  # nothing of this process, as where servers are started
    together, told = spawning.Barrier(PROCESSES), spawning.Queue()
    users = [f"user{number}" for number in range(PROCESSES)]
    processes = [spawning.Process(target=_live, args=(databases, user, start, together, told)) for user in users]
    for process in processes:
        process.start()
    failures = [failure for _ in databases for _ in users if (failure := told.get(timeout=PATIENCE_SECONDS))]
    for process in processes:
        process.join(PATIENCE_SECONDS)
    for failure in sorted(set(failures)):
        print(f"  {failure}")  # noqa: T201
    yield Figure("processes that started", len(databases) * PROCESSES)
    yield none("of them failed", len(failures))
    yield exactly(len(databases) * PROCESSES, "users that they added", sum(map(_users_of, databases)))


def _live(databases: Sequence[str], user_id: str, start: Start, together: Barrier, told: Queue[str]) -> None:
    for database in databases:
        together.wait(PATIENCE_SECONDS)
        told.put(start(database, user_id))


def _users_of(database: str) -> int:
    with _opened(database) as application:
        return application.rebuild()


def _opened(database: str) -> Application:
    return Application(database, AesGcmVault(Keys("key1", {"key1": bytes(KEY_BYTES)})))


STARTS = Proof("R16", f"{PROCESSES} processes that start together on a new database make its tables once", run)
