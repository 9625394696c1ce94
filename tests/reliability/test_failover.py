"""The proof about failovers, in small, and that it notices what it is for."""

from __future__ import annotations

import pytest

from reliability import outages
from reliability.failover import FAILURES, fail_over, killed_while_the_standby_lags, pair_of_servers

SLOW_ON_A_BUSY_MACHINE = {
    "seconds without an acknowledged command around a failure, at most",
    "seconds that the longest call took",
}


def test_the_standby_has_all_that_was_acknowledged_however_the_primary_fails() -> None:
    with pair_of_servers() as pair:
        figures = list(fail_over(pair, FAILURES))

    assert {figure.what for figure in figures if not figure.holds} <= SLOW_ON_A_BUSY_MACHINE
    assert all(figure.measured > 0 for figure in figures[:3])


def test_a_standby_that_nobody_waits_for_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "PATIENCE_SECONDS", 1)
    with pair_of_servers(synchronous=False) as pair:
        figures = list(fail_over(pair, [killed_while_the_standby_lags]))

    assert {figure.what for figure in figures if not figure.holds} >= {
        "acknowledged commands lost",
        "events that a reader was given and that are not stored",
    }
