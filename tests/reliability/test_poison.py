"""The proof about poisoned events, in small, and that it notices what it is for."""

from __future__ import annotations

from typing import Any

import pytest

from humanuser import Event
from humanuser_adapters.event_store.event_json import event_of
from humanuser_adapters.event_store.sqlite import SQLiteEventRecorder
from reliability import poison
from reliability.proof import Effort, Figure

SMALL = Effort(quick=True, seed=1)


@pytest.fixture(autouse=True)
def _few_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Effort, "of", lambda _, __, *, quick: quick // 10)


def failed() -> set[str]:
    return {figure.what for figure in figures() if not figure.holds}


def figures() -> list[Figure]:
    return list(poison.run(SMALL))


def test_nothing_that_is_stored_wrong_stops_others() -> None:
    assert failed() == set()
    assert all(figure.measured for figure in figures() if figure.what.startswith(("events that", "bytes flipped")))


def test_a_reader_that_executes_what_it_reads_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def executing(stored_type: str, payload: Any) -> Event:
        compile(f"{len(payload or '')}", "payload", "eval")
        return event_of(stored_type, payload)

    monkeypatch.setattr("humanuser_adapters.event_store.user_event_store.event_of", executing)

    assert failed() == {
        "imports, processes and code run on the way",
        "imports, processes and code run by a flipped byte",
    }


def test_a_reader_that_breaks_at_a_byte_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        SQLiteEventRecorder, "_rows", lambda _, connection, *query: connection.execute(*query).fetchall()
    )
    monkeypatch.setattr(poison, "PATIENCE_SECONDS", 0.1)

    with pytest.raises(poison.Stuck):
        figures()
