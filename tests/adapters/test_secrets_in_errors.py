"""No part of a database's URL, and no row that a database quotes, reaches an error, a log or a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path

import psycopg
import pytest

from humanuser import By, HumanUserAdded, StoreUnavailable, TooMuchContention
from humanuser_adapters.application import Application
from humanuser_adapters.database import RowsClash
from humanuser_adapters.database_name import is_url, postgresql_url
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.settings import Settings
from humanuser_adapters.vault import AesGcmVault
from humanuser_adapters.zitadel.events import zitadel_events

ADDED = HumanUserAdded(user_name="canary")
SECRETS = ("s3cret", "canaryuser", "canaryhost", "canarybase")
BAD = [
    "postgresql+psycopg2://canaryuser:s3cret@canaryhost/canarybase",
    "postgresql+asyncpg://canaryuser:s3cret@canaryhost/canarybase",
    "postgres+asyncpg://canaryuser:s3cret@canaryhost/canarybase",
    "mysql://canaryuser:s3cret@canaryhost/canarybase",
    "sqlite:///canarybase/s3cret",
    "http://canaryuser:s3cret@canaryhost/",
    "file:canarybase?s3cret",
    "jdbc:postgresql://canaryhost/canarybase?user=canaryuser&password=s3cret",
    "postgresql://canaryuser:s3cret%@canaryhost/canarybase",
    "postgresql://canaryuser:s3cret%zz@canaryhost/canarybase",
    "postgresql://canaryuser:s3cret%00@canaryhost/canarybase",
    "postgresql://canaryuser:s3cret@canaryhost:port/canarybase",
    "postgresql://canaryuser:s3cret@canaryhost:99999/canarybase",
    "postgresql://canaryuser:s3cret@canaryhost:0/canarybase",
    "postgresql://canaryuser:s3cr/s3cret@canaryhost/canarybase",
    "postgresql://canaryuser:s3cret@[canaryhost/canarybase",
    "postgresql://canaryuser:s3cret@canaryhost/canary base",
    " postgresql://canaryuser:s3cret@canaryhost/canarybase",
    "postgresql://canaryuser:s3cret@canaryhost/canarybase\n",
    "postgresql:/canaryuser:s3cret@canaryhost/canarybase",
    "postgresql:canaryuser:s3cret@canaryhost",
    "canaryuser:s3cret@canaryhost/canarybase",
    "canaryuser@canaryhost",
    "//canaryuser:s3cret@canaryhost/canarybase",
    "host=canaryhost dbname=canarybase user=canaryuser password=s3cret",
    "password=s3cret",
    "service=canarybase",
    "Server=canaryhost;Uid=canaryuser;Pwd=s3cret",
    "/srv/data password = s3cret",
]
"""Neither a file nor a URL that we take."""
FILES = [
    "humanuser.sqlite",
    "my data.sqlite",
    "100%.sqlite",
    "./a=b.sqlite",
    "./a:b.sqlite",
    "./a@c.sqlite",
    "/srv/host=x/data:1.sqlite",
    "../x.sqlite",
    "C:\\data\\humanuser.sqlite",
]
URLS = [
    "postgresql://canaryuser:s3cret@127.0.0.1:1/canarybase",
    "postgres://canaryuser:s3cret@127.0.0.1:1/canarybase",
    "postgresql+psycopg://canaryuser:s3cret@127.0.0.1:1/canarybase",
    "postgresql://canaryuser:s3cret@127.0.0.1:1,127.0.0.2:1/canarybase",
    "postgresql://canaryuser:s3cret@[::1]:1/canarybase",
    "postgresql://canaryuser:s3cret@/canarybase?host=/canaryhost",
    "postgresql://canaryuser:s3c%2Fret@canaryhost.invalid/canarybase",
    "postgresql://canaryuser:x@s3cret@canaryhost.invalid/canarybase",
]
"""Of databases that are not there."""


def require_no_secret(text: str) -> None:
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize("name", BAD)
def test_what_is_neither_a_file_nor_a_url_is_refused(name: str, tmp_path: Path, vault: AesGcmVault) -> None:
    os.chdir(tmp_path)

    for use in (postgresql_url, lambda name: Settings(database=name), lambda name: Application(name, vault)):
        with pytest.raises(ValueError) as refusal:  # noqa: PT011 - its text is looked at below
            use(name)
        require_no_secret("".join(traceback.format_exception(refusal.value)[-1:]) + repr(refusal.value))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FILES)
def test_a_path_is_a_file(name: str) -> None:
    assert not is_url(name)
    assert Settings(database=name).sqlite_file == Path(name)


@pytest.mark.parametrize("url", URLS)
def test_a_server_that_is_not_there_is_named_in_no_error(url: str, vault: AesGcmVault) -> None:
    assert is_url(url)
    require_no_secret(repr(Settings(database=url)))
    with pytest.raises(StoreUnavailable, match="PostgreSQL: ") as refusal:
        Application(url, vault)
    require_no_secret("".join(traceback.format_exception(refusal.value)) + repr(refusal.value))
    with pytest.raises(StoreUnavailable) as refusal, zitadel_events(postgresql_url(url)):
        pass
    require_no_secret("".join(traceback.format_exception(refusal.value)) + repr(refusal.value))


PROGRAM = f"""
import contextlib, io, os, sys
from typer.testing import CliRunner
from humanuser_adapters.cli.app import app
BAD, URLS = {BAD[::4]!r}, {URLS[:1]!r}
for url in BAD + URLS:
    for arguments in (
        ["status"], ["serve", "--development", "--port", "0"],
        ["user", "add", "ada", "--first-name", "A", "--last-name", "L"],
        ["history", "ada"], ["show", "ada"], ["explain", "ada"], ["verify"], ["rebuild"], ["outbox", "list"],
        ["parked", "list"], ["import", "-"], ["export", "-"],
    ):
        done = CliRunner().invoke(app, [*arguments], env={{"HUMANUSER_DATABASE": url}}, input="")
        print(arguments, done.exit_code, done.output, done.exception if done.exit_code == 1 else "")
        assert done.exit_code, arguments
    for arguments in (
        ["status", "--database", url], ["replay", "--from", url, "--database", "x.sqlite"], ["status", url],
        ["verify", "--zitadel", url, "--database", "x.sqlite"], ["import", url], ["export", url],
        ["status", "--unknown=" + url],
    ):
        done = CliRunner().invoke(app, [*arguments], env={{"HUMANUSER_DATABASE": None}}, input="")
        print(arguments[0], done.exit_code, done.output)
        assert done.exit_code, arguments[0]
