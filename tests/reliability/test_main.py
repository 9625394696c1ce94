"""Which proofs run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import reliability.__main__ as command
from reliability.proof import Effort, Figure, Proof


@pytest.mark.parametrize(
    ("arguments", "left_out"),
    [((), {"R17"}), (("--quick",), set()), (("R17",), set(command.PROOFS) - {"R17"})],
)
def test_all_run_but_one_that_takes_an_hour_alone(
    arguments: tuple[str, ...], left_out: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def proof(name: str) -> Proof:
        def run(_: Effort) -> Iterator[Figure]:
            ran.append(name)
            yield Figure("losses", 0, "0", holds=True)

        return Proof(name, "nothing is lost", run)

    monkeypatch.setattr(command, "_proof", proof)

    assert command.main(arguments) == 0
    assert set(ran) == set(command.PROOFS) - left_out


def test_a_claim_that_does_not_hold_fails_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_lost(_: Effort) -> Iterator[Figure]:
        yield Figure("losses", 1, "0", holds=False)

    monkeypatch.setattr(command, "_proof", lambda name: Proof(name, "nothing is lost", one_lost))

    assert command.main(["R1"]) == 1
