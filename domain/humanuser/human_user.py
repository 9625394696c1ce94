"""A human user's phone: what may happen to it, and what it is after all that happened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
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
from humanuser.phone_number import PhoneNumber
from humanuser.policy import REMEMBERED_CODES, CodeLimit, Policy
from humanuser.verification_code import SealedCode, VerificationCode


class UserState(StrEnum):
    """Where a user is in life. Phone commands ask only whether the user exists."""

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
    sequence: int = 0
    """Of the last event."""
    resource_owner: str = ""
    created_at: datetime | None = None
    phone: PhoneNumber | None = None
    phone_verified: bool = False
    last_verified_phone: PhoneNumber | None = None
    """Stays when the number changes, until the new one is proven."""
    pending_code: PendingCode | None = None
    failures_in_a_row: int = 0
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
        self._refuse_above_failures_in_a_row(policy)
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
        self._refuse_above_failures_in_a_row(policy)
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
                return replace(
                    self,
                    sequence=sequence,
                    phone_verified=self.phone is not None,
                    last_verified_phone=self.phone,
                    pending_code=None,
                    failures_in_a_row=0,
                )
            case PhoneVerificationFailed():
                failed = self.pending_code and replace(self.pending_code, failures=self.pending_code.failures + 1)
                return replace(
                    self, sequence=sequence, pending_code=failed, failures_in_a_row=self.failures_in_a_row + 1
                )
            case PhoneRemoved():
                by_user = recorded.creator == recorded.user_id
                return replace(
                    self,
                    sequence=sequence,
                    phone=None,
                    phone_verified=False,
                    last_verified_phone=None,
                    pending_code=None,
                    failures_in_a_row=self.failures_in_a_row if by_user else 0,
                )
            case InitialisationCodeAdded():
                return self._in_state(UserState.INITIAL, sequence)
            case UserInitialised() | UserUnlocked() | UserReactivated():
                return self._in_state(UserState.ACTIVE, sequence)
            case UserLocked():
                return self._in_state(UserState.LOCKED, sequence)
            case UserDeactivated():
                return self._in_state(UserState.INACTIVE, sequence)
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

    def _in_state(self, state: UserState, sequence: int) -> HumanUser:
        """The user in another state of life; who never came to be, or is gone, is not called to life by it."""
        return replace(self, sequence=sequence, state=state if self.exists else self.state)

    def refuse_unless_initialised(self) -> None:
        """What API v2 asks before everything else. Raises ``UserNotFound``, ``UserNotInitialised``."""
        self._refuse_unless_existing()
        if self.state is UserState.INITIAL:
            raise UserNotInitialised

    def _refuse_unless_existing(self) -> None:
        if not self.exists:
            raise UserNotFound

    def _refuse_another_code(self, now: datetime, policy: Policy) -> None:
        """Unless the number that there is may have another code."""
        self._refuse_above_failures_in_a_row(policy)
        self._refuse_before_pause_is_over(now, policy)
        self._refuse_above_code_limits(now, policy)

    def _refuse_above_failures_in_a_row(self, policy: Policy) -> None:
        if policy.failures_in_a_row is not None and self.failures_in_a_row >= policy.failures_in_a_row:
            raise TooManyFailures

    def _refuse_before_pause_is_over(self, now: datetime, policy: Policy) -> None:
        pause = policy.pause_between_codes
        if pause and self.codes_asked_at and abs(now - self.codes_asked_at[-1]) < pause:
            raise CodeAskedTooSoon(self.codes_asked_at[-1] + pause - now)

    def _refuse_above_code_limits(self, now: datetime, policy: Policy) -> None:
        waits = [self._wait_for(limit, now) for limit in policy.code_limits if limit.count <= len(self.codes_asked_at)]
        if longest := max(waits, default=timedelta(0)):
            raise TooManyCodes(longest)

    def _wait_for(self, limit: CodeLimit, now: datetime) -> timedelta:
        """How long until *limit* allows another code. Times that a jumping clock put far away do not count."""
        recent = sorted(asked_at for asked_at in self.codes_asked_at if abs(now - asked_at) < limit.within)
        return recent[-limit.count] + limit.within - now if len(recent) >= limit.count else timedelta(0)
