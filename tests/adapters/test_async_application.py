"""The whole for a host with an event loop, which never waits for the database."""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from fakes import FakeClock
from humanuser import By, Commands, HumanUserAdded, PhoneNotChanged, StoreUnavailable
from humanuser_adapters.application import Application
from humanuser_adapters.async_application import AsyncApplication, AsyncCommands
from humanuser_adapters.threads import Threads
from humanuser_adapters.vault import AesGcmVault

ADMIN = By("admin", organization="org1")
ONCE = By("admin", organization="org1", command_id="once")
ADDED = HumanUserAdded(user_name="ada")
PHONE, OTHER_PHONE = "+41791234567", "+41791234568"
TICKS = 20
CALLS = 6
"""More than there are threads."""
R = TypeVar("R")


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody can write to the file meanwhile."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


async def tick() -> None:
    """Let the loop go round a few times."""
    for _ in range(TICKS):
        await asyncio.sleep(0.005)


def test_commands_and_reads_give_what_the_others_give(application: Application) -> None:
    async def ask() -> object:
        async with AsyncApplication(application) as identity:
            await identity.commands.add_human_user("user1", ADDED, phone=PHONE, by=ADMIN)
            details = await identity.commands.change_phone("user1", OTHER_PHONE, verified=True, by=ADMIN)
            found = await identity.find_user("user1")
            assert found is not None
            assert found[0] == details
            return (await identity.history("user1"))[-1].sequence, await identity.head(), await identity.problems()

    assert asyncio.run(ask()) == (4, 4, {"users": "not running"})


def test_every_command_is_there(application: Application) -> None:
    assert set(vars(AsyncCommands(application.commands, Threads(1)))) == public(Commands)


def test_everything_that_waits_for_the_database_is_there(application: Application) -> None:
    with_a_connection = {"within", "subscriptions"}  # of the thread that has it
    of_operators = {
        "backup",
        "clock_skew",
        "differences",
        "differences_from",
        "differences_of_details",
        "export_events",
        "import_events",
        "log_end",
        "recheck_sms",
        "repair_positions",
        "take_in",
        "user_ids",
    }

    there = {name for name in vars(AsyncApplication(application)) if not name.startswith("_")} | {"close"}

    assert there == public(Application) - with_a_connection - of_operators | {"commands", "instance_id"}


def test_a_refusal_is_raised_where_it_is_awaited(application: Application) -> None:
    async def change_twice() -> None:
        async with AsyncApplication(application) as identity:
            await identity.commands.add_human_user("user1", ADDED, phone=PHONE, by=ADMIN)
            await identity.commands.change_phone("user1", PHONE, by=ADMIN)

    with pytest.raises(PhoneNotChanged):
        asyncio.run(change_twice())


def test_a_wrong_argument_is_seen_by_the_type_checker(application: Application) -> None:
    async def change() -> None:
        async with AsyncApplication(application) as identity:
            await identity.commands.change_phone("user1", number=PHONE, by=ADMIN)  # type: ignore[call-arg]  # the test

    with pytest.raises(TypeError, match="number"):
        asyncio.run(change())


def test_nothing_runs_on_the_loops_thread(tmp_path: Path, vault: AesGcmVault, clock: FakeClock) -> None:
    threads: set[str] = set()

    def watched() -> datetime:
        threads.add(threading.current_thread().name)
        return clock()

    async def ask() -> None:
        async with AsyncApplication(Application(tmp_path / "test.sqlite", vault, clock=watched)) as identity:
            await asyncio.gather(
                *(identity.commands.add_human_user(f"user{number}", ADDED, by=ADMIN) for number in range(20))
            )

    asyncio.run(ask())

    assert threads
    assert all(name.startswith("humanuser-call") for name in threads)


