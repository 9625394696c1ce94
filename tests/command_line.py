"""The command line, run by tests in a folder of its own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from humanuser import CodeOwner, PhoneVerificationCodeAdded
from humanuser_adapters.application import Application
from humanuser_adapters.cli.app import app
from humanuser_adapters.vault import AesGcmVault, Keys


@dataclass
class Answer:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:  # whatever was answered
        assert self.stdout.count("\n") == 1, "JSON for programs is one line"
        return json.loads(self.stdout)

    @property
    def fields(self) -> dict[str, str]:
        """What was answered for people, as names and values."""
        return {name: value.strip() for name, _, value in (line.partition(" ") for line in self.stdout.splitlines())}


class Cli:
    """Runs ``humanuser`` in a folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.database = home / "humanuser.sqlite"
        self.shown = ""

    def __call__(self, *arguments: str) -> Answer:
        result = CliRunner().invoke(app, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.shown += result.output
        return Answer(result.exit_code, result.stdout, result.stderr)

    def add(self, *more: str, user_id: str = "ada") -> Answer:
        return self("user", "add", "ada", "--first-name", "Ada", "--last-name", "Lovelace", "--id", user_id, *more)

    def codes(self, user_id: str = "ada") -> list[str]:
        """The codes of the user, opened with the key beside the database."""
        vault = AesGcmVault(Keys.of_file(self.home / "humanuser.sqlite.keys"))
        with Application(self.database, vault) as application:
            events = [recorded.event for recorded in application.history(user_id)]
        sealed = [event.code for event in events if isinstance(event, PhoneVerificationCodeAdded) and event.code]
        return [vault.open(one, CodeOwner("default", user_id)).characters for one in sealed]


def cli_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line where nothing is, with no settings but the defaults."""
    for name in [name for name in os.environ if name.upper().startswith("HUMANUSER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(home)
    return Cli(home)


def words(text: str) -> str:
    """*text* without its lines and margins."""
    return " ".join(text.split())
