"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fakes import FakeClock
from humanuser import Policy
from humanuser_adapters.application import Application
from humanuser_adapters.sqlite import Database
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=300, derandomize=True, deadline=None, print_blob=True)
settings.register_profile("mutants", max_examples=5, derandomize=True, database=None, deadline=None)
settings.register_profile("deep", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(autouse=True)
def _databases_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close every database that a test opened."""
    opened: list[Database] = []
    init = Database.__init__

    def remember(database: Database, *args: Any, **kwargs: Any) -> None:  # Any: whatever the constructor takes
        init(database, *args, **kwargs)
        opened.append(database)

    monkeypatch.setattr(Database, "__init__", remember)
    yield
    for database in opened:
        database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def vault() -> AesGcmVault:
    return AesGcmVault(Keys("key1", {"key1": bytes(KEY_BYTES)}))


@pytest.fixture
def application(tmp_path: Path, vault: AesGcmVault, clock: FakeClock) -> Application:
    """The whole on a new file, with a clock that stands still, and nobody to send SMS."""
    return Application(tmp_path / "test.sqlite", vault, clock=clock, policy=Policy.recommended())
