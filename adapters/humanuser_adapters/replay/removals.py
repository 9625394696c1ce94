"""Users who end because ZITADEL removed their organization, or the whole instance.

ZITADEL stores one event for it, which is not about any user. Here each of the users gets a ``user.removed``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from msgspec import Raw

from humanuser_adapters.event_row import EventRow, UserKey

ORGANIZATION_REMOVED, INSTANCE_REMOVED = "org.removed", "instance.removed"
USER_REMOVED = "user.removed"
_AGGREGATE_TYPES = {ORGANIZATION_REMOVED: "org", INSTANCE_REMOVED: "instance"}
_CAUSES = {cause: Raw(f'{{"cause": "{cause}"}}'.encode()) for cause in _AGGREGATE_TYPES}
"""Payloads that say why a user was removed."""


class LivingUser(NamedTuple):
    """A user who was added and not removed."""

    user: UserKey
    sequence: int
    """Of the last event."""
    organization: str
    added_at: datetime


def removes_users(row: EventRow) -> bool:
    """Whether *row* removes an organization or an instance."""
    return _AGGREGATE_TYPES.get(row.event_type) == row.aggregate_type


def is_removal_with_owner(row: EventRow) -> bool:
    """Whether *row* is what a user got because the organization or the instance was removed."""
    return row.event_type == USER_REMOVED and row.payload in _CAUSES.values()


class Removals:
    """What was removed, and when. An organization that is added again later has new users."""

    def __init__(self, rows: Iterable[EventRow]) -> None:
        self._rows: defaultdict[tuple[str, str], list[EventRow]] = defaultdict(list)
        for row in rows:
            organization = row.aggregate_id if row.event_type == ORGANIZATION_REMOVED else ""
            self._rows[row.instance_id, organization].append(row)

    def organizations(self) -> Mapping[str, set[str]]:
        """By instance, which organizations were removed; the empty one stands for all of the instance."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for instance_id, organization in self._rows:
            found[instance_id].add(organization)
        return found

    def rows_for(self, users: Iterable[LivingUser]) -> Iterator[EventRow]:
        """The events that end those of *users* who were there at a removal."""
        for living in users:
            instance_id = living.user.instance_id
            candidates = [*self._rows[instance_id, living.organization], *self._rows[instance_id, ""]]
            later = [row for row in candidates if row.created_at >= living.added_at]
            if later:
                yield _user_removed(living, min(later, key=lambda row: row.created_at))


def _user_removed(living: LivingUser, cause: EventRow) -> EventRow:
    return EventRow(
        instance_id=living.user.instance_id,
        aggregate_type="user",
        aggregate_id=living.user.user_id,
        event_type=USER_REMOVED,
        sequence=living.sequence + 1,
        revision=cause.revision,
        created_at=cause.created_at,
        payload=_CAUSES[cause.event_type],
        creator=cause.creator,
        owner=living.organization,
        position=cause.position,
        in_tx_order=cause.in_tx_order,
    )
