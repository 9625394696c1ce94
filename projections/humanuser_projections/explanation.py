"""A history in plain words, for people who ask why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from humanuser import PhoneNumber, Policy, Recorded
from humanuser_projections.conclusion import conclusion
from humanuser_projections.event_words import event_words
from humanuser_projections.turns import turns_of
from humanuser_projections.wording import Wording


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One event in plain words."""

    sequence: int
    at: datetime
    creator: str
    """Who did it."""
    words: str
    """What the creator did, such as ``asked for a code for **********67, valid for 10 minutes, until …``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How a user's phone came to be what it is."""

    steps: Sequence[Step]
    """One for each event."""
    phone: PhoneNumber | None
    """None: there is no phone, or no such user."""
    verified: bool
    conclusion: str
    """The phone, whether it is verified, and why, in one sentence."""


def explain(
    history: Iterable[Recorded], *, now: datetime, policy: Policy | None = None, reveal: bool = False
) -> Explanation:
    """What the *history* of one user says, and what it comes to *now* (aware). Any history will do.

    With a *policy* failures are counted against its limits, whatever they were when it happened. Codes are never told;
    numbers are masked unless *reveal*. To explain an earlier moment, give ``history_until`` then.
    """
    wording = Wording(reveal=reveal, policy=policy)
    turns = turns_of(history)
    steps = [
        Step(
            sequence=turn.recorded.sequence,
            at=turn.recorded.created_at,
            creator=turn.recorded.creator,
            words=event_words(turn, wording),
        )
        for turn in turns
    ]
    user = turns[-1].after if turns and turns[-1].after.exists else None
    return Explanation(
        steps=steps,
        phone=user.phone if user else None,
        verified=user is not None and user.phone_verified,
        conclusion=conclusion(turns, now=now, wording=wording),
    )
