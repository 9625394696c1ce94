"""What a command refuses, and what can go wrong around it.

A refusal's docstring is the message that a person reads. Codes, HTTP statuses and ZITADEL's ids belong to the
API's table.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Self


class DomainError(Exception):
    """The command is refused"""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.text())

    @classmethod
    def text(cls) -> str:
        """The refusal in words: the docstring's first line."""
        return (cls.__doc__ or cls.__name__).partition("\n")[0]


class UserIdMissing(DomainError):
    """User ID missing"""


class TextInvalid(DomainError):
    """Text is empty, too long, or has control characters or marks that change its direction"""

    @classmethod
    def named(cls, name: str, longest: int) -> Self:
        """The refusal of the field *name*, which takes 1 to *longest* characters."""
        return cls(f"{name} must be 1 to {longest} characters without control characters or direction marks")


class UserNotFound(DomainError):
    """User could not be found"""


class UserNotInitialised(DomainError):
    """User is not yet initialized"""


class UserAlreadyExists(DomainError):
    """User already exists"""


class PhoneEmpty(DomainError):
    """Phone is empty"""


class PhoneInvalid(DomainError):
    """Phone is invalid"""


class PhoneTooLong(PhoneInvalid):
    """Phone is invalid: it has more than 50 characters"""


class PhoneNotGlobal(PhoneInvalid):
    """Phone is invalid: it must start with + and the country code"""


class PhoneHasExtension(PhoneInvalid):
    """Phone is invalid: an extension gets no SMS"""


class PhoneNotPossible(PhoneInvalid):
    """Phone is invalid: no number of its country has this length"""


class PhoneKindRefused(PhoneInvalid):
    """Phone is invalid: this kind of number gets no SMS"""


class PhoneCountryRefused(PhoneInvalid):
    """Phone is invalid: its country is not served"""


class PhoneNotChanged(DomainError):
    """Phone not changed"""


class PhoneNotFound(DomainError):
    """Phone not found"""


class PhoneAlreadyVerified(DomainError):
    """Phone already verified"""


class CodeEmpty(DomainError):
    """Code is empty"""


class CodeNotFound(DomainError):
    """Code not found"""


class CodeInvalid(DomainError):
    """Code is invalid"""


class CodeNotPending(DomainError):
    """Code is empty

    No code is pending that a new one could replace.
    """


class CodeSuperseded(DomainError):
    """Code was replaced by a newer one"""


class LimitReached(DomainError):
    """Too many requests"""

    def __init__(self, retry_after: timedelta | None = None) -> None:
        super().__init__()
        self.retry_after = retry_after
        """How long until the same request may succeed; None where waiting does not help."""


class CodeAskedTooSoon(LimitReached):
    """A code was just asked for, wait before asking for another"""


class TooManyCodes(LimitReached):
    """Too many codes were asked for"""


class CodeUsedUp(LimitReached):
    """Code failed too often, ask for a new one"""


class TooManyFailures(LimitReached):
    """Too many failed attempts, ask an administrator"""


class CommandIdReused(DomainError):
    """This command id was already used for something else or by another caller"""

    def __init__(self, user_id: str) -> None:
        super().__init__()
        self.user_id = user_id
        """Whom it was used for."""


class TooMuchContention(DomainError):
    """The user was changed by others at the same time, try again"""


class StoreError(Exception):
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
