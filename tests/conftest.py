"""What all tests share."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from fakes import FakeClock
from humanuser import Policy
from humanuser_adapters.application import Application
from humanuser_adapters.database import Database
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys
from servers import postgresql_server, postgresql_url

if TYPE_CHECKING:
    from command_line import Cli

__all__ = ["postgresql_server", "postgresql_url"]  # fixtures

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=300, derandomize=True, deadline=None, print_blob=True)
settings.register_profile("mutants", max_examples=5, derandomize=True, database=None, deadline=None)
settings.register_profile("deep", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

# In the background of a shell SIGINT may be ignored, which the commands that tests interrupt would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _databases_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close every database that a test opened."""
    opened: list[Database] = []

    def remembering(kind: type) -> Callable[..., None]:
        init = kind.__init__  # type: ignore[misc]  # of a class of ours

        @functools.wraps(init)
        def remember(database: Any, *args: Any, **kwargs: Any) -> None:  # Any: whatever the constructor takes
            init(database, *args, **kwargs)
            opened.append(database)

        return remember

    for kind in (SQLiteDatabase, PostgreSQLDatabase):
        monkeypatch.setattr(kind, "__init__", remembering(kind))
    yield
    for database in opened:
        database.close()


@pytest.fixture
def postgresql(postgresql_url: str) -> PostgreSQLDatabase:
    """A database with nothing in it, that waits longer than a busy machine of tests takes."""
    return PostgreSQLDatabase(postgresql_url, patience=timedelta(seconds=10))


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database with nothing in it, of each kind."""
    if request.param == "sqlite":
        return SQLiteDatabase(tmp_path / "test.sqlite")
    database: Database = request.getfixturevalue("postgresql")
    return database


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not tested; read from the reports, because workers have a memory of their own."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = {report.longrepr[2] for report in reports if isinstance(report.longrepr, tuple)}
    if missing := sorted(reason for reason in reasons if "NO POSTGRESQL" in reason):
        terminalreporter.section("NO REAL POSTGRESQL WAS TESTED", sep="!", red=True, bold=True)
        for reason in missing:
            terminalreporter.line(reason)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def vault() -> AesGcmVault:
    return AesGcmVault(Keys("key1", {"key1": bytes(KEY_BYTES)}))


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """``humanuser`` in a folder with nothing in it, and without settings."""
    from command_line import Cli  # noqa: PLC0415 - most tests do without the parts it is slow to import

    for name in [name for name in os.environ if name.upper().startswith("HUMANUSER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return Cli(tmp_path)


@pytest.fixture
def application(tmp_path: Path, vault: AesGcmVault, clock: FakeClock) -> Application:
    """The whole on a new file, with a clock that stands still, and nobody to send SMS."""
    return Application(tmp_path / "test.sqlite", vault, clock=clock, policy=Policy.recommended())
