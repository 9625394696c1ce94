"""The proof about outages, in small, and that it notices what it is for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster import FAST, Server, own_server
from humanuser_adapters import postgresql, workers
from reliability import outages
from reliability.outages import DURABLE, OUTAGES, endure


@pytest.fixture
def server() -> Iterator[Server]:
    with own_server(DURABLE) as server:
        yield server


def failed(server: Server, *spans: float) -> set[str]:
    return {figure.what for figure in endure(server, list(spans)) if not figure.holds}


def test_all_goes_on_by_itself_after_each_kind_of_outage(server: Server) -> None:
    assert failed(server, *[0.3] * len(OUTAGES)) <= {"seconds until all was well again, at most"}  # on a busy machine


def test_a_worker_that_gives_up_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "PATIENCE_SECONDS", 1)
    monkeypatch.setattr(workers.Worker, "healthy", False)

    assert "workers that did not come back by themselves" in failed(server, 0.1)


def test_a_server_that_forgets_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "PATIENCE_SECONDS", 1)
    monkeypatch.setattr(postgresql, "pin_settings", lambda *_, **__: (False, "public"))  # or commits are durable

    def forgets() -> bool:
        with own_server([*FAST, "wal_writer_delay=10s", "autovacuum=off"]) as server:
            return "acknowledged commands lost" in failed(server, 0.1)

    assert any(forgets() for _ in range(5))  # it may have written everything just before
