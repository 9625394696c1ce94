"""A history replayed against another policy: which of its commands that policy would have refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from humanuser import (
    CodeInvalid,
    Event,
    HumanUser,
    LimitReached,
    PhoneEmpty,
    PhoneInvalid,
    PhoneNumber,
    Policy,
    Recorded,
)
from humanuser_projections.past_commands import CommandKind, PastCommand, Refusal, past_commands

OF_THE_POLICY = (PhoneEmpty, PhoneInvalid, LimitReached, CodeInvalid)
"""What the numbers of a policy refuse; ``CodeInvalid`` is a right code that came too late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCommand:
    """A past command, and what the policy would have made of it."""

    kind: CommandKind
    user_id: str
    sequence: int
    """Of its first event."""
    created_at: datetime
    phone: PhoneNumber | None
    """The number it is about."""
    refusal: Refusal | None
    """None: it would have been as it was."""

    @property
    def follows(self) -> bool:
        """Whether it is refused only because an earlier one is: there is no such number, code or user then."""
        return self.refusal is not None and not _is_of_the_policy(self.refusal)


def what_if(
    history: Iterable[Recorded], policy: Policy, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[JudgedCommand]:
    """The commands of one user's *history*, as if *policy* had been in force from *since* until before *until*.

    The decisions are those of ``HumanUser``. What is refused does not happen, so what came of it falls away as well:
    the SMS, the proof with that code. Codes live as long as the policy has them live. What the rules refuse whatever
    the policy, and what is no command, has happened all the same.

    What events do not tell stays unknown: commands that were refused then left none, so a policy that allows more shows
    nothing; a wrong code stays wrong, also if it was only late; and nobody knows who would have asked again later. How
    codes look is not judged, nor who was allowed to ask.
    """
    user = HumanUser()
    for command in past_commands(history):
        first, happened = command.recorded[0], command.recorded
        if (since is None or since <= first.created_at) and (until is None or first.created_at < until):
            refusal, happened = _judge(command, user, policy)
            if command.kind is not None:
                yield JudgedCommand(
                    kind=command.kind,
                    user_id=first.user_id,
                    sequence=first.sequence,
                    created_at=first.created_at,
                    phone=command.phone,
                    refusal=refusal,
                )
        user = reduce(HumanUser.evolve, happened, user)


def _judge(command: PastCommand, user: HumanUser, policy: Policy) -> tuple[Refusal | None, Sequence[Recorded]]:
    """Why *user* refuses *command*, None if not, and what happens."""
    refusal, decided = command.answer(user, policy)
    if refusal is not None and not _is_of_the_policy(refusal):
        without_policy, _ = command.answer(command.before, policy)
        if without_policy is not None and not _is_of_the_policy(without_policy):
            return None, command.recorded
    return refusal, _in_envelopes(decided, command.recorded)


def _is_of_the_policy(refusal: Refusal) -> bool:
    return issubclass(refusal, OF_THE_POLICY)


def _in_envelopes(decided: Sequence[Event], recorded: Sequence[Recorded]) -> Sequence[Recorded]:
    """What was *decided*, in place of *recorded*. A code is the last event of its command, and keeps its sequence."""
    return [recorded[-1]._replace(event=event) for event in decided]
