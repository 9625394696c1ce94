"""The full change-phone command on SQLite beside its floor. Run it with ``make bench``.

The command: parse, load, replay, draw and seal a code, decide, append two events, answer.
The floor: ``sqlite3`` alone, one transaction that inserts the same bytes into a table without any index but its key, with
the same durability (WAL, synchronous=FULL). Both go in turns on the same disk; what counts is the median of the ratios.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from humanuser import By, Commands, HumanUserAdded
from humanuser_adapters.application import utc_now
from humanuser_adapters.event_store import SQLiteEventRecorder, UserEventStore
from humanuser_adapters.sqlite import Database
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys, draw_code

ROUNDS = 7
COMMANDS = 1000
BY = By("264170294872178691", organization="69629023906488334")
COLUMNS = (
    "instance_id, aggregate_type, aggregate_id, sequence, event_type, revision, created_at, creator, owner, payload, "
    "in_tx_order, command_id"
)


def main() -> None:
    """Print the rounds and the median ratio."""
    with tempfile.TemporaryDirectory(prefix="humanuser-bench-") as folder:
        database = Database(Path(folder) / "command.sqlite")
        commands = _commands(database)
        floor = _floor(Path(folder) / "floor.sqlite")
        print(f"{COMMANDS} commands of 2 events a round, one after the other; per second:")
        print(f"{'round':>5} {'floor':>8} {'command':>8} {'ratio':>6}")
        ratios = [_round(number, floor, commands, database) for number in range(1, ROUNDS + 1)]
        print(f"median ratio {statistics.median(ratios):.2f}, of 1.00 if the command cost nothing beyond the floor")
        floor.close()
        database.close()


def _round(number: int, floor: sqlite3.Connection, commands: Commands, database: Database) -> float:
    users = [f"{264170294872178691 + number * COMMANDS + i}" for i in range(COMMANDS)]
    for user_id in users:
        commands.add_human_user(user_id, HumanUserAdded(user_name="ada", first_name="Ada", last_name="L"), by=BY)
    began = time.perf_counter()
    for i, user_id in enumerate(users):
        commands.change_phone(user_id, f"+4179{number:03}{i:04}", by=BY)
    command_seconds = time.perf_counter() - began
    transactions = [_stored(database, user_id) for user_id in users]
    began = time.perf_counter()
    for rows in transactions:
        floor.execute("BEGIN IMMEDIATE")
        floor.executemany(f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        floor.execute("COMMIT")
    floor_seconds = time.perf_counter() - began
    ratio = floor_seconds / command_seconds
    print(f"{number:>5} {COMMANDS / floor_seconds:>8.0f} {COMMANDS / command_seconds:>8.0f} {ratio:>6.2f}")
    return ratio


def _commands(database: Database) -> Commands:
    store = UserEventStore(SQLiteEventRecorder(database))
    return Commands(store, AesGcmVault(Keys("key", {"key": bytes(KEY_BYTES)})), utc_now, draw_code)


def _floor(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"CREATE TABLE events (position INTEGER PRIMARY KEY, {COLUMNS})")
    return connection


def _stored(database: Database, user_id: str) -> list[tuple[object, ...]]:
    query = f"SELECT {COLUMNS} FROM humanuser_events WHERE aggregate_id = ? AND instance_id = 'default' AND aggregate_type = 'user' AND sequence > 1"
    with database.read() as connection:
        return connection.execute(query, (user_id,)).fetchall()


if __name__ == "__main__":
    main()