def test_the_loop_goes_on_while_a_file_is_locked(application: Application, tmp_path: Path) -> None:
    async def ask() -> None:
        async with AsyncApplication(application) as identity:
            with locked(tmp_path / "test.sqlite"):
                calls = asyncio.gather(
                    *(identity.commands.add_human_user(f"user{number}", ADDED, by=ADMIN) for number in range(CALLS))
                )
                await tick()
                assert not calls.done()
            assert len(await calls) == CALLS

    asyncio.run(ask())


def test_the_loop_goes_on_while_a_server_does_not_answer(postgresql_url: str, vault: AesGcmVault) -> None:
    async def ask() -> int:
        ticks = 0
        async with AsyncApplication(Application(postgresql_url, vault)) as identity:
            with psycopg.connect(postgresql_url) as connection:
                connection.execute("LOCK TABLE humanuser_events")
                call = asyncio.create_task(identity.history("user1"))
                while not call.done():
                    await asyncio.sleep(0.005)
                    ticks += 1
            with pytest.raises(StoreUnavailable):
                await call
        return ticks

    assert asyncio.run(ask()) > 2  # a loop that waits goes round once


def test_a_call_sees_the_context_of_its_caller() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request")

    async def ask(name: str) -> str:
        request.set(name)
        return await threads.awaited(request.get)()

    async def ask_at_once() -> list[str]:
        return await asyncio.gather(*(ask(name) for name in "abc"))

    with closing(Threads(2)) as threads:
        assert asyncio.run(ask_at_once()) == ["a", "b", "c"]


def test_no_more_calls_are_at_work_than_there_are_threads() -> None:
    at_work = threading.Semaphore(2)

    def work() -> bool:
        alone = at_work.acquire(blocking=False)
        goes_on.wait(0.01)
        at_work.release()
        return alone

    async def ask() -> list[bool]:
        return await asyncio.gather(*(threads.awaited(work)() for _ in range(10)))

    goes_on = threading.Event()
    with closing(Threads(2)) as threads:
        assert all(asyncio.run(ask()))


def test_a_call_that_is_cancelled_at_work_is_made_whole_and_can_be_asked_again(
    tmp_path: Path, vault: AesGcmVault, clock: FakeClock
) -> None:
    at_work = threading.Event()

    def watched() -> datetime:
        at_work.set()
        return clock()

    async def ask() -> None:
        async with AsyncApplication(Application(tmp_path / "test.sqlite", vault, clock=watched)) as identity:
            with locked(tmp_path / "test.sqlite"):
                call = asyncio.create_task(identity.commands.add_human_user("user1", ADDED, phone=PHONE, by=ONCE))
                assert await asyncio.to_thread(at_work.wait, 10)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
            details = await identity.commands.add_human_user("user1", ADDED, phone=PHONE, by=ONCE)
            assert [one.sequence for one in await identity.history("user1")] == [1, 2]
            assert details.sequence == 2

    asyncio.run(ask())


def test_a_call_that_is_cancelled_before_it_has_a_thread_is_never_made() -> None:
    made: list[str] = []

    async def ask() -> None:
        goes_on = threading.Event()
        first = asyncio.create_task(threads.awaited(goes_on.wait)(10))
        await asyncio.sleep(0)
        second = asyncio.create_task(threads.awaited(made.append)("second"))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        goes_on.set()
        assert await first
        await threads.awaited(made.append)("third")

    with closing(Threads(1)) as threads:
        asyncio.run(ask())

    assert made == ["third"]


def test_closing_waits_for_the_calls_that_were_made(application: Application, tmp_path: Path) -> None:
    async def ask() -> None:
        identity = AsyncApplication(application)
        with locked(tmp_path / "test.sqlite"):
            call = asyncio.create_task(identity.commands.add_human_user("user1", ADDED, by=ADMIN))
            await asyncio.sleep(0)
            closing_it = asyncio.create_task(identity.close())
            await tick()
            assert not closing_it.done()
        assert (await call).sequence == 1
        await closing_it
        with pytest.raises(RuntimeError, match="shutdown"):
            await identity.head()

    asyncio.run(ask())
