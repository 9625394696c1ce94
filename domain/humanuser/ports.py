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


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvents:
    """The events of one command on one user, to be stored together."""

    instance_id: str
    user_id: str
    events: Sequence[Event]
    """At least one."""
    after: int
    """The sequence at which the user's history must end; 0 for a new user."""
    created_at: datetime
    creator: str
    resource_owner: str
    command_id: str | None = None
    fingerprint: str | None = None
    """Of the request that *command_id* names, made by ``CodeVault.fingerprint``; stored with the events."""


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """What one command stored."""

    recorded: Sequence[Recorded]
    """Its events, at least one, in order."""
    fingerprint: str | None = None
    """Of its request. None: the events were stored without one, as all were before this column existed."""


class EventStore(Protocol):
    """Keeps the histories of users. Held to ``humanuser.testing.EventStoreContract``."""

    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:
        """The user's whole history in order; empty if nothing has happened.

        Raises ``UnreadableEvent``, ``StoreUnavailable``.
        """

    def append(self, new: NewEvents) -> StoredCommand:
        """Store the events of *new* right after the sequence *new.after*, all or none; on disk when this returns.

        If its command id was stored before, by whomever and for whichever user, store nothing and return what was
        stored then, as it is stored. That holds too for a command whose commit ends while this waits for it; if it
        cannot be known yet, raise ``StoreUnavailable``.
        Raises ``SequenceConflict`` if the history does not end at *new.after*, ``StoreUnavailable``.
        """

    def find_command(self, instance_id: str, command_id: str) -> StoredCommand | None:
        """What is stored under *command_id*, for whichever user. Returns None if there is nothing.

        It sees at least what a ``load`` that returned before has seen. Raises ``UnreadableEvent``,
        ``StoreUnavailable``.
        """

    def read_all(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """The next *limit* events of all users and instances behind the position *after*, in position order.

        Raises ``UnreadableEvent``, ``StoreUnavailable``.
        """

    def head(self) -> int:
        """The position of the last event; 0 if there is none. Raises ``StoreUnavailable``."""


class CodeVault(Protocol):
    """Encrypts codes and fingerprints requests, so that stored data reveals neither."""

    def seal(self, code: VerificationCode, owner: CodeOwner) -> SealedCode:
        """*code*, encrypted and bound to *owner*."""

    def open(self, sealed: SealedCode, owner: CodeOwner) -> VerificationCode:
        """The code that was sealed for *owner*.

        Raises ``CodeUnreadable`` if the key is missing, or the seal is broken or somebody else's.
        """

    def fingerprint(self, request: bytes) -> str:
        """A keyed hash of *request* that names its key: at most 200 characters.

        Keyed, because a plain hash of a code or a phone number is found by trying all of them.
        """

    def is_fingerprint(self, fingerprint: str, request: bytes) -> bool:
        """Whether *fingerprint* is that of *request*, under the current key or an older one.

        False if its key is missing. Takes a time that does not depend on where the two differ.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Sms:
    """A message to hand to a provider."""

    message_id: str
    """The same on every attempt, so that a provider can tell a repetition."""
    to: PhoneNumber
    text: str = field(repr=False)
    expires_at: datetime | None
    """When the text is worth nothing any more, by the clock that made the code: the machine's may differ."""
    expires_in: timedelta | None = field(default=None, compare=False)  # it shrinks from one attempt to the next
    """The same as a span from when the message was made, which needs no clock; None: never, or not known."""
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
