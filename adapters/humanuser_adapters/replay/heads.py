"""Where each user's history ends, for more users than fit into memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Self

from humanuser_adapters.event_row import UserKey

AT_HAND = 200_000
"""How many users are kept in memory: about 60 MB."""


class Heads:
    """The last sequence of every user: of those of late in memory, of all others in a file that goes by itself."""

    def __init__(self, at_hand: int = AT_HAND) -> None:
        self.recent: dict[UserKey, int] = {}
        """To be read and changed by whoever has called ``fetch`` for the users it asks about."""
        self._at_hand = at_hand
        self._others = sqlite3.connect("", isolation_level=None)  # a temporary file of its own
        self._others.execute(
            "CREATE TABLE heads (instance_id TEXT, user_id TEXT, head INTEGER, PRIMARY KEY (instance_id, user_id)) "
            "WITHOUT ROWID"
        )
        self._put_away = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._others.close()

    def fetch(self, users: Collection[UserKey]) -> None:
        """Have the heads of *users* at hand, as far as they have any."""
        if len(self.recent) > self._at_hand:
            self._put_all_away()
        if not self._put_away:
            return
        query = "SELECT head FROM heads WHERE instance_id = ? AND user_id = ?"
        for user in users:
            if user not in self.recent and (row := self._others.execute(query, user).fetchone()):
                self.recent[user] = row[0]

    def _put_all_away(self) -> None:
        self._others.execute("BEGIN")
        rows = ((*user, head) for user, head in self.recent.items())
        self._others.executemany("INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", rows)
        self._others.execute("COMMIT")
        self.recent.clear()
        self._put_away = True
