"""The commands behind a history: what was asked of a user, as far as the events tell that were stored because of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial, reduce

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

Proof = PhoneVerificationCodeAdded | PhoneVerified
"""What becomes of a new user's number."""

Decide = Callable[[HumanUser, Policy], list[Event]]
"""A decision that knows everything but the user and the policy. Raises what it refuses. It can be pickled."""

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
            return CommandKind.ADD_USER, partial(_add, profile=profile, proof=None)
        case [HumanUserAdded() as profile, (PhoneVerificationCodeAdded() | PhoneVerified()) as proof]:
            return CommandKind.ADD_USER, partial(_add, profile=profile, proof=proof)
        case [PhoneChanged(phone=phone), PhoneVerified()]:
            return CommandKind.VOUCH_FOR_PHONE, partial(_vouch_for, phone=phone)
        case [PhoneChanged(phone=phone), PhoneVerificationCodeAdded() as code]:
            return CommandKind.CHANGE_PHONE, partial(_change, phone=phone, code=code, now=now)
        case [PhoneChanged(phone=phone)]:
            return CommandKind.CHANGE_PHONE, partial(_change, phone=phone, code=PhoneVerificationCodeAdded(), now=now)
        case [PhoneVerificationCodeAdded() as code]:
            return CommandKind.ASK_FOR_CODE, partial(_ask_for, code=code, now=now)
        case [PhoneVerificationCodeSent() as sent] if pending:
            return CommandKind.RECORD_SENT, partial(_record_sent, sent=sent, code=pending)
        case [PhoneVerified()] if pending and pending.lives_at(now):
            return CommandKind.VERIFY_PHONE, partial(_verify, code=pending, now=now, pending_code=_TYPED)
        case [PhoneVerified()] if before.phone:
            return CommandKind.VOUCH_FOR_PHONE, partial(_vouch_for, phone=before.phone)
        case [PhoneVerificationFailed()] if pending:
            return CommandKind.VERIFY_IN_VAIN, partial(_verify, code=pending, now=now, pending_code=None)
        case [PhoneRemoved()]:
            return CommandKind.REMOVE_PHONE, _remove
        case _:
            return None, partial(_what_happened, events=events)


def _add(
    user: HumanUser,
    policy: Policy,
    *,
    profile: HumanUserAdded,
    proof: PhoneVerificationCodeAdded | PhoneVerified | None,
) -> list[Event]:
    if profile.phone:
        _refuse_unless_allowed(profile.phone, policy)
    code = _renewed(proof, policy) if isinstance(proof, PhoneVerificationCodeAdded) else proof
    return user.add(profile, code)


def _change(
    user: HumanUser, policy: Policy, *, phone: PhoneNumber, code: PhoneVerificationCodeAdded, now: datetime
) -> list[Event]:
    _refuse_unless_allowed(phone, policy)
    return user.change_phone(phone, _renewed(code, policy), now=now, policy=policy)


def _vouch_for(user: HumanUser, policy: Policy, *, phone: PhoneNumber) -> list[Event]:
    _refuse_unless_allowed(phone, policy)
    return user.set_verified_phone(phone)


def _ask_for(user: HumanUser, policy: Policy, *, code: PhoneVerificationCodeAdded, now: datetime) -> list[Event]:
    return user.add_code(_renewed(code, policy), now=now, policy=policy)


def _record_sent(user: HumanUser, _: Policy, *, sent: PhoneVerificationCodeSent, code: PendingCode) -> list[Event]:
    _refuse_unless_there(code, user)
    return user.record_code_sent(sent, code_sequence=code.sequence)


def _verify(
    user: HumanUser, policy: Policy, *, code: PendingCode, now: datetime, pending_code: VerificationCode | None
) -> list[Event]:
    _refuse_unless_there(code, user)
    return user.verify_phone(_TYPED, pending_code, now=now, policy=policy)


def _remove(user: HumanUser, _: Policy) -> list[Event]:
    return user.remove_phone()


def _what_happened(_: HumanUser, __: Policy, *, events: list[Event]) -> list[Event]:
    return events


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
