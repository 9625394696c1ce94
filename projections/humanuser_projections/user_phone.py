"""The read model of a user's phone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from humanuser import (
    HumanUserAdded,
    HumanUserSelfRegistered,
    PhoneChanged,
    PhoneNumber,
    PhoneRemoved,
    PhoneVerified,
    Recorded,
    UserRemoved,
)

_TELLING = {HumanUserAdded, HumanUserSelfRegistered, UserRemoved, PhoneChanged, PhoneVerified, PhoneRemoved}


@dataclass(frozen=True, slots=True)
class UserPhone:
    """A user's number, whether it is proven, and the last one that was."""

    phone: PhoneNumber | None = None
    verified: bool = False
    last_verified_phone: PhoneNumber | None = None
    """Messages that need a proven number go here while a new one is not proven yet."""


def user_phone(before: UserPhone | None, recorded: Recorded) -> UserPhone | None:
    """The phone of a user after *recorded*; None: there is no such user."""
    match recorded.event:
        case PhoneChanged(phone=phone):
            return before and UserPhone(phone, last_verified_phone=before.last_verified_phone)
        case PhoneVerified():
            return before and UserPhone(before.phone, before.phone is not None, before.phone)
        case HumanUserAdded(phone=phone):
            return UserPhone(phone)
        case UserRemoved():
            return None
        case PhoneRemoved():
            return before and UserPhone()
        case _:
            return before


def user_phone_after(before: UserPhone | None, history: Iterable[Recorded]) -> UserPhone | None:
    """The phone of a user after all of *history*, as ``user_phone`` one by one: only faster.

    Most events tell nothing about a phone.
    """
    return reduce(user_phone, [recorded for recorded in history if type(recorded.event) in _TELLING], before)
