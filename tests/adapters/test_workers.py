"""Work in the background: woken, timed, going on after a fault, and finished before it ends."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

import pytest

from fakes import PATIENCE_SECONDS, eventually
from humanuser import StoreUnavailable
from humanuser_adapters import workers
from humanuser_adapters.database import Database
from humanuser_adapters.workers import Worker


@pytest.fixture
def database(any_database: Database) -> Database:
    return any_database


def test_it_works_at_once_and_after_every_write(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "LONGEST_WAIT", timedelta(hours=1))
    done: list[int] = []
    worker = Worker("test", database, lambda: done.append(1))
    worker.start()
    assert eventually(lambda: len(done) >= 1)

    with database.write() as connection:
        connection.execute("CREATE TABLE things (name TEXT)")

    assert eventually(lambda: len(done) >= 2)
    worker.stop()


def test_it_works_when_its_own_time_is_up(database: Database) -> None:
    done: list[int] = []

    def work() -> timedelta:
        done.append(1)
        return timedelta(milliseconds=1)

    worker = Worker("test", database, work)
    worker.start()

    assert eventually(lambda: len(done) >= 5)
    worker.stop()


@pytest.mark.parametrize(
    ("first", "second", "lines"),
    [
        (ValueError("bad"), ValueError("bad"), 1),
        (ValueError("bad"), ValueError("worse"), 2),
        (StoreUnavailable("gone"), StoreUnavailable("it starts"), 1),
        (StoreUnavailable("gone"), ValueError("bad"), 2),
    ],
)
def test_a_fault_is_told_once_and_the_work_goes_on(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    first: Exception,
    second: Exception,
    lines: int,
) -> None:
    monkeypatch.setattr(workers, "PAUSE_AFTER_FAULT", timedelta(milliseconds=1))
    faults = [first, second, None]
    healthy: list[bool] = []

    def work() -> timedelta:
        healthy.append(worker.healthy)
        fault = faults.pop(0) if faults else None
        if fault:
            raise fault
        return timedelta(0)

    worker = Worker("test", database, work)
    with caplog.at_level(logging.ERROR):
        worker.start()
        assert eventually(lambda: worker.healthy and len(healthy) > 3)
        worker.stop()

    assert healthy[:4] == [True, False, False, True]
    assert len(caplog.records) == lines
    assert sum(bool(one.exc_info) for one in caplog.records) == sum(
        isinstance(one, ValueError) for one in (first, second)[:lines]
    )


def test_stopping_waits_for_the_work_at_hand(database: Database) -> None:
    begun = threading.Event()
    finished: list[int] = []

    def work() -> None:
        begun.set()
        time.sleep(0.05)
        finished.append(1)

    worker = Worker("test", database, work)
    worker.start()
    begun.wait(PATIENCE_SECONDS)
    worker.stop()

    assert finished
    assert not worker.healthy


def test_it_can_be_started_again_and_twice_is_once(database: Database) -> None:
    done: list[int] = []
    worker = Worker("test", database, lambda: done.append(1))
    worker.stop()

    for _ in range(2):
        done.clear()
        worker.start()
        worker.start()
        assert eventually(lambda: bool(done))
        assert [thread.name for thread in threading.enumerate()].count("humanuser-test") == 1
        worker.stop()
        worker.stop()

    assert "humanuser-test" not in [thread.name for thread in threading.enumerate()]


def test_one_that_hangs_is_unhealthy_until_it_goes_on(database: Database) -> None:
    returns, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        returns.wait(PATIENCE_SECONDS)

    worker = Worker("test", database, hang, longest_work=timedelta(seconds=0.05))
    worker.start()
    assert begun.wait(PATIENCE_SECONDS)

    assert eventually(lambda: not worker.healthy)
    assert worker.fault is not None
    assert worker.fault.startswith("hangs in one task for ")

    returns.set()
    assert eventually(lambda: worker.healthy)
    worker.stop()


def test_one_that_hangs_is_left_behind_when_it_is_stopped(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    returns, begun, calls = threading.Event(), threading.Event(), []

    def hang() -> None:
        calls.append(threading.current_thread())
        begun.set()
        returns.wait(PATIENCE_SECONDS)

    worker = Worker("test", database, hang, longest_work=timedelta(seconds=0.05))
    worker.start()
    assert begun.wait(PATIENCE_SECONDS)

    worker.stop()

    assert not worker.healthy
    assert caplog.messages == ["test hangs, and is left behind"]
    returns.set()
    calls[0].join(PATIENCE_SECONDS)
    assert not calls[0].is_alive()
    assert len(calls) == 1
