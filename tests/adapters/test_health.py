"""Readiness tells the truth: a durable write works, and no event waits for too long."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx2
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cluster import NoPostgres, Server, new_schema, own_server
from fakes import Sender, eventually
from humanuser import By, HumanUserAdded
from humanuser_adapters.application import Application
from humanuser_adapters.vault import AesGcmVault

ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")
IN_TIME = 3.0
"""Seconds within which readiness must answer, whatever the database does."""
PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL server that commits as durably as it is told to."""
    try:
        with own_server(("fsync=off", "full_page_writes=off", "max_prepared_transactions=5")) as running:
            yield running
    except NoPostgres as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must test PostgreSQL: {error}")
        pytest.skip(f"NO POSTGRESQL: {error}")


@pytest.fixture
def url(server: Server) -> str:
    return new_schema(server.url)


@pytest.fixture
def on_server(url: str, vault: AesGcmVault) -> Iterator[Application]:
    """An application that was ready a moment ago."""
    with Application(url, vault, sender=Sender()) as application:
        application.start()
        assert ready_again(application)
        yield application


@contextmanager
def configured(server: Server, setting: str, value: str) -> Iterator[None]:
    """A setting of the whole server, while the block runs."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = local")
        connection.execute("SET default_transaction_read_only = off")
        try:
            connection.execute(f"ALTER SYSTEM SET {setting} = '{value}'")
            connection.execute("SELECT pg_reload_conf()")
            yield
        finally:
            connection.execute(f"ALTER SYSTEM RESET {setting}")
            connection.execute("SELECT pg_reload_conf()")


def asked(application: Application) -> dict[str, str]:
    """The problems, which must be reported in time."""
    begin = time.monotonic()
    problems = application.problems()
    assert time.monotonic() - begin < IN_TIME
    return problems


def has_a_problem(application: Application, part: str = "database", text: str = "") -> bool:
    return eventually(lambda: text in asked(application).get(part, "\0"), seconds=PATIENCE_SECONDS)


def ready_again(application: Application) -> bool:
    return eventually(lambda: asked(application) == {}, seconds=PATIENCE_SECONDS)


class TestSQLite:
    @pytest.fixture
    def application(self, tmp_path: Path, vault: AesGcmVault) -> Iterator[Application]:
        with Application(tmp_path / "test.sqlite", vault) as application:
            application.start()
            assert ready_again(application)
            yield application

    def test_a_transaction_of_somebody_else_that_stays_open(self, application: Application, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "test.sqlite", isolation_level=None)) as host:
            host.execute("BEGIN IMMEDIATE")

            noticed = has_a_problem(application)

            host.execute("ROLLBACK")
        assert noticed
        assert ready_again(application)

    def test_files_that_cannot_grow(self, application: Application) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            noticed = has_a_problem(application)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

        assert noticed
        assert ready_again(application)

    def test_a_table_of_events_that_is_away(self, application: Application, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "test.sqlite")) as operator:
            operator.execute("ALTER TABLE humanuser_events RENAME TO elsewhere")

            noticed = has_a_problem(application, text="no such table")

            operator.execute("ALTER TABLE elsewhere RENAME TO humanuser_events")
        assert noticed
        assert ready_again(application)

    def test_nothing_is_written_unless_somebody_asks(self, application: Application, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "test.sqlite")) as connection:
            look = "PRAGMA data_version"
            time.sleep(0.3)
            before = connection.execute(look).fetchone()
            time.sleep(1.5)
            assert connection.execute(look).fetchone() == before

            asked(application)

            assert connection.execute(look).fetchone() != before


class TestPostgreSQL:
    def test_a_synchronous_standby_that_is_away(self, server: Server, on_server: Application) -> None:
        with configured(server, "synchronous_standby_names", "absent"):
            noticed = has_a_problem(on_server, text="no durable write")
            until = time.monotonic() + 3
            while time.monotonic() < until:
                asked(on_server)
            with psycopg.connect(server.url) as connection:
                query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                waiting = connection.execute(query).fetchone()

        assert noticed
        assert waiting == (1,)
        assert ready_again(on_server)

    def test_a_write_that_is_given_up_is_ended_in_the_server(
        self, server: Server, url: str, vault: AesGcmVault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("humanuser_adapters.postgresql.PATIENCE_FOR_PROBE", timedelta(seconds=0.5))
        with Application(url, vault) as application:
            application.start()
            assert ready_again(application)
            with configured(server, "synchronous_standby_names", "absent"):
                for _ in range(3):
                    assert has_a_problem(application)
                    time.sleep(1)
                with psycopg.connect(server.url) as connection:
                    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                    waiting = eventually(lambda: connection.execute(query).fetchone() == (0,))
        assert waiting

    def test_a_server_that_is_frozen(self, server: Server, on_server: Application) -> None:
        server.signal(signal.SIGSTOP)
        try:
            noticed = has_a_problem(on_server)
        finally:
            server.signal(signal.SIGCONT)

        assert noticed
        assert ready_again(on_server)

    def test_a_privilege_that_was_lost(self, server: Server, url: str, vault: AesGcmVault) -> None:
        schema = url.rpartition("%3D")[2]
        role = f"role_{schema}"
        with Application(url, vault), psycopg.connect(server.url, autocommit=True) as owner:
            owner.execute(
                f"CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA {schema} TO {role};"
                f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role};"
                f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
            )
            with Application(url.replace("postgres:unused", role), vault) as application:
                application.start()
                assert ready_again(application)
                owner.execute(f"REVOKE INSERT ON {schema}.humanuser_events FROM {role}")
                noticed = has_a_problem(application, text="insufficient privilege")
                owner.execute(f"GRANT INSERT ON {schema}.humanuser_events TO {role}")
                assert ready_again(application)
        assert noticed

    @pytest.mark.parametrize(
        "lock",
        [
            "LOCK TABLE humanuser_events IN ACCESS EXCLUSIVE MODE",
            """SELECT pg_advisory_xact_lock('humanuser_positions'::regclass::oid::bigint::bit(32)::integer,
               (SELECT last_value - (NOT is_called)::integer FROM humanuser_positions)::bit(32)::integer)""",
        ],
    )
    def test_a_lock_that_appends_wait_for(self, url: str, on_server: Application, lock: str) -> None:
        with psycopg.connect(url) as operator:
            operator.execute(lock)
            noticed = has_a_problem(on_server, text="lock")

        assert noticed
        assert ready_again(on_server)

    def test_nobody_is_notified(self, url: str, on_server: Application) -> None:
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("LISTEN humanuser")
            list(other.notifies(timeout=0.5))  # of what was written at first
            asked(on_server)
            time.sleep(1.1)
            asked(on_server)

            assert list(other.notifies(timeout=0.5)) == []


@dataclass
class Served:
    """A running ``humanuser serve``."""

    process: subprocess.Popen[str]
    url: str

    def readiness(self) -> tuple[int, Any]:  # the answer's JSON
        """The status and the answer of ``/readyz``, which must come in time."""
        begin = time.monotonic()
        answer = httpx2.get(f"{self.url}/readyz", trust_env=False, timeout=10)
        assert time.monotonic() - begin < IN_TIME
        return answer.status_code, answer.json()

    def grpc_status(self) -> int:
        with grpc.insecure_channel(self.url.removeprefix("http://")) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)  # Any: its types lack its method
            status: int = health.Check(health_pb2.HealthCheckRequest(), timeout=10).status
        return status

    def becomes(self, status: int) -> bool:
        return eventually(lambda: self.readiness()[0] == status, seconds=PATIENCE_SECONDS)


@contextmanager
def served(folder: Path, *arguments: str, before: Sequence[str] = (), **environment: str) -> Iterator[Served]:
    """A server that is ready, for as long as the block runs. *before* is what runs its command."""
    command = [*before, sys.executable, "-m", "humanuser_adapters.cli", "serve", "--json", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--development", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        server = Served(process, json.loads(process.stdout.readline())["url"])
        assert server.becomes(200)
        yield server
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


class TestServer:
    def test_a_file_system_that_is_full(self, tmp_path: Path) -> None:
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            pytest.skip("NO SMALL FILE SYSTEM: only root may mount one")
        place = tmp_path / "small"
        place.mkdir()
        script = 'mount -t tmpfs -o size=2m small "$0" && cd "$0" && exec "$@"'
        with served(tmp_path, before=["unshare", "-m", "sh", "-c", script, str(place)]) as server:
            there = Path(f"/proc/{server.process.pid}/root{place}")  # the file system is in no other name space
            with (there / "filling").open("wb", buffering=0) as filling, contextlib.suppress(OSError):
                while filling.write(bytes(4096)):
                    pass

            full = server.becomes(503), server.readiness(), server.grpc_status()
            (there / "filling").unlink()

            assert full == (
                True,
                (503, {"ready": False, "problems": ["database"]}),
                health_pb2.HealthCheckResponse.NOT_SERVING,
            )
            assert server.becomes(200)
            assert server.grpc_status() == health_pb2.HealthCheckResponse.SERVING

    def test_a_file_that_cannot_grow(self, tmp_path: Path) -> None:
        with served(tmp_path) as server:
            before = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
            full = server.becomes(503)
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)

            assert full
            assert server.becomes(200)

    def test_a_synchronous_standby_that_is_away(self, server: Server, url: str, tmp_path: Path) -> None:
        with served(tmp_path, "--database", url, HUMANUSER_CODE_KEYS=f"key1:{'A' * 43}=") as serving:
            with configured(server, "synchronous_standby_names", "absent"):
                away = serving.becomes(503), serving.grpc_status()

            assert away == (True, health_pb2.HealthCheckResponse.NOT_SERVING)
            assert serving.becomes(200)

    def test_a_host_that_does_not_commit(self, url: str, vault: AesGcmVault, tmp_path: Path) -> None:
        settings = {"HUMANUSER_CODE_KEYS": f"key1:{'A' * 43}=", "HUMANUSER_STANDSTILL_SECONDS": "1"}
        with (
            served(tmp_path, "--database", url, **settings) as serving,
            Application(url, vault) as application,
            psycopg.connect(url) as host,
        ):
            application.within(host).commands.add_human_user("ada", ADDED, by=ADMIN)
            stands = serving.becomes(503), serving.readiness()
            host.commit()

            assert stands == (True, (503, {"ready": False, "problems": ["log"]}))
            assert serving.becomes(200)

    def test_watching_health_over_grpc_reports_each_change(self, tmp_path: Path) -> None:
        with served(tmp_path) as server, grpc.insecure_channel(server.url.removeprefix("http://")) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)  # Any: its types lack its method
            watching = health.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS)
            unknown = next(health.Watch(health_pb2.HealthCheckRequest(service="none"), timeout=10)).status
            with pytest.raises(grpc.RpcError) as refused:
                health.Check(health_pb2.HealthCheckRequest(service="none"), timeout=10)
            statuses = [next(watching).status]
            with closing(sqlite3.connect(tmp_path / "humanuser.sqlite", isolation_level=None)) as host:
                host.execute("BEGIN IMMEDIATE")
                statuses.append(next(watching).status)
                host.execute("ROLLBACK")
            statuses.append(next(watching).status)
            watching.cancel()

        ended: Any = refused.value
        answers = health_pb2.HealthCheckResponse
        assert statuses == [answers.SERVING, answers.NOT_SERVING, answers.SERVING]
        assert (unknown, ended.code()) == (answers.SERVICE_UNKNOWN, grpc.StatusCode.NOT_FOUND)
