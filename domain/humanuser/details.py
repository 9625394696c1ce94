"""What every answer says about the user it is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from humanuser.verification_code import VerificationCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """The API's ``details``.

    After a command: the sequence and time of its last event. On a read: those of the last event that the
    read model took in.
    """

    sequence: int
    creation_date: datetime
    change_date: datetime
    resource_owner: str


@dataclass(frozen=True, slots=True)
class PhoneSet:
    """What API v2 answers to a new number or a new code."""

    details: Details
    code: VerificationCode | None = None
    """The code, if the caller asked to be given it."""
