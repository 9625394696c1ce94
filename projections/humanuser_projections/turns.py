"""A history as what each of its events turned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from humanuser import HumanUser, Recorded


@dataclass(frozen=True, slots=True)
class Turn:
    """An event, and the user before it and after it."""

    before: HumanUser
    recorded: Recorded
    after: HumanUser


def turns_of(history: Iterable[Recorded]) -> list[Turn]:
    """Every event of one user's *history*, in order."""
    turns: list[Turn] = []
    user = HumanUser()
    for recorded in history:
        turns.append(Turn(user, recorded, after := user.evolve(recorded)))
        user = after
    return turns


def last_turn(turns: Sequence[Turn], is_it: Callable[[Turn], bool]) -> Turn:
    """The last of *turns* of which it is true; there must be one."""
    return next(filter(is_it, reversed(turns)))
