"""What one event of a history says, in plain words."""

from __future__ import annotations

from typing import assert_never

from humanuser import (
    HumanUser,
    HumanUserAdded,
    HumanUserSelfRegistered,
    InitialisationCodeAdded,
    PendingCode,
    PhoneChanged,
    PhoneNumber,
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
from humanuser_projections.turns import Turn
from humanuser_projections.wording import Wording, sentence, the_code, told_death, told_validity


def event_words(turn: Turn, wording: Wording) -> str:
    """What the creator of the event did, and what followed from it: a verb in the past, and more."""
    to_nobody = not turn.before.exists and not isinstance(turn.recorded.event, HumanUserAdded)
    return sentence(_words(turn, wording), "there was no such user" if to_nobody else "")


def proof_words(before: HumanUser, proof: Recorded, number: str) -> str:
    """How *proof* proved the *number* of the user *before* it.

    The history does not say whether a code was given. Without a living one nobody can have given it; with one, users
    themselves are taken to have, and of others both is said.
    """
    pending = before.pending_code
    if pending is None or not pending.lives_at(proof.created_at):
        return f"vouched for {number}"
    proved = f"proved {number} with {the_code(pending)}"
    return proved if proof.creator == proof.user_id else f"{proved}, or vouched for it"


def stays_in_use(user: HumanUser, wording: Wording) -> str:
    """What becomes of the number that a *user* proved before; empty: there is none."""
    proven = user.last_verified_phone
    return f"the last proven number {wording.number(proven)} stays in use until the new one is proven" if proven else ""


def _words(turn: Turn, wording: Wording) -> str:  # noqa: C901, PLR0911, PLR0912 - one case an event
    before, recorded, event = turn.before, turn.recorded, turn.recorded.event
    match event:
        case HumanUserSelfRegistered(phone=phone):
            return f"registered, {_with(phone, wording)}"
        case HumanUserAdded(phone=phone):
            return f"added the user, {_with(phone, wording)}"
        case ProfileChanged():
            return "changed the profile"
        case PhoneChanged(phone=phone):
            return _change(before, phone, wording)
        case PhoneVerificationCodeAdded() as added:
            code = PendingCode(recorded.sequence, recorded.created_at, before.phone, added)
            return _new_code(before, code, wording)
        case PhoneVerificationCodeSent():
            return _sms(before, wording)
        case PhoneVerified():
            return _proof(turn, wording)
        case PhoneVerificationFailed():
            return _failure(turn, wording)
        case PhoneRemoved():
            return _removal(before, wording)
        case InitialisationCodeAdded():
            return "asked the user to take up the account"
        case UserInitialised():
            return "took up the account"
        case UserLocked():
            return "locked the user"
        case UserUnlocked():
            return "unlocked the user"
        case UserDeactivated():
            return "put the user out of use"
        case UserReactivated():
            return "put the user back into use"
        case UserRemoved():
            return "removed the user, with all numbers and codes"
        case UnknownEvent():
            return f"unknown event kept: {event.type!r}"  # quoted, so that nothing in its name hides
        case _:
            assert_never(event)


def _with(phone: PhoneNumber | None, wording: Wording) -> str:
    return f"with the number {wording.number(phone)}, which is yet to be proven" if phone else "without a phone"


def _change(before: HumanUser, phone: PhoneNumber, wording: Wording) -> str:
    new = wording.number(phone)
    changed = f"changed the number from {wording.number(before.phone)} to {new}" if before.phone else f"set {new}"
    return sentence(changed, stays_in_use(before, wording), _worthless(before))


def _worthless(user: HumanUser) -> str:
    return f"{the_code(user.pending_code)} proves nothing any more" if user.pending_code else ""


def _new_code(before: HumanUser, code: PendingCode, wording: Wording) -> str:
    number = f"for {wording.number(code.phone)}" if code.phone else "though there was no number"
    returned = "it was returned to the caller, so no SMS goes out" if code.added.code_returned else ""
    return sentence(f"asked for a code {number}, {told_validity(code)}", returned, _worthless(before))


def _sms(before: HumanUser, wording: Wording) -> str:
    pending = before.pending_code
    if pending is None:
        return "sent an SMS with a code that proved nothing any more"
    to = f" to {wording.number(pending.phone)}" if pending.phone else ""
    return f"sent the SMS with {the_code(pending)}{to}"


def _proof(turn: Turn, wording: Wording) -> str:
    before = turn.before
    if before.phone is None:
        return "vouched for the number, though there was none"
    proven = before.last_verified_phone
    replaced = f"it takes the place of {wording.number(proven)}" if proven and proven != before.phone else ""
    return sentence(proof_words(before, turn.recorded, wording.number(before.phone)), replaced)


def _failure(turn: Turn, wording: Wording) -> str:
    failed = turn.after.pending_code
    if failed is None:
        return "gave a code that was refused: none was pending"
    or_older = " or an older one" if len(turn.before.codes_asked_at) > 1 else ""
    why = told_death(failed, turn.recorded.created_at) or f"it was wrong{or_older}"
    counted = f"failure {wording.attempt(failed.failures)} with {the_code(failed)}"
    return sentence(f"gave a code that was refused: {why}", counted)


def _removal(before: HumanUser, wording: Wording) -> str:
    removed = f"removed {wording.number(before.phone)}" if before.phone else "removed the number, though there was none"
    proven = before.last_verified_phone
    also = f"the last proven number {wording.number(proven)} is gone, too" if proven and proven != before.phone else ""
    return sentence(removed, also, _worthless(before))
