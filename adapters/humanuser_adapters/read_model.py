"""What a read model must offer to be made a second time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from humanuser import Recorded
from humanuser_adapters.database import Connection


@dataclass(frozen=True, slots=True)
class Difference:
    """A user of whom a read model says something else than it should."""

    instance_id: str
    user_id: str
    what: str
    """Which part of the read model."""
    stored: tuple[object, ...] | None
    """What it says; None: nothing."""
    expected: tuple[object, ...] | None


MOST_DIFFERENCES = 1000
"""How many are told of one comparison."""


class KnownPhone(NamedTuple):
    """What somebody else knows of a user's phone."""

    instance_id: str
    user_id: str
    phone: str | None
    verified: bool


class ReadModel(Protocol):
    """Rows that follow from the events."""

    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Take in *events*, the next ones in order."""

    def fold(self, events: Sequence[Recorded]) -> int:
        """Take in *events*, which come user by user, in memory at first; how many users wait there."""

    def flush(self, connection: Connection) -> None:
        """Store those who wait."""

    def beside(self, connection: Connection) -> Self:
        """Others, with nothing in them, beside these; what was left of earlier ones is gone."""

    def become(self, connection: Connection, others: Self) -> None:
        """Have the place of these taken by the *others*."""

    def differences(self, connection: Connection, others: Self) -> Iterator[Difference]:
        """Where these are not as the *others*, in the order of users."""

    def drop(self, connection: Connection) -> None:
        """Be no more."""


__all__ = ["Difference", "KnownPhone"]
