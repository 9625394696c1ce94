"""What a command can have come to. By that it is told when its id is given to another command, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from humanuser.events import Event, HumanUserAdded, PhoneChanged, PhoneVerificationCodeAdded, PhoneVerified
from humanuser.phone_number import PhoneNumber

Result = Callable[[Sequence[Event]], bool]
"""Whether a command can have come to these events; there is at least one."""


def begins_with(*kinds: type[Event]) -> Result:
    """Of a command whose first event is of one of *kinds*, which no other command's is."""
    return lambda events: isinstance(events[0], kinds)


def addition_of(profile: HumanUserAdded, *, verified: bool) -> Result:
    """Of a new user, with or without a number, which is *verified* or needs a code."""

    def result(events: Sequence[Event]) -> bool:
        first, *proof = events
        return first == profile and all(isinstance(event, _proof(verified=verified)) for event in proof)

    return result


def change_to(number: PhoneNumber, *, verified: bool) -> Result:
    """Of a number to *number*; a proof alone is taken for that of it, for it does not say of which number it is."""

    def result(events: Sequence[Event]) -> bool:
        *changed, proof = events
        if changed != [PhoneChanged(phone=number)]:
            return verified and not changed and isinstance(proof, PhoneVerified)
        return isinstance(proof, _proof(verified=verified))

    return result


def _proof(*, verified: bool) -> type[Event]:
    return PhoneVerified if verified else PhoneVerificationCodeAdded
