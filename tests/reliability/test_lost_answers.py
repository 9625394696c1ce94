"""The proof about lost answers, in small, and that it notices what it is for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from cluster import Server, own_server
from humanuser_adapters.event_store.postgresql import PostgreSQLEventRecorder
from reliability.lost_answers import lose_answers


@pytest.fixture
def server() -> Iterator[Server]:
    with own_server() as server:
        yield server


def test_a_command_whose_answer_was_lost_takes_effect_once(server: Server) -> None:
    figures = list(lose_answers(server, 200, seed=1, slow_commits=0.03))

    assert [figure for figure in figures if not figure.holds] == []
    assert all(figure.measured > 0 for figure in figures[:4])


def test_a_client_that_gives_another_id_is_noticed(server: Server) -> None:
    figures = lose_answers(server, 200, seed=1, name=lambda user, turn, attempt: f"{user}-{turn}-{attempt}")

    assert {figure.what for figure in figures if not figure.holds} >= {
        "commands refused for what they had done themselves"
    }


def test_an_answer_made_of_what_was_decided_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found under the command id is taken for what this call stored."""
    settle = PostgreSQLEventRecorder._settle  # noqa: SLF001 - a fault in it

    def guess(self: PostgreSQLEventRecorder, *arguments: Any, drawn: bool) -> Sequence[int]:  # noqa: ARG001
        return settle(self, *arguments, drawn=True)

    monkeypatch.setattr(PostgreSQLEventRecorder, "_settle", guess)

    figures = lose_answers(server, 200, seed=1, slow_commits=0.1)

    assert "answers that say something else than what is stored" in {
        figure.what for figure in figures if not figure.holds
    }
