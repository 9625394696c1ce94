"""The read model of a user's phone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from humanuser import HumanUserAdded, PhoneChanged, PhoneNumber, PhoneRemoved, PhoneVerified, Recorded, UserRemoved


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
        case HumanUserAdded(phone=phone):
            return UserPhone(phone)
        case UserRemoved():
            return None
        case PhoneChanged(phone=phone):
            return before and replace(before, phone=phone, verified=False)
        case PhoneVerified():
            return before and replace(before, verified=before.phone is not None, last_verified_phone=before.phone)
        case PhoneRemoved():
            return before and UserPhone()
        case _:
            return before
