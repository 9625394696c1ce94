"""The proof about guesses, in small, and that it notices what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from humanuser import By, CodeInvalid, Commands
from reliability.guesses import RIGHT, guess


def failed(database: str, **more: object) -> set[str]:
    return {figure.what for figure in guess(database, 100, **more) if not figure.holds}  # type: ignore[arg-type]


def test_no_more_guesses_are_answered_than_the_limit(tmp_path: Path) -> None:
    assert failed(str(tmp_path / "test.sqlite")) == set()


def test_no_more_guesses_are_answered_than_the_limit_on_postgresql(postgresql_url: str) -> None:
    assert failed(postgresql_url) == set()


def test_answers_before_they_are_counted_are_noticed(tmp_path: Path) -> None:
    def verify(_: Commands, __: str) -> None:
        raise CodeInvalid

    assert "guesses answered" in failed(str(tmp_path / "test.sqlite"), verify=verify)


def test_a_code_that_lives_on_is_noticed(tmp_path: Path) -> None:
    def verify(commands: Commands, _: str) -> object:
        return commands.verify_phone("ada", RIGHT, by=By("ada"))

    assert "guesses that got in" in failed(str(tmp_path / "test.sqlite"), verify=verify)


@pytest.fixture(autouse=True)
def _fewer_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reliability.guesses.GUESSERS", 50)
