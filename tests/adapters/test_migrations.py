"""Databases of earlier and of later releases."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes import FakeClock, store_on
from humanuser import By, CommandIdReused, Commands, HumanUserAdded, StoreUnavailable
from humanuser_adapters.application import Application
from humanuser_adapters.cli.app import app
from humanuser_adapters.database import Database, text_of_time
from humanuser_adapters.event_store import SQLiteEventRecorder
from humanuser_adapters.event_store.postgresql import PostgreSQLEventRecorder
from humanuser_adapters.outbox import SCHEMA, OpenSms, Outbox, State
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.vault import AesGcmVault, draw_code

COMPONENTS = ("events", "subscriptions", "read_models", "outbox")


def leave_as_a_newer_release_would(database: Database, component: str) -> None:
    with database.write() as connection:
        query = "UPDATE humanuser_schema_versions SET version = 99 WHERE component = ?"
        assert connection.execute(query, (component,)).rowcount == 1


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_database_of_a_newer_release_is_refused_at_start(
    application: Application, tmp_path: Path, vault: AesGcmVault, component: str
) -> None:
    application.close()
    leave_as_a_newer_release_would(SQLiteDatabase(tmp_path / "test.sqlite"), component)

    with pytest.raises(StoreUnavailable, match=f"written by a newer release: {component} is at 99"):
        Application(tmp_path / "test.sqlite", vault)


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_postgresql_database_of_a_newer_release_is_refused_at_start(
    postgresql: PostgreSQLDatabase, postgresql_url: str, vault: AesGcmVault, component: str
) -> None:
    Application(postgresql_url, vault).close()
    leave_as_a_newer_release_would(postgresql, component)

    with pytest.raises(StoreUnavailable, match=f"written by a newer release: {component} is at 99"):
        Application(postgresql_url, vault)


@pytest.mark.parametrize("command", ["serve --development", "status", "history ada"])
def test_the_command_line_says_in_one_line_that_the_database_is_newer(
    application: Application, tmp_path: Path, command: str
) -> None:
    application.close()
    leave_as_a_newer_release_would(SQLiteDatabase(tmp_path / "test.sqlite"), "outbox")

    answer = CliRunner().invoke(app, [*command.split(), "--database", str(tmp_path / "test.sqlite")])

    assert answer.exit_code == 3
    assert answer.stderr == "error: the database was written by a newer release: outbox is at 99\n"


def test_events_of_the_release_before_are_kept_and_their_command_ids_stay_taken(
    any_database: Database, vault: AesGcmVault, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = SQLiteEventRecorder if isinstance(any_database, SQLiteDatabase) else PostgreSQLEventRecorder
    with monkeypatch.context() as before:
        before.setattr(kind, "SCHEMA", kind.SCHEMA[:2])
        kind(any_database)
    with any_database.write() as connection:
        connection.execute(
            "INSERT INTO humanuser_events (position, instance_id, aggregate_type, aggregate_id, sequence, event_type, "
            "revision, created_at, creator, owner, payload, in_tx_order, command_id) VALUES (1, 'default', 'user', "
            "'ada', 1, 'user.human.added', 2, '2026-05-10T12:00:00+00:00', 'admin', 'org1', '{\"userName\": \"ada\"}', "
            "1, 'command1')"
        )
        if kind is PostgreSQLEventRecorder:
            connection.execute("SELECT nextval('humanuser_positions')")
    store = store_on(any_database)
    commands = Commands(store, vault, clock, draw_code)

    with pytest.raises(CommandIdReused):
        commands.add_human_user("ada", HumanUserAdded(user_name="ada"), by=By("admin", "org1", "command1"))
    commands.change_phone("ada", "+41791234567", by=By("admin", "org1", "command2"))

    assert [one.sequence for one in store.load("default", "ada")] == [1, 2, 3]
    assert commands.change_phone("ada", "+41791234567", by=By("admin", "org1", "command2")).sequence == 3


def test_an_outbox_of_the_release_before_goes_on_with_its_sms(
    any_database: Database, vault: AesGcmVault, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_on(any_database)
    with monkeypatch.context() as before:
        before.setattr("humanuser_adapters.outbox.SCHEMA", SCHEMA[:1])
        Outbox(any_database)
    profile = HumanUserAdded(user_name="ada")
    Commands(store, vault, clock, draw_code).add_human_user("ada", profile, phone="+41791234567", by=By("a", "org1"))
    with any_database.write() as connection:
        connection.execute(
            "INSERT INTO humanuser_outbox (message_id, position, instance_id, user_id, code_sequence, state, due_at) "
            "VALUES ('message1', 2, 'default', 'ada', 2, 'due', ?)",
            (text_of_time(clock()),),
        )

    outbox = Outbox(any_database, lambda _: clock())

    assert outbox.open("default") == {State.DUE: OpenSms(count=1, oldest=2)}
    assert outbox.drop_stale("default") == {}
    assert outbox.claim("default") is not None
