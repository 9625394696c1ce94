"""The database that commands and reads work on inside of a host's transaction."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

from humanuser_adapters.database import Connection, Database


class HostTransaction(ABC):
    """A ``Database`` through the one connection of a host, who alone commits or rolls back.

    A block of ``write`` is undone by itself when it raises; what the host did before stays. Every block raises
    ``TransactionUnusable`` or ``TransactionOvertaken`` where the host's transaction is not fit for it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def types(self) -> Mapping[str, str]:
        return self._database.types

    @property
    def claiming(self) -> str:
        return self._database.claiming

    @abstractmethod
    def read(self, *, at_length: bool = False) -> AbstractContextManager[Connection]:
        """The host's connection; it sees what the host's transaction sees, and what was stored in it."""

    @abstractmethod
    def write(self) -> AbstractContextManager[Connection]:
        """A part of the host's transaction; undone when it raises, and otherwise the host's to commit."""

    def glance(self) -> AbstractContextManager[Connection]:
        return self.read()

    def probe(self) -> AbstractContextManager[Connection]:
        return self._database.probe()

    def now(self, connection: Connection) -> datetime:
        return self._database.now(connection)

    def migrate(self, component: str, scripts: Sequence[Sequence[str]]) -> None:  # noqa: B027 - as it says
        """Nothing: whoever opened the database has made the tables."""

    def listen(self, event: threading.Event) -> None:
        self._database.listen(event)

    def unlisten(self, event: threading.Event) -> None:
        self._database.unlisten(event)

    def close(self) -> None:  # noqa: B027 - as above
        """Nothing: the connection is the host's."""
