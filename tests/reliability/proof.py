"""What every proof of reliability has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How much a proof tries, and what its chance starts from."""

    quick: bool
    """A part that takes a minute at most, instead of the whole."""
    seed: int

    def of(self, whole: int, *, quick: int) -> int:
        """How many to try."""
        return quick if self.quick else whole


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    measured: float
    wanted: str = ""
    """What it must be, in words; empty: nothing, it says how much was tried."""
    holds: bool = True


def none(what: str, measured: int) -> Figure:
    """A figure that must be 0."""
    return Figure(what, measured, "0", measured == 0)


def at_most(limit: float, what: str, measured: float) -> Figure:
    """A figure with a ceiling."""
    return Figure(what, measured, f"<= {limit:g}", measured <= limit)


def at_least(limit: float, what: str, measured: float) -> Figure:
    """A figure with a floor."""
    return Figure(what, measured, f">= {limit:g}", measured >= limit)


def exactly(wanted: float, what: str, measured: float) -> Figure:
    """A figure that must be one."""
    return Figure(what, measured, f"{wanted:g}", measured == wanted)


@dataclass(frozen=True)
class Proof:
    """A claim, and how it is put to the test."""

    name: str
    """As in the table: ``R1``."""
    claim: str
    """One line that a user understands."""
    run: Callable[[Effort], Iterator[Figure]]
