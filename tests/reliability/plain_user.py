"""What a user was at a moment, told from the lines of a file, in the plainest way and by none of the code it judges."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from humanuser_projections import UserAsOf

ADDED = ("user.human.added", "user.added", "user.human.selfregistered", "user.selfregistered")
NOT_COUNTED = ("phone.code.added", "phone.code.sent", "phone.verification.failed")
"""Events after which ZITADEL's details are as before."""
STATES = {
    "user.locked": "locked",
    "user.unlocked": "active",
    "user.deactivated": "inactive",
    "user.reactivated": "active",
}


class PlainRow(NamedTuple):
    """A line of the file."""

    user_id: str
    sequence: int
    at: datetime
    event_type: str
    payload: Mapping[str, Any]  # Any: JSON
    owner: str

    @classmethod
    def of(cls, line: bytes) -> PlainRow:
        """The row in *line*."""
        row = json.loads(line)
        at = datetime.fromisoformat(row["created_at"])
        return cls(row["aggregate_id"], row["sequence"], at, row["event_type"], row["payload"] or {}, str(row["owner"]))


class Question(NamedTuple):
    """What was this user then?"""

    user_id: str
    at: datetime | None = None
    sequence: int | None = None
    """Of both, the one that is not None says when."""


class PlainUser(NamedTuple):
    """What a user was."""

    state: str
    phone: str | None
    verified: bool
    sequence: int
    """This and what follows are the details."""
    creation_date: datetime
    change_date: datetime
    owner: str


def plain_user(rows: Iterable[PlainRow], question: Question) -> PlainUser | None:
    """The user whose *rows*, in their order, these are; None: there was none."""
    past = [row for row in rows if _by_then(row, question)]
    if not past or past[-1].event_type == "user.removed":
        return None
    counted = [row for row in past if not row.event_type.endswith(NOT_COUNTED)]
    changes = [row for row in past if row.event_type in STATES]
    return PlainUser(
        STATES[changes[-1].event_type] if changes else "active",
        *_phone(past),
        counted[-1].sequence,
        past[0].at,
        counted[-1].at,
        past[0].owner,
    )


def answers_of(user: UserAsOf | None) -> set[PlainUser | None]:
    """The same, of what was answered: as decisions saw the user, and as reads did."""
    if user is None:
        return {None}
    state, details = user.user.state.value, user.details
    rest = (details.sequence, details.creation_date, details.change_date, details.resource_owner)
    phones = ((user.user.phone, user.user.phone_verified), (user.phone.phone, user.phone.verified))
    return {PlainUser(state, phone.e164 if phone else None, verified, *rest) for phone, verified in phones}


def _by_then(row: PlainRow, question: Question) -> bool:
    if question.at is not None:
        return row.at <= question.at
    return question.sequence is not None and row.sequence <= question.sequence


def _phone(past: Sequence[PlainRow]) -> tuple[str | None, bool]:
    """The last number that was given, unless it was removed since, and whether it was proven since."""
    ends = ("phone.changed", "phone.removed")
    last = max(number for number, row in enumerate(past) if row.event_type in ADDED or row.event_type.endswith(ends))
    phone = past[last].payload.get("phone")
    proven = any(row.event_type.endswith("phone.verified") for row in past[last:])
    return phone, phone is not None and proven
