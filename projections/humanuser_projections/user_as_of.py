"""A user as of any moment of their history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from itertools import takewhile

from humanuser import Details, HumanUser, Recorded
from humanuser_projections.user_details import user_details
from humanuser_projections.user_phone import UserPhone, user_phone


@dataclass(frozen=True, slots=True)
class UserAsOf:
    """What a user was at one moment."""

    user: HumanUser
    """As decisions were made on it."""
    details: Details
    """As a read answered with it."""
    phone: UserPhone
    """As above."""


def history_until(
    history: Iterable[Recorded], *, at: datetime | None = None, sequence: int | None = None
) -> list[Recorded]:
    """The beginning of one user's *history*, up to the time *at* (aware) and the *sequence*, both inclusive.

    It ends before the first event that is later, also where a clock jumped back afterwards: what was decided behind an
    event was decided knowing it. None does not limit.
    """

    def had_happened(recorded: Recorded) -> bool:
        by_then = at is None or recorded.created_at <= at
        return by_then and (sequence is None or recorded.sequence <= sequence)

    return list(takewhile(had_happened, history))


def user_as_of(
    history: Iterable[Recorded], *, at: datetime | None = None, sequence: int | None = None
) -> UserAsOf | None:
    """The user of *history* as of ``history_until`` the time *at* and the *sequence*; without both, as of now.

    None: there was no such user then.
    """
    past = history_until(history, at=at, sequence=sequence)
    details, phone = reduce(user_details, past, None), reduce(user_phone, past, None)
    return UserAsOf(HumanUser.replay(past), details, phone) if details and phone else None
