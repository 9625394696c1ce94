"""Where events are kept: in a SQLite file or in memory, through recorders of the ``eventsourcing`` library."""

from humanuser_adapters.event_store.aggregate_log import AggregateLog
from humanuser_adapters.event_store.event_json import REGISTRY, event_of, payload_of
from humanuser_adapters.event_store.event_rows import EventRows
from humanuser_adapters.event_store.memory import MemoryEventRecorder
from humanuser_adapters.event_store.recorder import Envelope, EventRecorder
from humanuser_adapters.event_store.sql import SqlEventRecorder
from humanuser_adapters.event_store.sqlite import SQLiteEventRecorder, SQLiteTrackingEventRecorder
from humanuser_adapters.event_store.user_event_store import UserEventStore

__all__ = [
    "REGISTRY",
    "AggregateLog",
    "Envelope",
    "EventRecorder",
    "EventRows",
    "MemoryEventRecorder",
    "SQLiteEventRecorder",
    "SQLiteTrackingEventRecorder",
    "SqlEventRecorder",
    "UserEventStore",
    "event_of",
    "payload_of",
]
