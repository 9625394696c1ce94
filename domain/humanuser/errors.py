"""What a command refuses, and what can go wrong around it.

A refusal's ``message`` is what a person reads; docstrings say when it happens, and may be stripped (``python -OO``).
Codes, HTTP statuses and ZITADEL's ids belong to the API's table.
"""

from __future__ import annotations

import copyreg
from datetime import timedelta
from typing import Any, Self


class _Portable(Exception):
    """An error that survives pickle and copy as it is, whatever its constructor takes."""

    def __reduce__(self) -> tuple[Any, ...]:  # Any: as the pickle protocol has it
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # not in its stub


class DomainError(_Portable):
    """A command is refused."""

    message = "The command is refused"
    """In words, for a person. A class has a fixed one; an instance may say more."""

    def __init__(self, message: str = "") -> None:
        if message:
            self.message = message
        super().__init__(self.message)


class UserIdMissing(DomainError):
    """The command names no user."""

    message = "User ID missing"


class TextInvalid(DomainError):
    """An id or a name is no text that shows what it holds."""

    message = "Text is empty, too long, or has control characters or marks that change its direction"

    @classmethod
    def named(cls, name: str, longest: int) -> Self:
        """The refusal of the field *name*, which takes 1 to *longest* characters."""
        return cls(f"{name} must be 1 to {longest} characters without control characters or direction marks")


class UserNotFound(DomainError):
    """There is no such user, or none in the caller's organization."""

    message = "User could not be found"


class UserNotInitialised(DomainError):
    """The user has yet to take up the account."""

    message = "User is not yet initialized"


class UserAlreadyExists(DomainError):
    """A user with this id exists or existed."""

    message = "User already exists"


class PhoneEmpty(DomainError):
    """The command names no number."""

    message = "Phone is empty"


class PhoneInvalid(DomainError):
    """The text is not a phone number."""

    message = "Phone is invalid"


class PhoneTooLong(PhoneInvalid):
    """The text is longer than any phone number."""

    message = "Phone is invalid: it has more than 50 characters"


class PhoneNotGlobal(PhoneInvalid):
    """The number is local to a country."""

    message = "Phone is invalid: it must start with + and the country code"


class PhoneHasExtension(PhoneInvalid):
    """The number has an extension."""

    message = "Phone is invalid: an extension gets no SMS"


class PhoneNotPossible(PhoneInvalid):
    """The number is too short or too long for its country."""

    message = "Phone is invalid: no number of its country has this length"


class PhoneKindRefused(PhoneInvalid):
    """The policy refuses this kind of number."""

    message = "Phone is invalid: this kind of number gets no SMS"


class PhoneCountryRefused(PhoneInvalid):
    """The policy does not allow the number's country."""

    message = "Phone is invalid: its country is not served"


class PhoneNotChanged(DomainError):
    """The user already has this number."""

    message = "Phone not changed"


class PhoneNotFound(DomainError):
    """The user has no number."""

    message = "Phone not found"


class PhoneAlreadyVerified(DomainError):
    """The number is already proven."""

    message = "Phone already verified"


class CodeEmpty(DomainError):
    """The command brings no code."""

    message = "Code is empty"


class CodeNotFound(DomainError):
    """No code is pending that could prove the number."""

    message = "Code not found"


class CodeInvalid(DomainError):
    """The code is wrong or expired; the failed attempt is stored."""

    message = "Code is invalid"


class CodeNotPending(DomainError):
    """No code is pending that a new one could replace."""

    message = "Code is empty"


class CodeSuperseded(DomainError):
    """A newer code is pending."""

    message = "Code was replaced by a newer one"


class LimitReached(DomainError):
    """A limit of the policy is reached."""

    message = "Too many requests"

    def __init__(self, retry_after: timedelta | None = None) -> None:
        super().__init__()
        self.retry_after = retry_after
        """After this long no limit refuses the same request; None where waiting does not help."""


class CodeAskedTooSoon(LimitReached):
    """The pause after the last code is not over."""

    message = "A code was just asked for, wait before asking for another"


class TooManyCodes(LimitReached):
    """The user asked for as many codes as a limit allows."""

    message = "Too many codes were asked for"


class CodeUsedUp(LimitReached):
    """The pending code failed as often as it may."""

    message = "Code failed too often, ask for a new one"


class TooManyFailures(LimitReached):
    """Codes for this number failed as often in a row as they may."""

    message = "Too many failed attempts, ask an administrator"


class CommandIdReused(DomainError):
    """The command id belongs to another command or another caller."""

    message = "This command id was already used for something else or by another caller"

    def __init__(self, user_id: str) -> None:
        super().__init__()
        self.user_id = user_id
        """Whom it was used for."""


class TooMuchContention(DomainError):
    """Others kept changing the same user."""

    message = "The user was changed by others at the same time, try again"


class StoreError(_Portable):
    """The event store could not do its work."""


class SequenceConflict(StoreError):
    """The user has other events than the decision was made on."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or cannot write now; nothing is known to be stored."""


class UnreadableEvent(StoreError):
    """A stored event cannot be read; *position* says where it is."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"the event at position {position} cannot be read: {reason}")
        self.position = position


class CodeUnreadable(Exception):
    """A sealed code cannot be opened: its key is missing, or it was altered or moved to another user."""
