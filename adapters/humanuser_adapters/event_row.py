"""One event as a row of ZITADEL's table ``eventstore.events2``: the form in which events are brought in and out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, NamedTuple, Protocol

from msgspec import Meta, Raw, Struct

NO_PAYLOAD = b"null"
_INT8, _INT4, _INT2 = 2**63 - 1, 2**31 - 1, 2**15 - 1


class UserKey(NamedTuple):
    """One user of one instance."""

    instance_id: str
    user_id: str


class EventRow(Struct, frozen=True, gc=False):
    """The columns, in their order there. ``payload`` and ``position`` are kept as they are written."""

    instance_id: str
    aggregate_type: str
    aggregate_id: str
    event_type: str
    sequence: Annotated[int, Meta(ge=1, le=_INT8)]
    revision: Annotated[int, Meta(ge=0, le=_INT2)]
    created_at: Annotated[datetime, Meta(tz=True)]
    payload: Raw
    """JSON; ``null`` if the event says nothing beyond its name."""
    creator: str
    owner: str
    position: Raw
    """A decimal number that grows with the log; ZITADEL's is the time in seconds."""
    in_tx_order: Annotated[int, Meta(ge=0, le=_INT4)]

    @property
    def user(self) -> UserKey:
        """Whose event it is."""
        return UserKey(self.instance_id, self.aggregate_id)

    @property
    def payload_text(self) -> str | None:
        """The payload as it is stored. Raises ``UnicodeDecodeError``."""
        raw = bytes(self.payload)
        return None if raw == NO_PAYLOAD else raw.decode()

    def values(self, created_at: str) -> tuple[object, ...]:
        """All columns in their order, as texts and numbers; *created_at* is the time as it is to be written."""
        return (
            self.instance_id,
            self.aggregate_type,
            self.aggregate_id,
            self.event_type,
            self.sequence,
            self.revision,
            created_at,
            self.payload_text,
            self.creator,
            self.owner,
            self.position_text,
            self.in_tx_order,
        )

    @property
    def position_text(self) -> str:
        """The position as it is written."""
        return str(self.position, "utf-8")


@dataclass(frozen=True, slots=True)
class Malformed:
    """What should be a row and is none."""

    reason: str
    """What is wrong with it."""
    raw: bytes = field(repr=False)
    user: UserKey | None = None
    """Whose it would be, as far as that can be told."""


class Line(NamedTuple):
    """A row and where it comes from."""

    place: int
    """The number of its line, from 1."""
    content: EventRow | Malformed


class EventSource(Protocol):
    """Rows of events from elsewhere, in the order in which they happened."""

    name: str
    """For people."""
    grows: bool
    """Rows may be added at its end, so what was looked at once need not be again."""

    def identity(self) -> str:
        """The same for the same rows, wherever they are kept. May read all of them."""

    def lines(self, *, after: int = 0) -> Iterator[Line]:
        """The rows behind the line *after*; every call gives the same ones. Raises ``OSError``."""


__all__ = ["EventRow", "EventSource", "Line", "Malformed", "UserKey"]
