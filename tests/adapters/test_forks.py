"""A process that forks: gunicorn's ``--preload``, ``multiprocessing``, and what is open meanwhile."""

from __future__ import annotations

import copy
import http.client
import json
import os
import pickle
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import forking
from fakes import eventually
from humanuser_adapters.application import Application
from humanuser_adapters.async_application import AsyncApplication

EVERYWHERE = [
    forking.children_and_their_parent_read_at_once,
    forking.children_write_close_and_exit_while_their_parent_works,
    forking.a_grandchild_reads,
    forking.a_child_outlives_its_parents_database,
    forking.background_work_starts_in_a_child,
    forking.background_work_of_the_parent_goes_on,
    forking.a_child_hears_its_parent,
    forking.a_transaction_of_another_thread_stays_the_parents,
    forking.a_fork_waits_for_a_short_transaction,
    forking.threads_fork_at_once,
    forking.a_fork_inside_of_a_transaction_leaves_it_to_the_parent,
    forking.a_fork_that_python_does_not_know_of_is_refused,
    forking.coroutines_are_awaited_in_a_child,
    forking.multiprocessing_forks,
    forking.multiprocessing_spawns,
]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The name of a database with nothing in it."""
    if request.param == "sqlite":
        return str(tmp_path / "test.sqlite")
    url: str = request.getfixturevalue("postgresql_url")
    return url


def run(scenario: str, *arguments: str) -> None:
    """All is well in a process of its own, and in its children."""
    done = subprocess.run(
        [sys.executable, forking.__file__, scenario, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("scenario", EVERYWHERE, ids=lambda scenario: scenario.__name__)
def test_across_a_fork(scenario: forking.Scenario, database: str, tmp_path: Path) -> None:
    run(scenario.__name__, database, str(tmp_path / "sms.txt"))


def test_the_sessions_of_the_parent_stay_its_own(postgresql_url: str) -> None:
    run("sessions_of_the_parent_stay", postgresql_url)


def test_workers_of_gunicorn_preload_answer_with_the_users_own_phone(database: str, tmp_path: Path) -> None:
    sock = tmp_path / "s"
    command = [
        *(sys.executable, "-m", "gunicorn", "--preload", "--workers", "3", "--threads", "2", "--no-control-socket"),
        *("--bind", f"unix:{sock}", "--chdir", str(Path(forking.__file__).parent), "preloaded:app"),
    ]
    server = subprocess.Popen(
        command, env=os.environ | {"PRELOADED_DATABASE": database}, stderr=subprocess.PIPE, text=True
    )

    def ask(number: int) -> tuple[bool, int]:
        with socket.socket(socket.AF_UNIX) as connected:
            connected.connect(str(sock))
            connection = http.client.HTTPConnection("localhost")
            connection.sock = connected
            connection.request("GET", f"/user{number}", headers={"Connection": "close"})
            answer = json.loads(connection.getresponse().read())
        return answer["phone"] == f"+417912345{number}", answer["process"]

    try:
        assert eventually(lambda: _listens(sock), seconds=60), server.poll()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, [number for _ in range(40) for number in forking.USERS]))
    finally:
        server.terminate()
        errors = server.communicate(timeout=60)[1]

    assert Counter(right for right, _ in answers) == {True: 40 * len(forking.USERS)}, errors
    assert len({process for _, process in answers} - {server.pid}) > 1


def _listens(sock: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connected:
        return connected.connect_ex(str(sock)) == 0


def test_locks_are_free_in_a_child() -> None:
    run("locks_are_free_in_a_child", "")


def test_an_application_belongs_to_its_process(application: Application) -> None:
    for one in (application, application.commands, AsyncApplication(application)):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            pickle.dumps(one)
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        copy.deepcopy(application)
