"""What a history comes to: the phone, whether it is verified, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from humanuser import HumanUser, HumanUserAdded, PendingCode, PhoneChanged, Recorded, UserState
from humanuser_projections.event_words import proof_words, stays_in_use
from humanuser_projections.turns import Turn, last_turn
from humanuser_projections.wording import Wording, sentence, the_code, told_death, told_time


def conclusion(turns: Sequence[Turn], *, now: datetime, wording: Wording) -> str:
    """The phone of a user *now*, after all *turns*, in one sentence."""
    user = turns[-1].after if turns else HumanUser()
    if user.state is UserState.DELETED:
        removal = last_turn(turns, lambda turn: turn.before.state is not UserState.DELETED)
        return f"there is no such user any more: {_did(removal.recorded, 'removed the user')}"
    if not user.exists:
        return "there is no such user: nobody added one"
    if user.phone is None:
        return f"there is no phone: {_why_none(turns)}"
    number = wording.number(user.phone)
    if user.phone_verified:
        proof = last_turn(turns, lambda turn: not turn.before.phone_verified)
        return f"{number} is verified: {_did(proof.recorded, proof_words(proof.before, proof.recorded, 'it'))}"
    return sentence(f"{number} is not verified: {_why_not(turns, user, now, wording)}", stays_in_use(user, wording))


def _did(recorded: Recorded, what: str) -> str:
    return f"{recorded.creator} {what} at {told_time(recorded.created_at)}"


def _why_none(turns: Sequence[Turn]) -> str:
    turn = last_turn(turns, lambda turn: _is_beginning(turn) or turn.before.phone is not None)
    return "the user never had one" if _is_beginning(turn) else _did(turn.recorded, "removed it")


def _is_beginning(turn: Turn) -> bool:
    return isinstance(turn.recorded.event, HumanUserAdded)


def _why_not(turns: Sequence[Turn], user: HumanUser, now: datetime, wording: Wording) -> str:
    """In the order in which a code that is given would be refused."""
    if user.pending_code is None:
        change = last_turn(turns, lambda turn: isinstance(turn.recorded.event, HumanUserAdded | PhoneChanged))
        return f"{_did(change.recorded, 'set it')}, and nobody has asked for a code since"
    if wording.is_beyond_help(user.failures_in_a_row):
        return f"{user.failures_in_a_row} attempts failed in a row, so that no code helps, only somebody who vouches"
    return _why_code_did_not(user.pending_code, now, wording)


def _why_code_did_not(code: PendingCode, now: datetime, wording: Wording) -> str:
    failed = f"failed attempts: {wording.attempt(code.failures)}" if code.failures else ""
    if wording.is_used_up(code):
        return sentence(f"{the_code(code)} is used up, and a new one is needed", failed)
    return sentence(told_death(code, now) or _pending(code), _sms(code), failed)


def _pending(code: PendingCode) -> str:
    until = f" until {told_time(code.expires_at)}" if code.expires_at else ""
    return f"{the_code(code)} is pending{until}"


def _sms(code: PendingCode) -> str:
    if code.added.code_returned:
        return "it was returned to the caller"
    return "its SMS was sent" if code.sent else "its SMS was not sent yet"
