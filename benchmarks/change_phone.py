"""The full change-phone command on SQLite beside its floor. Run it with ``make bench``.

The command: parse, load, replay, draw and seal a code, decide, append two events, answer; once with a number that this
process has never parsed, once with one that it has. The floor: ``sqlite3`` alone, one transaction that inserts the same
rows into the same table, with the same durability (WAL, ``synchronous=FULL``). The bare floor: the same without the
indexes that keep sequences and command ids unique. All take turns, one transaction at a time, so that each meets the
machine in the same mood; what counts is the median of the rounds' ratios.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from humanuser import By, Commands, HumanUserAdded
from humanuser_adapters.application import utc_now
from humanuser_adapters.event_store import SQLiteEventRecorder, UserEventStore
from humanuser_adapters.event_store.sqlite import SCHEMA
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys, draw_code

ROUNDS = 7
TRANSACTIONS = 1000
KNOWN = 100
"""So many numbers are used again and again."""
BY = By("264170294872178691", organization="69629023906488334")
COLUMNS = (
    "instance_id, aggregate_type, aggregate_id, sequence, event_type, revision, created_at, creator, owner, payload, "
    "in_tx_order, command_id"
)
BARE = (f"CREATE TABLE humanuser_events (position INTEGER PRIMARY KEY, {COLUMNS})",)


def main() -> None:
    """Print the rounds and the median ratios."""
    with tempfile.TemporaryDirectory(prefix="humanuser-bench-") as folder:
        database = SQLiteDatabase(Path(folder) / "command.sqlite")
        floor = _raw(Path(folder) / "floor.sqlite", SCHEMA[0])
        bare = _raw(Path(folder) / "bare.sqlite", BARE)
        print(f"{TRANSACTIONS} transactions of 2 events a round; per second:")
        print(f"{'round':>5} {'new number':>10} {'known one':>10} {'floor':>10} {'bare floor':>10}")
        rounds = [_round(number, database, floor, bare) for number in range(1, ROUNDS + 1)]
    for name, which in (("floor", 2), ("bare floor", 3)):
        new, known = (statistics.median(one[which] / one[command] for one in rounds) for command in (0, 1))
        print(f"median ratio to the {name}: {new:.2f} with a new number, {known:.2f} with a known one")


def _round(number: int, database: SQLiteDatabase, *raw: sqlite3.Connection) -> list[float]:
    """Seconds for the command with a new number, with a known one, and for each of *raw*."""
    commands = _commands(database)
    seconds = [0.0] * (2 + len(raw))
    for i in range(TRANSACTIONS):
        user_id = ""
        for known in (False, True):
            user_id = f"{264170294872178691 + number * TRANSACTIONS + i}{int(known)}"
            phone = f"+4178000{i % KNOWN:04}" if known else f"+4179{number:03}{i:04}"
            commands.add_human_user(user_id, HumanUserAdded(user_name="ada", first_name="Ada", last_name="L"), by=BY)
            seconds[known] += _timed(commands.change_phone, user_id, phone, by=BY)
        rows = _stored(database, user_id)
        for which, connection in enumerate(raw, 2):
            _insert(connection, rows[:1])
            seconds[which] += _timed(_insert, connection, rows[1:])
    print(f"{number:>5} " + " ".join(f"{TRANSACTIONS / one:>10.0f}" for one in seconds))
    return seconds


def _timed(work: Callable[..., object], *args: Any, **kwargs: Any) -> float:  # Any: of whatever work it is
    began = time.perf_counter()
    work(*args, **kwargs)
    return time.perf_counter() - began


def _insert(connection: sqlite3.Connection, rows: Sequence[Sequence[object]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        f"INSERT INTO humanuser_events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
    )
    connection.execute("COMMIT")


def _commands(database: SQLiteDatabase) -> Commands:
    store = UserEventStore(SQLiteEventRecorder(database))
    return Commands(store, AesGcmVault(Keys("key", {"key": bytes(KEY_BYTES)})), utc_now, draw_code)


def _raw(path: Path, schema: Sequence[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    for statement in schema:
        connection.execute(statement)
    return connection


def _stored(database: SQLiteDatabase, user_id: str) -> list[tuple[object, ...]]:
    query = f"""
        SELECT {COLUMNS} FROM humanuser_events
        WHERE instance_id = 'default' AND aggregate_type = 'user' AND aggregate_id = ?
    """
    with database.glance() as connection:
        return connection.execute(query, (user_id,)).fetchall()


if __name__ == "__main__":
    main()