"""
"""In one process: it takes long to begin one."""


def test_no_command_shows_a_part_of_a_url(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr
    require_no_secret(done.stdout + done.stderr)
    assert [one.name for one in tmp_path.iterdir() if "canary" in one.name or "=" in one.name] == []


def test_the_row_that_a_database_quotes_is_in_no_error(postgresql: PostgreSQLDatabase) -> None:
    postgresql.migrate("things", (("CREATE TABLE things (phone TEXT UNIQUE, number INTEGER CHECK (number < 3))",),))
    fails: list[tuple[str, tuple[object, ...], type[Exception]]] = [
        ("INSERT INTO things VALUES (?, 1), (?, 2)", ("+41791234567", "+41791234567"), RowsClash),
        ("INSERT INTO things VALUES (?, 5)", ("+41791234567",), RowsClash),
        ("SELECT ?::json", ('{"phone": +41791234567',), StoreUnavailable),
        ("SELECT ?::integer", ("+41791234567x",), StoreUnavailable),
    ]
    for query, values, kind in fails:
        with pytest.raises(kind) as error, postgresql.write() as connection:
            connection.execute(query, values)
        shown = "".join(traceback.format_exception(error.value)) + repr(error.value)
        assert "41791234567" not in shown
        assert "SQLSTATE" in str(error.value)


def test_an_append_that_a_database_refuses_shows_no_payload(postgresql_url: str, vault: AesGcmVault) -> None:
    with Application(postgresql_url, vault) as application, psycopg.connect(postgresql_url, autocommit=True) as host:
        host.execute("ALTER TABLE humanuser_events ADD CHECK (aggregate_id <> 'ada')")
        with pytest.raises(TooMuchContention) as error:
            application.commands.add_human_user("ada", ADDED, phone="+41791234567", by=By("admin", organization="acme"))
    shown = "".join(traceback.format_exception(error.value)) + repr(error.value)
    assert "Failing row" not in shown
    assert "canary" not in shown


def test_an_unknown_parameter_of_a_url_is_not_shown(vault: AesGcmVault) -> None:
    with pytest.raises(ValueError, match="unknown parameter") as refusal:
        Application("postgresql://canaryuser:s3cret@canaryhost/canarybase?canarybase=s3cret", vault)

    require_no_secret("".join(traceback.format_exception(refusal.value)[-1:]) + repr(refusal.value))


def test_a_provider_of_sms_is_not_in_what_settings_show() -> None:
    shown = repr(
        Settings(webhook_url="https://canaryhost/s3cret", twilio_url="https://canaryhost", database="x.sqlite")
    )

    require_no_secret(shown)
