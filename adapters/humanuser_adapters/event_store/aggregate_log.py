"""The log of a host's own aggregates, for a subscription."""

from __future__ import annotations

from collections.abc import Sequence

from humanuser_adapters.event_log import Entry, LogEnd
from humanuser_adapters.event_store.recorder import Row
from humanuser_adapters.event_store.sql import SqlEventRecorder
from humanuser_adapters.event_store.user_event_store import entry


class AggregateLog:
    """All events of one type of aggregates, as an application of the library stored them.

    They come as an ``UnknownEvent``, with the aggregate's id for a user's.
    """

    def __init__(self, recorder: SqlEventRecorder, aggregate_type: str) -> None:
        self._recorder = recorder
        self._aggregate_type = aggregate_type

    def read_log(self, *, after: int, limit: int, until: int | None = None) -> Sequence[Entry]:
        rows = self._recorder.select_log(self._aggregate_type, after=after, limit=limit, until=until)
        return [entry(row._replace(payload=self._recorder.state(row.payload))) for row in map(Row._make, rows)]

    def head(self) -> int:
        return self._recorder.head()

    def end(self) -> LogEnd:
        return self._recorder.end()
