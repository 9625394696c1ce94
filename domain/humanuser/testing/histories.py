"""Histories to begin a test with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from humanuser.events import Event, Recorded

AT = datetime(2026, 5, 10, 12, tzinfo=UTC)
"""When histories happen unless a test says otherwise."""


def history(
    *events: Event | timedelta, user_id: str = "user1", owner: str = "org1", creator: str = "admin", at: datetime = AT
) -> list[Recorded]:
    """*events* as they were recorded one after the other; a ``timedelta`` among them lets time pass."""
    recorded: list[Recorded] = []
    for event in events:
        if isinstance(event, timedelta):
            at += event
            continue
        recorded.append(
            Recorded(
                instance_id="default",
                user_id=user_id,
                sequence=len(recorded) + 1,
                created_at=at,
                creator=creator,
                resource_owner=owner,
                event=event,
                position=len(recorded) + 1,
            )
        )
    return recorded
