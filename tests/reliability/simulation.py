"""Runs the real commands, outbox and worker in a world made of chance: a million schedules, each from its seed.

``python -m reliability.simulation SEED`` shows one of them step by step; ``--fault NAME`` plants a fault in it.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from humanuser_adapters import outbox
from reliability.proof import Effort, Figure, Proof, exactly, none
from reliability.simulated_world import Parts, Restless, Tables, World
from reliability.simulation_checker import violations
from reliability.simulation_faults import FAULTS

SOUND = Parts()
CHUNK = 250
"""Schedules that a process runs before it says what it saw."""
MOST_SCHEDULES = 20_000
"""In which a planted fault must be found."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one schedule."""

    seed: int
    violations: Sequence[str]
    trace: Sequence[str] = ()


class Simulation:
    """Runs schedules one after the other, with the same *parts*."""

    def __init__(self, parts: Parts = SOUND) -> None:
        self._parts = parts
        self._tables = Tables()

    def run(self, seed: int, *, tracing: bool = False) -> Outcome:
        """The schedule of *seed*."""
        with _planted(self._parts):
            return self._run(seed, tracing=tracing)

    def run_all(self, seeds: Sequence[int]) -> Iterator[Outcome]:
        """The schedules of *seeds*, until nobody asks for another one."""
        with _planted(self._parts):
            for seed in seeds:
                yield self._run(seed, tracing=False)

    def _run(self, seed: int, *, tracing: bool) -> Outcome:
        world = World(seed, self._parts, self._tables, tracing=tracing)
        try:
            world.run()
        except Restless:
            return Outcome(seed, ["it does not come to rest"], world.trace)
        except Exception as error:  # noqa: BLE001 - whatever it is, the code under test should not have raised it
            return Outcome(seed, [f"it broke: {error!r}"], world.trace)
        return Outcome(seed, list(violations(world)), world.trace)


def found_after(name: str, seeds: Sequence[int]) -> int | None:
    """How many schedules it takes until the fault *name* is found; None: more than there are *seeds*."""
    outcomes = Simulation(FAULTS[name]).run_all(seeds)
    return next((count for count, outcome in enumerate(outcomes, 1) if outcome.violations), None)


def run(effort: Effort) -> Iterator[Figure]:
    """The proof: schedules first, then the planted faults."""
    seeds = range(effort.seed * 10_000_000, effort.seed * 10_000_000 + effort.of(1_000_000, quick=20_000))
    chunks = [seeds[first : first + CHUNK] for first in range(0, len(seeds), CHUNK)]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        start = time.monotonic()
        bad = [outcome for some in pool.imap_unordered(_bad, chunks) for outcome in some]
        seconds = time.monotonic() - start
        counts = pool.starmap(found_after, [(name, seeds[:MOST_SCHEDULES]) for name in FAULTS], chunksize=1)
    for outcome in bad[:10]:
        _print(f"    python -m reliability.simulation {outcome.seed}: {'; '.join(outcome.violations)}")
    for name, count in zip(FAULTS, counts, strict=True):
        if count is None:
            _print(f"    not found: {name}")
    found = [count for count in counts if count is not None]
    yield Figure("schedules", len(seeds))
    yield Figure("schedules each second", len(seeds) // seconds)
    yield none("schedules that broke a promise", len(bad))
    yield exactly(len(FAULTS), f"planted faults found, of {len(FAULTS)}", len(found))
    yield Figure("most schedules until one was found", max(found, default=0))


SIMULATION = Proof("R3", "Whatever crashes, freezes or is lost, in whatever order: every promise of SMS is kept", run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Show one schedule step by step; the exit code, 1 if it broke a promise."""
    parser = argparse.ArgumentParser(prog="reliability.simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--fault", choices=list(FAULTS), help="have this fault planted")
    options = parser.parse_args(arguments)
    outcome = Simulation(FAULTS[options.fault] if options.fault else SOUND).run(options.seed, tracing=True)
    for line in outcome.trace:
        _print(line)
    for violation in outcome.violations:
        _print(f"BROKEN: {violation}")
    return 1 if outcome.violations else 0


def _bad(seeds: Sequence[int]) -> list[Outcome]:
    gc.disable()  # worlds are small, and full of cycles
    try:
        return [outcome for outcome in Simulation().run_all(seeds) if outcome.violations]
    finally:
        gc.enable()
        gc.collect()


@contextmanager
def _planted(parts: Parts) -> Iterator[None]:
    """The faults of *parts* are there meanwhile, and nothing is logged."""
    patches = [patch.object(*one) for one in parts.patches]
    logger = logging.getLogger(outbox.__name__)
    was_disabled, logger.disabled = logger.disabled, True
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()
        logger.disabled = was_disabled


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    sys.exit(main())
