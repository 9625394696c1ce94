"""The SQLite file: durable, shared, and clear about what is wrong."""

from __future__ import annotations

import resource
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from fakes import new_events, store_on
from humanuser import HumanUserAdded, StoreUnavailable, UnreadableEvent
from humanuser_adapters.database import RowsClash, text_of_time, time_of_text
from humanuser_adapters.event_log import Unreadable
from humanuser_adapters.sqlite import SQLiteDatabase

TABLE = (("CREATE TABLE things (name TEXT UNIQUE)",),)
WRITER = """
import sys
from humanuser_adapters.sqlite import SQLiteDatabase
database = SQLiteDatabase(sys.argv[1])
for line in sys.stdin:
    with database.write() as connection:
        connection.execute("INSERT INTO things VALUES (?)", (line.strip(),))
"""


@pytest.fixture
def database(tmp_path: Path) -> SQLiteDatabase:
    database = SQLiteDatabase(tmp_path / "test.sqlite", patience=timedelta(seconds=0.2))
    database.migrate("things", TABLE)
    return database


def names(database: SQLiteDatabase) -> list[str]:
    with database.read() as connection:
        return [name for (name,) in connection.execute("SELECT name FROM things ORDER BY rowid")]


def add(database: SQLiteDatabase, name: str) -> None:
    with database.write() as connection:
        connection.execute("INSERT INTO things VALUES (?)", (name,))


def test_what_is_written_is_synced_to_disk(database: SQLiteDatabase) -> None:
    with database.write() as connection:
        mode = connection.execute("PRAGMA journal_mode").fetchone()
        synchronous = connection.execute("PRAGMA synchronous").fetchone()

    assert (mode, synchronous) == (("wal",), (2,))


def test_a_block_that_raises_is_undone(database: SQLiteDatabase) -> None:
    with pytest.raises(RowsClash):  # noqa: SIM117 - the outer one is the assertion
        with database.write() as connection:
            connection.executemany("INSERT INTO things VALUES (?)", [("a",), ("a",)])

    add(database, "b")

    assert names(database) == ["b"]


def test_rows_that_clash_are_their_owners_business(database: SQLiteDatabase) -> None:
    add(database, "a")

    with pytest.raises(RowsClash):
        add(database, "a")

    assert names(database) == ["a"]


def test_a_glance_sees_what_was_just_written_also_beside_a_writer(database: SQLiteDatabase) -> None:
    add(database, "a")

    with database.glance() as connection:
        idle = connection.execute("SELECT name FROM things").fetchall()
    with database.write(), database.glance() as connection:
        busy = connection.execute("SELECT name FROM things").fetchall()

    assert idle == busy == [("a",)]


def test_only_its_owner_may_read_the_file(database: SQLiteDatabase) -> None:
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_a_database_needs_a_file(path: str) -> None:
    with pytest.raises(ValueError, match="needs a file"):
        SQLiteDatabase(path)


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Ada, " * 100)

    with pytest.raises(StoreUnavailable, match=r"letter\.txt.*not a database"):
        SQLiteDatabase(path)

    assert path.read_text() == "Dear Ada, " * 100


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="nowhere"):
        SQLiteDatabase(tmp_path / "nowhere" / "test.sqlite")


def test_a_path_may_hold_spaces_and_signs(tmp_path: Path) -> None:
    folder = tmp_path / "a folder?mode=ro#%20"
    folder.mkdir()

    SQLiteDatabase(folder / "my data.sqlite").migrate("things", TABLE)

    assert (folder / "my data.sqlite").exists()


def test_somebody_who_keeps_the_file_is_waited_for_only_so_long(database: SQLiteDatabase) -> None:
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable, match="locked"):
        add(database, "a")
    other.execute("ROLLBACK")
    other.close()
    add(database, "b")

    assert names(database) == ["b"]


def test_a_thread_that_keeps_the_turn_is_waited_for_only_so_long(database: SQLiteDatabase) -> None:
    with database.write(), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(add, database, "a")

        with pytest.raises(StoreUnavailable, match="busy"):
            waiting.result()


