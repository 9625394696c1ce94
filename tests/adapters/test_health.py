"""Readiness tells the truth: a durable write works, and no event waits for too long."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from cluster import NoPostgres, Server, new_schema, own_server
from fakes import eventually
from humanuser import Accepted, By, HumanUserAdded, Sms
from humanuser_adapters.application import Application
from humanuser_adapters.vault import AesGcmVault

ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")
NUMBER = "+41791234567"
IN_TIME = 3.0
"""Seconds within which readiness must answer, whatever the database does."""
PATIENCE_SECONDS = 30


class Sender:
    """Accepts everything."""

    def __init__(self) -> None:
        self.sent: list[Sms] = []

    def send(self, sms: Sms) -> Accepted:
        self.sent.append(sms)
        return Accepted()

    def look_up(self, _: Sms) -> None:
        return None


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

    def test_a_database_that_became_read_only(self, server: Server, on_server: Application) -> None:
        with configured(server, "default_transaction_read_only", "on"):
            noticed = has_a_problem(on_server, text="read-only")

        assert noticed
        assert ready_again(on_server)

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
                noticed = has_a_problem(application, text="permission denied")
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
