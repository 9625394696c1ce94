"""The proof about answers of the server, in small, and that it notices what it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reliability.served import EVENTS, Answer, Command, Seen, judge, serve

AT = datetime(2026, 5, 10, 12, tzinfo=UTC)
PHONE = "+41791234567"


def rows_of(kind: str, *, first: int = 1, phone: str = PHONE, user_id: str = "1", command: str = "c") -> list[Any]:
    return [
        (user_id, sequence, event, AT, "acme", {"phone": phone} if event.endswith("changed") else {}, command)
        for sequence, event in enumerate(EVENTS[kind], first)
    ]


def answered(sequence: int, *, date: datetime = AT, code: str = "123456") -> Answer:
    details = {"sequence": str(sequence), "changeDate": date.isoformat(), "resourceOwner": "acme"}
    return Answer(200, {"details": details, "verificationCode": code})


def failed(seen: Seen, rows: Sequence[Any]) -> set[str]:
    return {figure.what for figure in judge(seen, rows) if not figure.holds}


SET = Command("key", "set", "1", PHONE, [answered(2), answered(2)])


def test_answers_of_a_disturbed_server_are_what_is_stored(tmp_path: Path) -> None:
    figures = list(serve(tmp_path, str(tmp_path / "served.sqlite"), None, 60, seed=1))

    assert [figure for figure in figures if not figure.holds] == []


def test_a_client_that_repeats_under_another_key_is_noticed(tmp_path: Path) -> None:
    figures = serve(
        tmp_path, str(tmp_path / "served.sqlite"), None, 12, seed=1, key_of=lambda key, attempt: f"{key}-{attempt}"
    )

    assert "commands that took effect twice" in {figure.what for figure in figures if not figure.holds}


def test_true_answers_hold() -> None:
    assert failed(Seen([SET]), rows_of("set")) == set()


@pytest.mark.parametrize(
    ("command", "rows", "found"),
    [
        (SET, [], "acknowledged commands lost"),
        (SET, rows_of("set", user_id="2"), "acknowledged commands lost"),
        (SET, rows_of("set", phone="+41791234568"), "answers other than what is stored"),
        (SET, rows_of("vouch"), "answers other than what is stored"),
        (
            replace(SET, answers=[answered(2, date=AT.replace(second=1))]),
            rows_of("set"),
            "answers other than what is stored",
        ),
        (
            replace(SET, answers=[answered(2), answered(2, code="654321")]),
            rows_of("set"),
            "repeated commands with two different answers",
        ),
        (
            replace(SET, answers=[Answer(400, {"code": 9})]),
            [],
            "commands refused for what they had done themselves",
        ),
        (SET, rows_of("set") + rows_of("set", first=3, command="d"), "commands that took effect twice"),
        (SET, rows_of("set", first=2), "gaps and doubles in histories"),
        (
            Command("key", "guess", "1", answers=[answered(1)]),
            rows_of("prove"),
            "answers other than what is stored",
        ),
    ],
)
def test_a_wrong_answer_is_noticed(command: Command, rows: Sequence[Any], found: str) -> None:
    assert found in failed(Seen([command]), rows)


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (Seen(stuck=["key"]), "commands that were never answered"),
        (Seen(accepted=["key"]), "other requests accepted under a used key"),
        (Seen(read_wrongly=["u1"]), "reads of another phone than the acknowledged one"),
    ],
)
def test_what_the_clients_saw_is_told(seen: Seen, found: str) -> None:
    assert found in failed(seen, [])
