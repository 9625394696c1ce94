"""A check that is shared: once a second, one at a time, and every caller is answered in time."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fakes import eventually
from humanuser import StoreUnavailable
from humanuser_adapters import shared_check
from humanuser_adapters.shared_check import SharedCheck


class Check:
    """Counts its runs, and waits if it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.may_end = threading.Event()
        self.may_end.set()
        self.error: Exception | None = None

    def __call__(self) -> dict[str, str]:
        self.runs += 1
        self.may_end.wait(30)
        if self.error:
            raise self.error
        return {}


def test_callers_share_one_run() -> None:
    check = Check()
    check.may_end.clear()
    shared = SharedCheck(check)

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(shared.problems) for _ in range(8)]
        check.may_end.set()
        problems = [answer.result() for answer in answers]

    assert problems == [{}] * 8
    assert check.runs == 1


def test_it_runs_again_when_the_result_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_check, "INTERVAL_SECONDS", 0)
    check = Check()
    shared = SharedCheck(check)

    shared.problems()
    check.error = StoreUnavailable("away")
    away = shared.problems()
    check.error = None

    assert (away, shared.problems(), check.runs) == ({"database": "away"}, {}, 3)


def test_a_check_that_hangs_is_a_problem_in_time_and_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_check, "ANSWER_SECONDS", 0.05)
    check = Check()
    check.may_end.clear()
    shared = SharedCheck(check)

    begin = time.monotonic()
    problems = [shared.problems() for _ in range(100)]
    took = time.monotonic() - begin
    check.may_end.set()

    assert all("no durable write" in one["database"] for one in problems)
    assert took < 2, "only the first callers wait"
    assert check.runs == 1
    assert eventually(lambda: shared.problems() == {})


def test_a_check_that_is_broken_is_a_problem_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    check = Check()
    check.error = ZeroDivisionError("a secret")

    problems = SharedCheck(check).problems()

    assert problems == {"database": "the health check failed: ZeroDivisionError"}
    assert "the health check failed" in caplog.text


def test_a_forked_process_runs_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    check = Check()
    check.may_end.clear()
    shared = SharedCheck(check)
    caller = threading.Thread(target=shared.problems)
    caller.start()
    assert eventually(lambda: check.runs == 1)

    monkeypatch.setattr(os, "getpid", lambda: -1)
    check.may_end.set()

    assert shared.problems() == {}
    assert check.runs == 2
    caller.join()


def test_closing_waits_for_a_run_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_check, "ANSWER_SECONDS", 0)
    check = Check()
    check.may_end.clear()
    shared = SharedCheck(check)
    shared.problems()

    threading.Timer(0.05, check.may_end.set).start()
    shared.close()

    assert [one.name for one in threading.enumerate() if one.name == "humanuser-health"] == []
