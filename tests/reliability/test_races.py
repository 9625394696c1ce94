"""The proof about races, in small, and that the judge of histories is just."""

from __future__ import annotations

from dataclasses import replace

import pytest

from humanuser import NewEvents, SequenceConflict, StoredCommand
from humanuser_adapters.database import Database
from reliability.proof import Figure
from reliability.races import Call, State, explained, race, store_of

A, B = "+41791234567", "+41791234568"


def test_races_are_explained(any_database: Database) -> None:
    figures = list(race(store_of(any_database), 15, seed=1))

    assert [figure for figure in figures if not figure.holds] == []
    assert figures[1].measured > 0, "nothing happened at the same time"


@pytest.mark.parametrize(
    ("calls", "last", "just"),
    [
        ([], State(), True),
        ([], State(A), False),
        ([Call("change", A, "1", 0, 1)], State(A, code="1"), True),
        ([Call("change", A, "1", 0, 1)], State(), False),
        ([Call("change", A, "1", 0, 1), Call("change", B, "2", 2, 3)], State(B, code="2"), True),
        ([Call("change", A, "1", 0, 1), Call("change", B, "2", 2, 3)], State(A, code="1"), False),
        ([Call("change", A, "1", 0, 3), Call("change", B, "2", 2, 3)], State(A, code="1"), True),
        ([Call("change", A, "1", 0, 3), Call("change", A, "2", 2, 3)], State(A, code="2"), False),
        ([Call("change", A, "1", 0, 3), Call("change", A, "PhoneNotChanged", 2, 3)], State(A, code="1"), True),
        ([Call("change", A, "1", 0, 1), Call("verify", "1", "ok", 2, 3)], State(A, verified=True), True),
        ([Call("change", A, "1", 0, 1), Call("verify", "1", "ok", 2, 3)], State(A, code="1"), False),
        ([Call("change", A, "1", 0, 1), Call("verify", "2", "ok", 2, 3)], State(A, verified=True), False),
        ([Call("change", A, "1", 2, 3), Call("verify", "1", "ok", 0, 1)], State(A, verified=True), False),
        (
            [Call("change", A, "1", 0, 1), Call("verify", "1", "ok", 2, 5), Call("verify", "1", "ok", 3, 4)],
            State(A, verified=True),
            False,
        ),
        ([Call("resend", "", "CodeNotPending", 0, 1), Call("remove", "", "PhoneNotFound", 0, 1)], State(), True),
    ],
)
def test_the_judge_is_just(calls: list[Call], last: State, *, just: bool) -> None:
    assert explained(calls, State(), last) is just


def test_a_store_that_takes_stale_decisions_is_noticed(any_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(any_database)
    append = store.append

    def careless(new: NewEvents) -> StoredCommand:
        while True:
            try:
                return append(new)
            except SequenceConflict:
                new = replace(new, after=len(store.load(new.instance_id, new.user_id)))

    monkeypatch.setattr(store, "append", careless)

    figures: list[Figure] = list(race(store, 40, seed=1))

    assert not all(figure.holds for figure in figures)
