"""The simulation holds, tells the same again, and finds what is planted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reliability.simulation import Simulation, found_after
from reliability.simulation_faults import FAULTS

TESTS = Path(__file__).parents[1]


def test_a_few_hundred_schedules_keep_every_promise() -> None:
    outcomes = Simulation().run_all(range(400))

    assert [outcome for outcome in outcomes if outcome.violations] == []


@pytest.mark.parametrize("seed", [0, 11, 100_648])
def test_a_seed_is_a_schedule(seed: int) -> None:
    simulation = Simulation()

    first, again = simulation.run(seed, tracing=True), simulation.run(seed, tracing=True)

    assert first.trace
    assert first == again
    assert first.trace != simulation.run(seed + 1, tracing=True).trace


def test_there_are_enough_planted_faults() -> None:
    assert len(FAULTS) >= 25


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name: str) -> None:
    assert found_after(name, range(2_500)) is not None


def test_a_fault_is_gone_afterwards() -> None:
    for name in FAULTS:
        Simulation(FAULTS[name]).run(0)

    assert not Simulation().run(0).violations


def test_a_seed_is_shown_step_by_step() -> None:
    fault = "permanent is tried again"
    seed = str((found_after(fault, range(2_500)) or 0) - 1)

    sound = _shown(seed)
    broken = _shown(seed, "--fault", fault)

    assert sound.returncode == 0
    assert "is answered" in sound.stdout
    assert "BROKEN" not in sound.stdout
    assert broken.returncode == 1
    assert "BROKEN" in broken.stdout


def _shown(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reliability.simulation", *arguments]
    return subprocess.run(command, cwd=TESTS, check=False, capture_output=True, text=True, timeout=60)
