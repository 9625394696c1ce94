"""A long history brought in, read and followed up, beside its floors. Run it with ``make bench``.

- An import of a file, which is checked and then stored. The floor: tuples that are ready, stored in the same table by
  one ``executemany``; on PostgreSQL the server's own ``COPY`` of text that is ready.
- All events read, typed. The floor: the same columns read and validated by pydantic, and payloads by their classes.
- All users' details, made out of the columns of the events and compared. The floor: the events read.
- One user with 1,000 events loaded, typed. The floor: the same columns read, and payloads parsed by ``msgspec``.
- A rebuild of the read models, which has no floor.
- The peak of memory of whole commands, for N events and for ten times as many.

Both sides of a ratio take turns, the garbage collector is off for both, and the best round of each counts.
"""

from __future__ import annotations

import argparse
import gc
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import msgspec
import psycopg
from pydantic import TypeAdapter

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cluster import cluster, new_schema
from humanuser import (
    CodeOwner,
    NewEvents,
    PhoneChanged,
    PhoneNumber,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerified,
    VerificationCode,
)
from humanuser_adapters.application import Application
from humanuser_adapters.details_of_columns import differences_of_details
from humanuser_adapters.event_files import EventFile, json_line
from humanuser_adapters.event_store import SQLiteEventRecorder, UserEventStore
from humanuser_adapters.event_store.event_json import REGISTRY
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys
from zitadel_export import zitadel_events

ROUNDS = 3
EVENTS_A_USER = 20
EVENTS_OF_ONE = 1000
LOADS = 20
"""Of one user, in a round."""
PAGE = 5000
DURABLE = ("max_connections=100", "shared_buffers=256MB")
VAULT = AesGcmVault(Keys("key", {"key": bytes(KEY_BYTES)}))
MOST_MEGABYTES = 300

COLUMNS = """
    position, instance_id, aggregate_id, sequence, event_type, revision, created_at, creator, owner, payload,
    source_position IS NOT NULL
"""
LOG = f"SELECT {COLUMNS} FROM humanuser_events ORDER BY position"
STREAM = f"SELECT {COLUMNS} FROM humanuser_events WHERE instance_id = ? AND aggregate_type = ? AND aggregate_id = ?"
TYPED_ROWS = TypeAdapter(list[tuple[int, str, str, int, str, int, datetime, str, str, str | None, bool]])

Round = Callable[[], tuple[float, float]]
"""Seconds for ours and for the floor."""


def main() -> None:
    """Print every figure beside what is asked of it."""
    parser = argparse.ArgumentParser(prog="replay", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, metavar="N")
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory(prefix="humanuser-bench-") as name, cluster(DURABLE) as url:
        folder = Path(name)
        _print_memory(folder, events)  # first, while this process is small: others begin with its peak
        file = _exported(folder, events)
        _print_ratio("import, SQLite", events, 0.5, lambda: _import_into_sqlite(folder, file))
        _print_ratio("import, PostgreSQL", events, 0.5, lambda: _import_into_postgresql(url, file))
        path = folder / "replay.sqlite"
        _print_rate("rebuild, SQLite", 150_000, str(path), file)
        _print_rate("rebuild, PostgreSQL", 50_000, new_schema(url), file)
        with closing(SQLiteDatabase(path)) as database, closing(sqlite3.connect(path)) as connection:
            store = UserEventStore(SQLiteEventRecorder(database))
            _print_ratio("typed replay of all", events, 0.9, lambda: _read_all(store, connection))
            _print_ratio("details of columns", events, 1.0, lambda: _compare_details(database))
            _append_events_of_one(store)
            _print_ratio("one user loaded", EVENTS_OF_ONE * LOADS, 0.5, lambda: _load_one(store, connection))


def _print_ratio(what: str, events: int, asked: float, one_round: Round) -> None:
    ours, floor = (min(seconds) for seconds in zip(*(one_round() for _ in range(ROUNDS)), strict=True))
    rates = f"{events / ours:>10,.0f} events/s beside {events / floor:>10,.0f}"
    print(f"{what:<22} {rates}, ratio {floor / ours:.2f}, asked {asked}", flush=True)


def _print_rate(what: str, asked: int, database: str, file: Path) -> None:
    with Application(database, VAULT) as application:
        events = application.import_events(EventFile(file)).stored
        seconds = min(_timed(application.rebuild) for _ in range(ROUNDS))
    print(f"{what:<22} {events / seconds:>10,.0f} events/s, asked {asked:,}", flush=True)


def _print_memory(folder: Path, events: int) -> None:
    counts = (events, 10 * events)
    peaks = list(zip(*(_peaks(folder, count) for count in counts), strict=True))
    for command, of_command in zip(("import", "verify", "export"), peaks, strict=True):
        told = ", ".join(f"{peak:.0f} MB of {count:,} events" for peak, count in zip(of_command, counts, strict=True))
        print(f"{command:<22} peak {told}, asked below {MOST_MEGABYTES} MB", flush=True)


