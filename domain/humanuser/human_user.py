"""A human user's phone: what may happen to it, and what it is after all that happened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import assert_never

from humanuser.errors import (
    CodeAskedTooSoon,
    CodeNotFound,
    CodeNotPending,
    CodeSuperseded,
    CodeUsedUp,
    PhoneAlreadyVerified,
    PhoneNotChanged,
    PhoneNotFound,
    TooManyCodes,
    TooManyFailures,
    UserAlreadyExists,
    UserNotFound,
    UserNotInitialised,
)
from humanuser.events import (
    Event,
    HumanUserAdded,
    InitialisationCodeAdded,
    PhoneChanged,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    ProfileChanged,
    Recorded,
    UnknownEvent,
    UserDeactivated,
    UserInitialised,
    UserLocked,
    UserReactivated,
    UserRemoved,
    UserUnlocked,
)
from humanuser.failures import NO_FAILURES, Failures
from humanuser.phone_number import PhoneNumber
from humanuser.policy import REMEMBERED_CODES, Policy
from humanuser.verification_code import SealedCode, VerificationCode
from humanuser.waiting import Stretch, refused_stretches, time_to_wait


class UserState(StrEnum):
    """Where a user is in life. Commands ask only whether the user exists and is initialised.

    A user who is locked or inactive shows that, initialised or not.
    """

    UNSPECIFIED = "unspecified"
    INITIAL = "initial"
    ACTIVE = "active"
    INACTIVE = "inactive"
    LOCKED = "locked"
    DELETED = "deleted"


class NotWanted(StrEnum):
    """Why the SMS with a code must not be sent."""

    SUPERSEDED = "a newer code, or none, is pending"
    EXPIRED = "the code is expired"
    SENT = "the code was sent already"
    RETURNED = "the code was returned to the caller"
    INCOMPLETE = "there is no code to send, or no number to send it to"


@dataclass(frozen=True, slots=True)
class PendingCode:
    """The code that can prove the phone number now."""

    sequence: int
    """Of the event that added it."""
    added_at: datetime
    phone: PhoneNumber | None
    """The number it was made for."""
    added: PhoneVerificationCodeAdded
    failures: int = 0
    sent: bool = False

    @property
    def expires_at(self) -> datetime | None:
        """None: never, or beyond the calendar."""
        lifetime = self.added.lifetime
        if lifetime is None or lifetime > datetime.max.replace(tzinfo=UTC) - self.added_at:
            return None
        return self.added_at + lifetime

    def lives_at(self, now: datetime) -> bool:
        """Whether it is neither expired nor, by a clock that jumped back, from too far in the future."""
        lifetime = self.added.lifetime
        return lifetime is None or abs(now - self.added_at) < lifetime


@dataclass(frozen=True, slots=True)
class CodeToSend:
    """A code that an SMS is to carry."""

    code: SealedCode
    phone: PhoneNumber
    """The number it was made for."""
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class HumanUser:
    """A human user, as far as decisions about the phone need to know."""

    state: UserState = UserState.UNSPECIFIED
    initialised: bool = True
    """Whether the user has taken up the account, or never had to; being locked or deactivated does not change it."""
    sequence: int = 0
    """Of the last event."""
    resource_owner: str = ""
    created_at: datetime | None = None
    phone: PhoneNumber | None = None
    phone_verified: bool = False
    last_verified_phone: PhoneNumber | None = None
    """Stays when the number changes, until the new one is proven."""
    pending_code: PendingCode | None = None
    failures: Failures = NO_FAILURES
    """Wrong or late codes, by number."""
    codes_asked_at: tuple[datetime, ...] = ()
    """When the newest codes were asked for, oldest first."""

    @staticmethod
    def replay(history: Iterable[Recorded]) -> HumanUser:
        """The user that *history* made. It never refuses: the past has happened."""
        user = HumanUser()
        for recorded in history:
            user = user.evolve(recorded)
        return user

    @property
    def exists(self) -> bool:
        """Whether there is such a user, in whatever state of life."""
        return self.state not in (UserState.UNSPECIFIED, UserState.DELETED)

    @property
    def failures_in_a_row(self) -> int:
        """Wrong or late codes for the number there is, since it was last proven or somebody else helped."""
        return self.failures.of(self.phone)

    # Decisions: guards in the order in which refusals take precedence, then the events.

    def add(
        self, profile: HumanUserAdded, proof: PhoneVerificationCodeAdded | PhoneVerified | None = None
    ) -> list[Event]:
        """The user comes to be, with *profile*; *proof* says what becomes of its phone.

        Raises ``UserAlreadyExists``.
        """
        if self.sequence:
            raise UserAlreadyExists
        return [profile, proof] if profile.phone and proof else [profile]

    def change_phone(
        self, phone: PhoneNumber, code: PhoneVerificationCodeAdded, *, now: datetime, policy: Policy
    ) -> list[Event]:
        """The user gets another number, which *code* can prove.

        Raises ``UserNotFound``, ``PhoneNotChanged``, ``TooManyFailures``, ``TooManyCodes``.
        """
        self._refuse_unless_existing()
        if phone == self.phone:
            raise PhoneNotChanged
        self._refuse_above_failures_in_a_row(phone, policy)
        self._refuse_above_code_limits(now, policy)
        return [PhoneChanged(phone=phone), code]

    def set_verified_phone(self, phone: PhoneNumber) -> list[Event]:
        """The user gets another number, or keeps the one there is, and somebody vouches for it.

        Raises ``UserNotFound``, ``PhoneNotChanged``.
        """
        self._refuse_unless_existing()
        if phone != self.phone:
            return [PhoneChanged(phone=phone), PhoneVerified()]
        if self.phone_verified:
            raise PhoneNotChanged
        return [PhoneVerified()]

    def verify_phone(
        self,
        given: VerificationCode,
        pending: VerificationCode | None,
        *,
        now: datetime,
        policy: Policy,
    ) -> list[Event]:
        """The user proves the number with *given*; *pending* is the pending code, opened, or None if nobody can
        open it.

        A wrong or expired code is a fact to remember: the answer is then ``PhoneVerificationFailed``.
        Raises ``UserNotFound``, ``CodeNotFound``, ``TooManyFailures``, ``CodeUsedUp``.
        """
        self._refuse_unless_existing()
        if self.phone is None or self.pending_code is None:
            raise CodeNotFound
        self._refuse_above_failures_in_a_row(self.phone, policy)
        if policy.attempts_per_code is not None and self.pending_code.failures >= policy.attempts_per_code:
            raise CodeUsedUp
        if pending is not None and pending.matches(given) and self.pending_code.lives_at(now):
            return [PhoneVerified()]
        return [PhoneVerificationFailed()]

    def add_code(self, code: PhoneVerificationCodeAdded, *, now: datetime, policy: Policy) -> list[Event]:
        """The user asks for a new code to prove the number.

        Raises ``UserNotFound``, ``PhoneNotFound``, ``PhoneAlreadyVerified``, ``TooManyFailures``, ``CodeAskedTooSoon``,
        ``TooManyCodes``.
        """
        self._refuse_unless_existing()
        if self.phone is None:
            raise PhoneNotFound
        if self.phone_verified:
            raise PhoneAlreadyVerified
        self._refuse_another_code(now, policy)
        return [code]

    def replace_code(self, code: PhoneVerificationCodeAdded, *, now: datetime, policy: Policy) -> list[Event]:
        """The user gets a new code in place of the pending one.

        Raises ``UserNotFound``, ``CodeNotPending``, ``TooManyFailures``, ``CodeAskedTooSoon``, ``TooManyCodes``.
        """
        self._refuse_unless_existing()
        if self.pending_code is None:
            raise CodeNotPending
        self._refuse_another_code(now, policy)
        return [code]

    def record_code_sent(self, sent: PhoneVerificationCodeSent, *, code_sequence: int) -> list[Event]:
        """A provider took the SMS with the code of *code_sequence*.

        Raises ``UserNotFound``, ``PhoneNotFound``, ``CodeSuperseded``.
        """
        self._refuse_unless_existing()
        if self.phone is None:
            raise PhoneNotFound
        if self.pending_code and self.pending_code.sequence != code_sequence:
            raise CodeSuperseded
        return [sent]

    def remove_phone(self) -> list[Event]:
        """The user has no phone any more.

        Raises ``UserNotFound``, ``PhoneNotFound``.
        """
        self._refuse_unless_existing()
        if self.phone is None:
            raise PhoneNotFound
        return [PhoneRemoved()]

    def code_to_send(self, code_sequence: int, *, now: datetime) -> CodeToSend | NotWanted:
        """The code of *code_sequence*, if an SMS with it is still wanted, or else why it is not."""
        pending = self.pending_code
        if not self.exists or pending is None or pending.sequence != code_sequence:
            return NotWanted.SUPERSEDED
        if pending.added.code_returned:
            return NotWanted.RETURNED
        if pending.sent:
            return NotWanted.SENT
        if not pending.lives_at(now):
            return NotWanted.EXPIRED
        if pending.added.code is None or pending.phone is None:
            return NotWanted.INCOMPLETE
        return CodeToSend(pending.added.code, pending.phone, pending.expires_at)

    # What happened: no rule in here, for the past is never refused.

    def evolve(self, recorded: Recorded) -> HumanUser:  # noqa: C901, PLR0911, PLR0912 - one case an event
        """The user after *recorded*."""
        sequence = recorded.sequence
        match recorded.event:
            case HumanUserAdded(phone=phone):
                return HumanUser(
                    state=UserState.ACTIVE,
                    sequence=sequence,
                    resource_owner=recorded.resource_owner,
                    created_at=recorded.created_at,
                    phone=phone,
                )
            case PhoneChanged(phone=phone):
                return replace(self, sequence=sequence, phone=phone, phone_verified=False, pending_code=None)
            case PhoneVerificationCodeAdded() as added:
                pending = PendingCode(sequence, recorded.created_at, self.phone, added)
                asked = (*self.codes_asked_at[1 - REMEMBERED_CODES :], recorded.created_at)
                return replace(self, sequence=sequence, pending_code=pending, codes_asked_at=asked)
            case PhoneVerificationCodeSent():
                sent = self.pending_code and replace(self.pending_code, sent=True)
                return replace(self, sequence=sequence, pending_code=sent)
            case PhoneVerified():
                # without a code pending nobody can have given one: then somebody else vouches for the user
                vouched = self.pending_code is None and recorded.creator != recorded.user_id
                return replace(
                    self,
                    sequence=sequence,
                    phone_verified=self.phone is not None,
                    last_verified_phone=self.phone,
                    pending_code=None,
                    failures=NO_FAILURES if vouched else self.failures.after_proof(self.phone),
                )
            case PhoneVerificationFailed():
                failed = self.pending_code and replace(self.pending_code, failures=self.pending_code.failures + 1)
                failures = self.failures.after_failure(self.phone)
                return replace(self, sequence=sequence, pending_code=failed, failures=failures)
            case PhoneRemoved():
                by_user = recorded.creator == recorded.user_id
                return replace(
                    self,
                    sequence=sequence,
                    phone=None,
                    phone_verified=False,
                    last_verified_phone=None,
                    pending_code=None,
                    failures=self.failures if by_user else NO_FAILURES,
                )
            case InitialisationCodeAdded():
                return self._in_life(sequence, initialised=False)
            case UserInitialised():
                return self._in_life(sequence, initialised=True)
            case UserLocked():
                return self._in_life(sequence, state=UserState.LOCKED)
            case UserDeactivated():
                return self._in_life(sequence, state=UserState.INACTIVE)
            case UserUnlocked() | UserReactivated():
                return self._in_life(sequence, state=UserState.ACTIVE)
            case UserRemoved():
                return HumanUser(
                    state=UserState.DELETED,
                    sequence=sequence,
                    resource_owner=self.resource_owner,
                    created_at=self.created_at,
                )
            case ProfileChanged() | UnknownEvent():
                return replace(self, sequence=sequence)
            case _:
                assert_never(recorded.event)

    def _in_life(self, sequence: int, *, state: UserState | None = None, initialised: bool | None = None) -> HumanUser:
        """The user after a change of one of the two; a user who never existed, or was removed, stays as it is."""
        if not self.exists:
            return replace(self, sequence=sequence)
        if initialised is None:
            initialised = self.initialised
        state = state or self.state
        if state in (UserState.ACTIVE, UserState.INITIAL):
            state = UserState.ACTIVE if initialised else UserState.INITIAL
        return replace(self, sequence=sequence, state=state, initialised=initialised)

    def refuse_unless_initialised(self) -> None:
        """What API v2 asks before everything else. Raises ``UserNotFound``, ``UserNotInitialised``."""
        self._refuse_unless_existing()
        if not self.initialised:
            raise UserNotInitialised

    def _refuse_unless_existing(self) -> None:
        if not self.exists:
            raise UserNotFound

    def _refuse_another_code(self, now: datetime, policy: Policy) -> None:
        """Unless the number that there is may have another code."""
        self._refuse_above_failures_in_a_row(self.phone, policy)
        limited, paused = self._limited(now, policy), self._paused(now, policy)
        if time_to_wait(paused):
            raise CodeAskedTooSoon(time_to_wait(paused + limited))
        if time_to_wait(limited):
            raise TooManyCodes(time_to_wait(paused + limited))

    def _refuse_above_failures_in_a_row(self, phone: PhoneNumber | None, policy: Policy) -> None:
        if policy.failures_in_a_row is not None and self.failures.of(phone) >= policy.failures_in_a_row:
            raise TooManyFailures

    def _refuse_above_code_limits(self, now: datetime, policy: Policy) -> None:
        if wait := time_to_wait(self._limited(now, policy)):
            raise TooManyCodes(wait)

    def _paused(self, now: datetime, policy: Policy) -> list[Stretch]:
        """When the pause after the newest code refuses another one."""
        if policy.pause_between_codes is None:
            return []
        return refused_stretches(self.codes_asked_at[-1:], 1, policy.pause_between_codes, now=now)

    def _limited(self, now: datetime, policy: Policy) -> list[Stretch]:
        """When the limits refuse another code."""
        return [
            stretch
            for limit in policy.code_limits
            for stretch in refused_stretches(self.codes_asked_at, limit.count, limit.within, now=now)
        ]
