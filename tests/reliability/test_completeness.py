"""That readers are given everything, and that the checker sees a reader who is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from humanuser_adapters.database import Connection
from humanuser_adapters.event_store.postgresql import PostgreSQLEventRecorder
from reliability.completeness import Batch, Findings, Load, Outcome, complete, findings, follow, lag_milliseconds

STORED = [(1, "u", 1), (2, "v", 1), (3, "u", 2)]
LOAD = Load(events=1_000, processes=2, threads=4, most=10, rolled_back=0.1, held_open=0.1, kill_every_seconds=None)


class Hasty(PostgreSQLEventRecorder):
    """Gives readers all that is committed, and does not wait for a position that may still come before it."""

    def _horizon(self, connection: Connection) -> int:  # noqa: ARG002 - that is the fault
        return 2**63 - 1


def found(outcome: Outcome, reader: str) -> Findings:
    return findings(outcome.committed, (place for batch in outcome.readers[reader] for place in batch.places))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (STORED, Findings(0, 0, 0, 0)),
        ([STORED[1], STORED[0], STORED[2]], Findings(0, 0, 0, 0)),
        (STORED[:2], Findings(1, 0, 0, 0)),
        ([STORED[0], *STORED], Findings(0, 1, 0, 1)),
        ([*STORED, (4, "w", 1)], Findings(0, 0, 1, 0)),
        ([STORED[2], STORED[0], STORED[1]], Findings(0, 0, 0, 1)),
    ],
)
def test_what_is_missed_given_twice_not_stored_or_out_of_order_is_seen(
    given: list[tuple[int, str, int]], expected: Findings
) -> None:
    assert findings(STORED, given) == expected


def test_the_lag_is_from_the_commit_to_each_reader() -> None:
    committed = dict.fromkeys(STORED, 10.0)
    readers = {"a": [Batch(10.1, STORED[:2]), Batch(10.2, STORED[2:])], "b": [Batch(10.3, STORED)]}
    outcome = Outcome(committed, readers, {}, Counter())

    assert lag_milliseconds(outcome, 0.0) == 100
    assert lag_milliseconds(outcome, 0.5) == 200
    assert lag_milliseconds(outcome, 1.0) == 300


def test_an_acknowledged_event_that_is_not_stored_is_seen() -> None:
    outcome = Outcome(dict.fromkeys(STORED), {}, {"u": 2, "v": 2}, Counter())

    assert [figure.measured for figure in complete(outcome)] == [0, 0, 0, 0, 1]


def test_a_server_that_does_not_say_when_it_committed_is_no_proof_of_a_short_lag() -> None:
    outcome = Outcome(dict.fromkeys(STORED), {"a": [Batch(10.1, STORED)]}, {}, Counter())

    with pytest.raises(ValueError, match="track_commit_timestamp"):
        lag_milliseconds(outcome, 0.99)


def test_readers_are_given_every_event_once_and_in_order(postgresql_url: str) -> None:
    outcome = follow(postgresql_url, replace(LOAD, kill_every_seconds=0.5), seed=1)

    assert len(outcome.committed) >= LOAD.events
    assert {"appended", "rolled back", "held open", "killed"} <= set(outcome.done)
    assert [figure.what for figure in complete(outcome) if not figure.holds] == []


def test_a_reader_who_does_not_wait_for_late_positions_is_found_out(postgresql_url: str) -> None:
    outcome = follow(postgresql_url, LOAD, seed=1, recorder=Hasty)

    assert found(outcome, "reader").missed > 0
    assert found(outcome, "subscription").missed > 0
