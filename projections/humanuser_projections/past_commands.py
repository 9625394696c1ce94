"""The commands behind a history: what was asked of a user, as far as the events tell that were stored because of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import reduce

from humanuser import (
    CodeInvalid,
    CodeNotFound,
    DomainError,
    Event,
    HumanUser,
    HumanUserAdded,
    PendingCode,
    PhoneChanged,
    PhoneNumber,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    Policy,
    Recorded,
    VerificationCode,
    parse_phone_number,
)

Refusal = type[DomainError]

Decide = Callable[[HumanUser, Policy], list[Event]]
"""A decision that knows everything but the user and the policy. Raises what it refuses."""

_TYPED = VerificationCode("as it was typed")
"""Stands for any code: events do not tell one."""


class CommandKind(StrEnum):
    """What a command asked for."""

    ADD_USER = "add user"
    CHANGE_PHONE = "change phone"
    VOUCH_FOR_PHONE = "vouch for phone"
    ASK_FOR_CODE = "ask for code"
    RECORD_SENT = "record code as sent"
    VERIFY_PHONE = "verify phone"
    VERIFY_IN_VAIN = "verify phone in vain"
    REMOVE_PHONE = "remove phone"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCommand:
    """Events that were stored together, and the decision that gave them."""

    kind: CommandKind | None
    """None: it is no command about a phone, or none that anybody can give."""
    recorded: Sequence[Recorded]
    before: HumanUser
    """The user whom it was given for."""
    decide: Decide

    @property
    def phone(self) -> PhoneNumber | None:
        """The number it is about."""
        match self.recorded[0].event:
            case HumanUserAdded(phone=phone) | PhoneChanged(phone=phone):
                return phone
            case _:
                return self.before.phone

    def answer(self, user: HumanUser, policy: Policy) -> tuple[Refusal | None, list[Event]]:
        """Why *user* refuses it under *policy*, None if not, and what happens."""
        try:
            decided = self.decide(user, policy)
        except DomainError as refusal:
            return type(refusal), []
        if self.kind is CommandKind.VERIFY_PHONE and decided == [PhoneVerificationFailed()]:
            return CodeInvalid, decided  # remembered before it is refused
        return None, decided


def past_commands(history: Iterable[Recorded]) -> Iterator[PastCommand]:
    """The commands behind *history*, in order; what is no command comes as one that decides what happened.

    All events of a command have one time and one creator. A number that is verified while its code lives counts as
    proven with that code: whether somebody vouched for it instead is not in the events.
    """
    user = HumanUser()
    for recorded in _by_command(history):
        kind, decide = _asked(user, [one.event for one in recorded], recorded[0].created_at)
        yield PastCommand(kind=kind, recorded=recorded, before=user, decide=decide)
        user = reduce(HumanUser.evolve, recorded, user)


def _by_command(history: Iterable[Recorded]) -> Iterator[Sequence[Recorded]]:
    command: list[Recorded] = []
    for recorded in history:
        if command and not _goes_on(command, recorded):
            yield command
            command = []
        command.append(recorded)
    if command:
        yield command


def _goes_on(command: Sequence[Recorded], recorded: Recorded) -> bool:
    """Whether *recorded* says what becomes of the number that *command* brought."""
    first, *more = command
    match first.event, recorded.event:
        case (
            HumanUserAdded(phone=PhoneNumber()) | PhoneChanged(),
            PhoneVerificationCodeAdded() | PhoneVerified(),
        ):
            return not more and (first.created_at, first.creator) == (recorded.created_at, recorded.creator)
        case _:
            return False


def _asked(  # noqa: C901, PLR0911 - one case a command
    before: HumanUser, events: list[Event], now: datetime
) -> tuple[CommandKind | None, Decide]:
    """What stored *events*, and the decision it asked for."""
    pending = before.pending_code
    match events:
        case [HumanUserAdded() as profile]:
            return CommandKind.ADD_USER, _add(profile, None)
        case [HumanUserAdded() as profile, (PhoneVerificationCodeAdded() | PhoneVerified()) as proof]:
            return CommandKind.ADD_USER, _add(profile, proof)
        case [PhoneChanged(phone=phone), PhoneVerified()]:
            return CommandKind.VOUCH_FOR_PHONE, _vouch_for(phone)
        case [PhoneChanged(phone=phone), PhoneVerificationCodeAdded() as code]:
            return CommandKind.CHANGE_PHONE, _change(phone, code, now)
        case [PhoneChanged(phone=phone)]:
            return CommandKind.CHANGE_PHONE, _change(phone, PhoneVerificationCodeAdded(), now)
        case [PhoneVerificationCodeAdded() as code]:
            return CommandKind.ASK_FOR_CODE, _ask_for(code, now)
        case [PhoneVerificationCodeSent() as sent] if pending:
            return CommandKind.RECORD_SENT, _record_sent(sent, pending)
        case [PhoneVerified()] if pending and pending.lives_at(now):
            return CommandKind.VERIFY_PHONE, _verify(pending, now, pending_code=_TYPED)
        case [PhoneVerified()] if before.phone:
            return CommandKind.VOUCH_FOR_PHONE, _vouch_for(before.phone)
        case [PhoneVerificationFailed()] if pending:
            return CommandKind.VERIFY_IN_VAIN, _verify(pending, now, pending_code=None)
        case [PhoneRemoved()]:
            return CommandKind.REMOVE_PHONE, lambda user, _: user.remove_phone()
        case _:
            return None, lambda _, __: events


def _add(profile: HumanUserAdded, proof: PhoneVerificationCodeAdded | PhoneVerified | None) -> Decide:
    def decide(user: HumanUser, policy: Policy) -> list[Event]:
        if profile.phone:
            _refuse_unless_allowed(profile.phone, policy)
        code = _renewed(proof, policy) if isinstance(proof, PhoneVerificationCodeAdded) else proof
        return user.add(profile, code)

    return decide


def _change(phone: PhoneNumber, code: PhoneVerificationCodeAdded, now: datetime) -> Decide:
    def decide(user: HumanUser, policy: Policy) -> list[Event]:
        _refuse_unless_allowed(phone, policy)
        return user.change_phone(phone, _renewed(code, policy), now=now, policy=policy)

    return decide


def _vouch_for(phone: PhoneNumber) -> Decide:
    def decide(user: HumanUser, policy: Policy) -> list[Event]:
        _refuse_unless_allowed(phone, policy)
        return user.set_verified_phone(phone)

    return decide


def _ask_for(code: PhoneVerificationCodeAdded, now: datetime) -> Decide:
    return lambda user, policy: user.add_code(_renewed(code, policy), now=now, policy=policy)


def _record_sent(sent: PhoneVerificationCodeSent, code: PendingCode) -> Decide:
    def decide(user: HumanUser, _: Policy) -> list[Event]:
        _refuse_unless_there(code, user)
        return user.record_code_sent(sent, code_sequence=code.sequence)

    return decide


def _verify(code: PendingCode, now: datetime, *, pending_code: VerificationCode | None) -> Decide:
    def decide(user: HumanUser, policy: Policy) -> list[Event]:
        _refuse_unless_there(code, user)
        return user.verify_phone(_TYPED, pending_code, now=now, policy=policy)

    return decide


def _refuse_unless_allowed(phone: PhoneNumber, policy: Policy) -> None:
    """Numbers stay as they are stored: what other rules made of a text is not made anew."""
    parse_phone_number(phone.e164, policy.phone)


def _refuse_unless_there(code: PendingCode, user: HumanUser) -> None:
    """A code that was never made can be neither sent nor typed."""
    if user.pending_code is None or user.pending_code.sequence != code.sequence:
        raise CodeNotFound


def _renewed(code: PhoneVerificationCodeAdded, policy: Policy) -> PhoneVerificationCodeAdded:
    """*code* as the policy would have made it."""
    return code.model_copy(update={"expiry": policy.code_expiry_nanoseconds})
