"""What every recorder of ours can do, beyond what the library asks of one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from eventsourcing.persistence import ApplicationRecorder, ProcessRecorder, StoredEvent
from eventsourcing.utils import Environment

from humanuser_adapters.event_log import LogEnd

DEFAULT_INSTANCE = "default"
DEFAULT_AGGREGATE_TYPE = "aggregate"
"""The type of aggregates whose application does not name one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What the events of one command have in common."""

    instance_id: str = DEFAULT_INSTANCE
    aggregate_type: str = DEFAULT_AGGREGATE_TYPE
    created_at: datetime | None = None
    """None: the time of storing."""
    creator: str = ""
    owner: str = ""
    revision: int = 1
    command_id: str | None = None
    fingerprint: str | None = None
    """Of the request that the command id names."""


class Row(NamedTuple):
    """An event as it is stored."""

    position: int
    instance_id: str
    aggregate_id: str
    sequence: int
    event_type: str
    revision: int
    created_at: str
    creator: str
    owner: str
    payload: str | bytes | None
    imported: bool = False
    """It happened elsewhere."""


class CommandRows(NamedTuple):
    """What one command stored: at least one row, in order."""

    rows: Sequence[Row]
    fingerprint: str | None


class EventRecorder(ApplicationRecorder):
    """A recorder of the library whose rows carry ZITADEL's columns.

    To an application of the library it shows the events of one instance and one aggregate type.
    """

    @abstractmethod
    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        envelope: Envelope | None = None,
        after: int | None = None,
        **kwargs: Any,
    ) -> Sequence[int] | None:
        """Store the events, all or none, and give their positions.

        *after*, if given, is the sequence at which the aggregate's history must end. Raises the library's
        ``IntegrityError`` if it does not, or if a sequence or command id is there already, be it from an earlier try of
        this very call.
        """

    @abstractmethod
    def select_stream(
        self, instance_id: str, aggregate_type: str, aggregate_id: str, *, after: int = 0
    ) -> Sequence[Row]:
        """The history of one aggregate behind the sequence *after*, in order."""

    @abstractmethod
    def select_log(self, aggregate_type: str, *, after: int, limit: int, until: int | None = None) -> Sequence[Row]:
        """The next events of all aggregates of a type, in position order.

        Without *until*, up to the last position before which nothing can be stored any more; with it, all that are
        committed up to that position.
        """

    @abstractmethod
    def select_histories(
        self, aggregate_type: str, *, after: tuple[str, str, int], until: int, limit: int
    ) -> Sequence[Row]:
        """The next events of a type by instance, aggregate and sequence, up to the position *until*."""

    @abstractmethod
    def select_command(self, instance_id: str, command_id: str) -> CommandRows | None:
        """What one command stored. Returns None if there is nothing."""

    @abstractmethod
    def select_ids(self, instance_id: str, aggregate_type: str, *, after: str = "", limit: int) -> Sequence[str]:
        """The ids of the next aggregates of a type behind the id *after*, in the order of ids."""

    @abstractmethod
    def head(self) -> int:
        """The last position, of all instances and types, before which nothing can be stored any more; 0 if none."""

    def end(self) -> LogEnd:
        """Where the log ends, including what is not committed yet."""
        return LogEnd(position=self.head())


class TrackingEventRecorder(EventRecorder, ProcessRecorder):
    """An ``EventRecorder`` that also tracks how far another application was followed."""


def recorder_options(env: Environment, id_type: str) -> dict[str, Any]:  # Any: keyword arguments
    """What the environment of an application of the library says about its recorder."""
    return {
        "instance_id": env.get("INSTANCE_ID") or DEFAULT_INSTANCE,
        "aggregate_type": env.get("AGGREGATE_TYPE") or DEFAULT_AGGREGATE_TYPE,
        "id_of": UUID if id_type == "uuid" else str,
    }
