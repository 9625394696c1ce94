"""What all tests share."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings

from humanuser import Policy
from humanuser.testing import AT
from humanuser_adapters.application import Application
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=300, derandomize=True, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


class FakeClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        """Let time pass: ``advance(minutes=10)``."""
        self.now += timedelta(**span)


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