def test_a_full_disk_refuses_what_does_not_fit_and_keeps_the_rest(tmp_path: Path) -> None:
    program = """
import resource, sys
from humanuser import StoreUnavailable
from humanuser_adapters.sqlite import SQLiteDatabase
database = SQLiteDatabase(sys.argv[1])
database.migrate("things", (("CREATE TABLE things (name TEXT)",),))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
stored = 0
try:
    while True:
        with database.write() as connection:
            connection.execute("INSERT INTO things VALUES (?)", ("x" * 1000,))
        stored += 1
except StoreUnavailable:
    pass
def count():
    with database.read() as connection:
        return connection.execute("SELECT count(*) FROM things").fetchone()[0]
assert count() == stored > 10, (count(), stored)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with database.write() as connection:
    connection.execute("INSERT INTO things VALUES ('more')")
assert count() == stored + 1
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a")], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_tables_are_brought_up_to_date_once(database: SQLiteDatabase) -> None:
    newer = (*TABLE, ("ALTER TABLE things ADD COLUMN size INTEGER", "UPDATE things SET size = 1"))
    add(database, "a")

    database.migrate("things", newer)
    database.migrate("things", newer)

    with database.read() as connection:
        assert connection.execute("SELECT * FROM things").fetchall() == [("a", 1)]


def test_a_step_that_fails_leaves_the_tables_as_they_were(database: SQLiteDatabase) -> None:
    broken = (*TABLE, ("ALTER TABLE things ADD COLUMN size INTEGER", "no such statement"))

    with pytest.raises(StoreUnavailable):
        database.migrate("things", broken)

    with database.read() as connection:
        columns = connection.execute("PRAGMA table_info(things)").fetchall()
    assert [column[1] for column in columns] == ["name"]


def test_an_older_release_does_not_touch_newer_tables(database: SQLiteDatabase) -> None:
    database.migrate("things", (*TABLE, ("ALTER TABLE things ADD COLUMN size INTEGER",)))

    with pytest.raises(StoreUnavailable, match="newer release"):
        database.migrate("things", TABLE)


def test_many_processes_may_start_on_a_new_file_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from humanuser_adapters.application import Application; "
        "from humanuser_adapters.vault import AesGcmVault, Keys; "
        "Application(sys.argv[1], AesGcmVault(Keys('k', {'k': bytes(32)}))).close()"
    )
    path = str(tmp_path / "new.sqlite")

    processes = [subprocess.Popen([sys.executable, "-c", program, path], stderr=subprocess.PIPE) for _ in range(6)]

    assert [process.communicate(timeout=60)[1] for process in processes] == [b""] * 6


def test_a_listener_is_woken_by_its_own_process_at_once(database: SQLiteDatabase) -> None:
    rung = threading.Event()
    database.listen(rung)

    add(database, "a")

    assert rung.is_set()
    database.close()


def test_a_listener_that_ended_is_not_woken(database: SQLiteDatabase) -> None:
    rung = threading.Event()
    database.listen(rung)
    database.unlisten(rung)
    rung.clear()  # it may have been woken before it ended

    add(database, "a")

    assert not rung.is_set()
    database.close()


def test_a_listener_is_woken_by_other_processes_within_twenty_milliseconds(database: SQLiteDatabase) -> None:
    rung = threading.Event()
    database.listen(rung)
    waits = []
    arguments = [sys.executable, "-c", WRITER, str(database.path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, text=True, bufsize=1) as other:
        assert other.stdin is not None
        for name in map(str, range(21)):
            other.stdin.write(f"{name}\n")
            while name not in names(database):
                rung.clear()
                time.sleep(0.0002)
            began = time.perf_counter()
            assert rung.wait(5) or name in names(database)
            waits.append(time.perf_counter() - began)
            time.sleep(0.01)

    assert sorted(waits)[len(waits) // 2] < 0.02
    database.close()


def test_a_closed_database_watches_no_more(database: SQLiteDatabase) -> None:
    database.listen(threading.Event())

    database.close()

    assert "humanuser-watch" not in [thread.name for thread in threading.enumerate()]


def test_a_time_is_written_so_that_texts_sort_as_times_do() -> None:
    early = time_of_text("2026-05-10T12:00:00.000001Z")
    late = early + timedelta(microseconds=9)

    assert text_of_time(early) == "2026-05-10T12:00:00.000001Z"
    assert text_of_time(early) < text_of_time(late)
    assert time_of_text(text_of_time(late)) == late


@pytest.mark.parametrize("column", ["event_type", "created_at", "creator", "owner", "payload", "aggregate_id"])
def test_a_byte_that_is_no_text_spoils_its_own_event_alone(tmp_path: Path, column: str) -> None:
    database = SQLiteDatabase(tmp_path / "test.sqlite")
    store = store_on(database)
    for user_id in ("ada", "bob"):
        added = HumanUserAdded(user_name=user_id)
        store.append(new_events(user_id, [added]))
    with database.write() as connection:
        update = f"UPDATE humanuser_events SET {column} = CAST(? AS TEXT) WHERE position = 1"  # noqa: S608 - of the columns above
        connection.execute(update, (b"\xffada",))

    spoilt, sound = store.read_log(after=0, limit=2)

    assert isinstance(spoilt, Unreadable)
    assert "ada" not in spoilt.reason
    assert sound == store.load("default", "bob")[0]
    with pytest.raises(UnreadableEvent):
        store.read_all(after=0, limit=2)
    assert spoilt.user_id.isprintable()