def _peaks(folder: Path, events: int) -> list[float]:
    """Megabytes of an import, a check and an export."""
    with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
        file = elsewhere.submit(_exported, folder, events).result()
    commands = (("import", str(file)), ("verify",), ("export", str(folder / "again.jsonl")))
    return [_peak_megabytes(*command, "--database", str(folder / f"{events}.sqlite")) for command in commands]


def _peak_megabytes(*arguments: str) -> float:
    """Of the command line with these *arguments*."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "humanuser_adapters.cli", *arguments]
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, env=environment, stdout=told, stderr=told)  # noqa: S603 - ours
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            told.seek(0)
            raise RuntimeError(f"humanuser {' '.join(arguments)} failed: {told.read()}")
    return usage.ru_maxrss / 1024


def _exported(folder: Path, events: int) -> Path:
    path = folder / "zitadel.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json_line(row)}\n" for row in zitadel_events(events, events // EVENTS_A_USER))
    return path


def _timed(work: Callable[[], object]) -> float:
    gc.collect()
    gc.freeze()
    gc.disable()
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    gc.enable()
    gc.unfreeze()
    return seconds


def _import_into_sqlite(folder: Path, file: Path) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        with Application(f"{fresh}/ours.sqlite", VAULT) as application:
            ours = _timed(lambda: application.import_events(EventFile(file)))
        with closing(sqlite3.connect(f"{fresh}/ours.sqlite")) as connection:
            rows = connection.execute("SELECT * FROM humanuser_events").fetchall()
        Application(f"{fresh}/floor.sqlite", VAULT).close()  # the same tables
        with closing(sqlite3.connect(f"{fresh}/floor.sqlite")) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            places = ", ".join("?" * len(rows[0]))

            def insert() -> None:
                with connection:
                    connection.executemany(f"INSERT INTO humanuser_events VALUES ({places})", rows)

            return ours, _timed(insert)


def _import_into_postgresql(url: str, file: Path) -> tuple[float, float]:
    database, floor = new_schema(url), new_schema(url)
    with Application(database, VAULT) as application:
        ours = _timed(lambda: application.import_events(EventFile(file)))
    with psycopg.connect(database) as connection, connection.cursor().copy("COPY humanuser_events TO STDOUT") as copy:
        text = b"".join(copy)
    Application(floor, VAULT).close()  # the same tables
    with psycopg.connect(floor) as connection, connection.cursor() as cursor:

        def insert() -> None:
            with cursor.copy("COPY humanuser_events FROM STDIN") as copy:
                copy.write(text)
            connection.commit()

        return ours, _timed(insert)


def _read_all(store: UserEventStore, connection: sqlite3.Connection) -> tuple[float, float]:
    def ours() -> None:
        after = 0
        while page := store.read_all(after=after, limit=PAGE):
            after = page[-1].position

    def floor() -> None:
        cursor = connection.execute(LOG)
        while rows := cursor.fetchmany(PAGE):
            for *_, event_type, _, _, _, _, payload, _ in TYPED_ROWS.validate_python(rows):
                if fact := REGISTRY.get(event_type):
                    fact.model_validate_json(payload or "{}")

    return _timed(ours), _timed(floor)


def _compare_details(database: SQLiteDatabase) -> tuple[float, float]:
    def ours() -> None:
        list(differences_of_details(database, "users"))

    def floor() -> None:
        with database.read(at_length=True) as connection:
            connection.execute(LOG).fetchall()

    return _timed(ours), _timed(floor)


def _load_one(store: UserEventStore, connection: sqlite3.Connection) -> tuple[float, float]:
    def ours() -> None:
        for _ in range(LOADS):
            store.load("default", "ada")

    def floor() -> None:
        for _ in range(LOADS):
            for row in connection.execute(f"{STREAM} ORDER BY sequence", ("default", "user", "ada")):
                msgspec.json.decode(row[9] or "null")

    return _timed(ours), _timed(floor)


def _append_events_of_one(store: UserEventStore) -> None:
    """As a life goes that changes its number again and again."""
    sealed = VAULT.seal(VerificationCode("271828"), CodeOwner("default", "ada"))
    code = PhoneVerificationCodeAdded(code=sealed, expiry=600_000_000_000)
    for after in range(0, EVENTS_OF_ONE, 4):
        phone = PhoneNumber(f"+4179{1_000_000 + after}")
        events = (PhoneChanged(phone=phone), code, PhoneVerificationCodeSent(), PhoneVerified())
        now = datetime.now(UTC)
        store.append(
            NewEvents(
                instance_id="default",
                user_id="ada",
                events=events,
                after=after,
                created_at=now,
                creator="admin",
                resource_owner="acme",
            )
        )


if __name__ == "__main__":
    main()
