"""A counter of positions that is behind the stored rows, as a copy without sequences leaves it, is raised to them."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from command_line import Cli
from fakes import eventually
from humanuser import By, HumanUserAdded, StoreUnavailable
from humanuser_adapters.application import Application
from humanuser_adapters.vault import AesGcmVault

ADMIN = By("admin", organization="acme")
ADDED = HumanUserAdded(user_name="ada")
PHONE = "+41791234567"

SetBack = Callable[[], None]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "humanuser.sqlite")
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def set_back(database: str) -> SetBack:
    """Leave the counter as a copy without it would."""

    def on_sqlite() -> None:
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("DELETE FROM sqlite_sequence")
            connection.execute("UPDATE humanuser_subscriptions SET position = position + 10")

    def on_postgresql() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("ALTER SEQUENCE humanuser_positions RESTART")

    return on_postgresql if "://" in database else on_sqlite


def fill(application: Application) -> None:
    for number in range(3):
        application.commands.add_human_user(f"user{number}", ADDED, by=ADMIN)
    application.take_in()
    application.deliveries()


def everybody_is_followed(application: Application, user_id: str) -> None:
    application.commands.add_human_user(user_id, ADDED, phone=PHONE, by=ADMIN)
    application.take_in()
    assert application.find_user(user_id) is not None
    assert user_id in {one.notification.user_id for one in application.deliveries()}
    assert application.differences() == []
    assert application.subscriptions()["users"].position() <= application.head()


def test_positions_are_repaired_at_the_start(
    database: str, set_back: SetBack, vault: AesGcmVault, caplog: pytest.LogCaptureFixture
) -> None:
    with Application(database, vault) as application:
        fill(application)
    set_back()

    with caplog.at_level(logging.WARNING), Application(database, vault, instance_id="another") as application:
        assert "positions were behind those in use" in caplog.text
        assert application.repair_positions() == 0
        everybody_is_followed(application, "ada")


def test_positions_are_noticed_and_repaired_while_it_runs(database: str, set_back: SetBack, vault: AesGcmVault) -> None:
    with Application(database, vault) as application:
        fill(application)
        set_back()
        assert "run `humanuser repair-positions`" in application.problems()["positions"]

        application.start()

        assert eventually(lambda: application.problems() == {})
        everybody_is_followed(application, "ada")


def test_nothing_is_repaired_where_nothing_is_behind(
    database: str, vault: AesGcmVault, caplog: pytest.LogCaptureFixture
) -> None:
    with Application(database, vault) as application:
        assert application.repair_positions() == 0
        fill(application)
        assert application.repair_positions() == 0
    assert caplog.text == ""


def test_a_command_repairs_positions(cli: Cli) -> None:
    cli.add()
    with closing(sqlite3.connect(cli.database, isolation_level=None)) as connection:
        connection.execute("UPDATE humanuser_subscriptions SET position = position + 10")

    assert cli("repair-positions", "--json").json["head"] > 0
    with closing(sqlite3.connect(cli.database)) as connection:
        ((counter,),) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'humanuser_events'")
        ((position,),) = connection.execute("SELECT max(position) FROM humanuser_subscriptions")
    assert counter == position


def test_a_repair_waits_for_an_append_under_way(
    postgresql_url: str, vault: AesGcmVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("humanuser_adapters.event_store.postgresql.REPAIR_SECONDS", 1)
    with Application(postgresql_url, vault) as application, psycopg.connect(postgresql_url) as host:
        fill(application)
        application.within(host).commands.add_human_user("late", ADDED, by=ADMIN)
        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            connection.execute("SELECT setval('humanuser_positions', 1)")

        with pytest.raises(StoreUnavailable, match="run `humanuser repair-positions`"):
            application.repair_positions()
        host.rollback()
        assert application.repair_positions() > 0


def test_a_role_that_must_not_repair_is_told_the_command(postgresql_url: str, vault: AesGcmVault) -> None:
    with Application(postgresql_url, vault) as application:
        fill(application)
    role = "reader_" + postgresql_url.rpartition("_")[2]
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        schema = connection.execute("SELECT current_schema()").fetchone()[0]  # type: ignore[index]
        connection.execute("SELECT setval('humanuser_positions', 1)")
        connection.execute(
            f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role};"
            f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema} TO {role};"
            f"GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
        )

    with pytest.raises(StoreUnavailable, match="run `humanuser repair-positions`"):
        Application(postgresql_url.replace("postgres:unused", role), vault)
