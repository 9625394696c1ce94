"""The write-ahead log of a SQLite file: it is short again when a long read has ended, and ours are never long."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fakes import eventually
from humanuser import By, HumanUserAdded
from humanuser_adapters import rebuild
from humanuser_adapters.application import Application
from humanuser_adapters.event_store import event_rows
from humanuser_adapters.sqlite import WAL_LIMIT_BYTES, SQLiteDatabase

ADMIN = By("admin", organization="org1")


@pytest.fixture
def database(tmp_path: Path) -> SQLiteDatabase:
    database = SQLiteDatabase(tmp_path / "test.sqlite")
    database.migrate("things", (("CREATE TABLE things (bytes BLOB)",),))
    return database


def wal_size(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


def grow(database: SQLiteDatabase) -> None:
    """Write twice as much as the WAL may keep."""
    for _ in range(8):
        with database.write() as connection:
            connection.execute("INSERT INTO things VALUES (zeroblob(?))", (WAL_LIMIT_BYTES // 4,))


@contextmanager
def long_read(path: Path) -> Iterator[None]:
    """Somebody else reads, and goes on reading."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        yield


def test_it_is_short_again_after_a_long_read(database: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("humanuser_adapters.sqlite.WAL_SECONDS", 0.05)
    database.listen(threading.Event())
    with long_read(database.path):
        grow(database)
        assert wal_size(database.path) > WAL_LIMIT_BYTES

    assert eventually(lambda: wal_size(database.path) == 0, seconds=30)


def test_the_next_writes_shorten_it_where_nobody_listens(database: SQLiteDatabase) -> None:
    with long_read(database.path):
        grow(database)

    for _ in range(2):
        with database.write() as connection:
            connection.execute("INSERT INTO things VALUES ('a')")

    assert wal_size(database.path) <= WAL_LIMIT_BYTES


def test_writers_are_not_held_up_for_a_long_read(database: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("humanuser_adapters.sqlite.WAL_SECONDS", 0.0)
    statements: list[str] = []
    connection = database.connect()
    connection.set_trace_callback(statements.append)

    with long_read(database.path):
        grow(database)
        database._shorten_wal(connection)  # noqa: SLF001 - what the watch does
    connection.close()

    assert statements == ["PRAGMA wal_checkpoint(PASSIVE)"]


def nobody_reads(path: Path) -> bool:
    """Whether the WAL can begin anew."""
    with closing(sqlite3.connect(path, timeout=0)) as connection:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


READS: list[Callable[[Application, Callable[[object], None]], object]] = [
    lambda application, between: list(map(between, application.export_events())),
    lambda application, between: list(map(between, application.user_ids())),
    lambda application, between: application.differences(between),
    lambda application, between: application.differences_of_details(between),
    lambda application, between: application.rebuild(between),
]


@pytest.mark.parametrize("read", READS, ids=["export", "user ids", "verify", "verify --quick", "rebuild"])
def test_our_own_long_reads_let_it_go_between_their_pages(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[..., object]
) -> None:
    monkeypatch.setattr(event_rows, "PAGE", 2)
    monkeypatch.setattr(rebuild, "PAGE", 2)
    for number in range(6):
        added = HumanUserAdded(user_name="ada")
        application.commands.add_human_user(f"user{number}", added, phone="+41791234567", by=ADMIN)
    free: list[bool] = []

    def between(_: object) -> None:
        free.append(nobody_reads(tmp_path / "test.sqlite"))

    read(application, between)

    assert free
    assert all(free)
