"""The proof about secrets, in small, and that it notices what it is for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from reliability.proof import Effort
from reliability.secrets_hidden import Life, run


def test_no_secret_shows_whatever_goes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Effort, "of", lambda *_, **__: 1)

    figures = list(run(Effort(quick=True, seed=1)))

    assert [figure for figure in figures if not figure.holds] == []
    assert [figure.measured for figure in figures if "planted" in figure.what] == [2, 2]


@pytest.mark.parametrize("leak", ["code", "admin token", "webhook key", "code key in hex"])
def test_a_secret_that_shows_is_noticed(tmp_path: Path, leak: str) -> None:
    life = Life(tmp_path, str(tmp_path / "life.sqlite"), random.Random(1))  # noqa: S311 - the same every time
    (tmp_path / "life.sqlite").touch()
    life.secrets["code 12345678901234567890"] = "12345678901234567890"
    name = "code 12345678901234567890" if leak == "code" else leak
    assert life.hits() == []

    (tmp_path / "server.log").write_text(f"INFO sent {life.secrets[name]}")

    assert life.hits() == [("server.log", name)]
