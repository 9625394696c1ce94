"""What the domain needs done by others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from humanuser.caller import Caller
from humanuser.events import Event, Recorded
from humanuser.phone_number import PhoneNumber
from humanuser.verification_code import CodeFormat, CodeOwner, SealedCode, VerificationCode

Clock = Callable[[], datetime]
"""Tells the time: aware, in any zone; events hold it in UTC."""

CodeGenerator = Callable[[CodeFormat], VerificationCode]
"""Draws an unpredictable code, each character evenly from the alphabet."""


class EventStore(Protocol):
    """Keeps the histories of users. Held to ``humanuser.testing.EventStoreContract``."""

    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:
        """The user's whole history in order; empty if nothing has happened.

        Raises ``UnreadableEvent``, ``StoreUnavailable``.
        """

    def append(
        self,
        instance_id: str,
        user_id: str,
        events: Sequence[Event],
        *,
        after: int,
        created_at: datetime,
        creator: str,
        resource_owner: str,
        command_id: str | None = None,
    ) -> Sequence[Recorded]:
        """Store *events* right after the sequence *after*, all of them or none; on disk when this returns.

        Given a *command_id* that was stored before, it stores nothing and returns what was stored then.
        Raises ``SequenceConflict`` if the history does not end at *after*, ``CommandIdReused`` if the command id
        belongs to another user, ``StoreUnavailable``.
        """

    def find_command(self, instance_id: str, user_id: str, command_id: str) -> Sequence[Recorded]:
        """What a command stored under *command_id*; empty if there is nothing.

        Raises ``CommandIdReused`` if it belongs to another user, ``UnreadableEvent``, ``StoreUnavailable``.
        """

    def read_all(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """The next *limit* events of all users and instances behind the position *after*, in position order.

        Raises ``UnreadableEvent``, ``StoreUnavailable``.
        """

    def head(self) -> int:
        """The position of the last event; 0 if there is none. Raises ``StoreUnavailable``."""


class CodeVault(Protocol):
    """Seals codes, so that what is stored tells nobody the code."""

    def seal(self, code: VerificationCode, owner: CodeOwner) -> SealedCode:
        """*code*, encrypted and bound to *owner*."""

    def open(self, sealed: SealedCode, owner: CodeOwner) -> VerificationCode:
        """The code that was sealed for *owner*.

        Raises ``CodeUnreadable`` if the key is missing, or the seal is broken or somebody else's.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Sms:
    """A message to hand to a provider."""

    message_id: str
    """The same on every attempt, so that a provider can tell a repetition."""
    to: PhoneNumber
    text: str = field(repr=False)
    expires_at: datetime | None
    """When the text is worth nothing any more."""
    code: VerificationCode | None = field(default=None, repr=False)
    """The code in the text, for a provider that is told both."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has the SMS."""

    provider_id: str = ""


@dataclass(frozen=True, slots=True)
class Retryable:
    """It did not work now, and may work later."""

    reason: str
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Permanent:
    """It will never work for this number."""

    reason: str


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """It cannot work until an operator mends the set-up."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The provider may or may not have the SMS: it was handed over and no answer came."""

    reason: str


SmsOutcome = Accepted | Retryable | Permanent | Misconfigured | Unknown
"""What came of one attempt to hand over an SMS."""


class SmsSender(Protocol):
    """Hands an SMS to a provider."""

    def send(self, sms: Sms) -> SmsOutcome:
        """Try once, and say what came of it. Never raises for what a provider does."""

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:
        """What became of an *sms* whose sending was interrupted; None: it never arrived, or may safely be repeated."""


class Authenticator(Protocol):
    """Tells who calls."""

    def authenticate(self, token: str) -> Caller | None:
        """The caller whom *token* proves; None: it proves nobody."""
