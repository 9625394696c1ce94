"""Every event store of ours keeps the contract, and serves the library as a persistence module."""

from __future__ import annotations

from pathlib import Path

import pytest

from humanuser.testing import EventStoreContract
from humanuser_adapters.event_store import MemoryEventRecorder, SQLiteEventRecorder, UserEventStore
from humanuser_adapters.sqlite import Database


class TestMemory(EventStoreContract):
    def create_store(self) -> UserEventStore:
        return UserEventStore(MemoryEventRecorder())


class TestSQLite(EventStoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def create_store(self) -> UserEventStore:
        return UserEventStore(SQLiteEventRecorder(Database(self.folder / "test.sqlite")))
