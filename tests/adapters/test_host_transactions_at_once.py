"""Several hosts' transactions at once: the order has no gaps, and who was overtaken is told so."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fakes import FakeClock, eventually, store_on
from humanuser import By, HumanUserAdded, Recorded
from humanuser_adapters.application import Application
from humanuser_adapters.database import Connection, Database
from humanuser_adapters.host_transaction import TransactionOvertaken
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.subscription import Subscription
from humanuser_adapters.vault import AesGcmVault
from humanuser_adapters.workers import Worker

ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")
PHONE, OTHER_PHONE = "+41791234567", "+41791234568"
HOSTS, TRANSACTIONS = 4, 30

Waits = Callable[[psycopg.Connection[Any]], bool]


@pytest.fixture
def server(postgresql_url: str, vault: AesGcmVault, clock: FakeClock) -> Iterator[Application]:
    with Application(postgresql_url, vault, clock=clock) as application:
        for user_id in ("user1", "user2"):
            application.commands.add_human_user(user_id, ADDED, by=ADMIN)
        yield application


@pytest.fixture
def first(postgresql_url: str) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(postgresql_url)) as connection:
        yield connection


@pytest.fixture
def second(postgresql_url: str) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(postgresql_url)) as connection:
        yield connection


@pytest.fixture
def waits(postgresql_url: str) -> Iterator[Waits]:
    """Whether a connection waits for what another transaction holds."""
    with psycopg.connect(postgresql_url, autocommit=True) as watching:

        def look(waiting: psycopg.Connection[Any]) -> bool:
            query = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
            row = watching.execute(query, (waiting.info.backend_pid,)).fetchone()
            return bool(row and row[0])

        yield look


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


def change(application: Application, connection: object, user_id: str = "user1", phone: str = PHONE) -> int:
    commands = application.within(connection).commands
    return commands.change_phone(user_id, phone, verified=True, by=ADMIN).sequence


def test_who_waited_decides_anew_on_what_the_first_one_committed(
    server: Application,
    first: psycopg.Connection[Any],
    second: psycopg.Connection[Any],
    elsewhere: ThreadPoolExecutor,
    waits: Waits,
) -> None:
    second.execute("CREATE TABLE orders (item TEXT)")
    change(server, first)
    changed = elsewhere.submit(change, server, second, phone=OTHER_PHONE)
    assert eventually(lambda: waits(second))

    first.commit()
    assert changed.result() == 5  # behind added, changed, verified, and changed once more
    second.execute("INSERT INTO orders VALUES ('book')")
    second.commit()

    assert [one.sequence for one in server.history("user1")] == [1, 2, 3, 4, 5]


def test_who_waited_goes_on_where_the_first_one_rolled_back(
    server: Application,
    first: psycopg.Connection[Any],
    second: psycopg.Connection[Any],
    elsewhere: ThreadPoolExecutor,
    waits: Waits,
) -> None:
    change(server, first)
    changed = elsewhere.submit(change, server, second)
    assert eventually(lambda: waits(second))

    first.rollback()
    assert changed.result() == 3
    second.commit()

    assert len(server.history("user1")) == 3


def test_one_command_id_at_once_stores_one_command(
    server: Application,
    first: psycopg.Connection[Any],
    second: psycopg.Connection[Any],
    elsewhere: ThreadPoolExecutor,
    waits: Waits,
) -> None:
    def change_once(connection: object) -> int:
        by = By("admin", organization="org1", command_id="once")
        return server.within(connection).commands.change_phone("user1", PHONE, verified=True, by=by).sequence

    stored = change_once(first)
    changed = elsewhere.submit(change_once, second)
    assert eventually(lambda: waits(second))
    first.commit()

    assert changed.result() == stored
    second.commit()
    assert len(server.history("user1")) == 3


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_who_cannot_see_what_others_stored_is_told_to_do_it_all_again(
    server: Application, first: psycopg.Connection[Any], level: psycopg.IsolationLevel
) -> None:
    first.isolation_level = level
    first.execute("SELECT 1")
    users = server.within(first)
    server.commands.change_phone("user1", PHONE, by=ADMIN)
    stored = server.history("user1")

    with pytest.raises(TransactionOvertaken):
        users.commands.change_phone("user1", OTHER_PHONE, by=ADMIN)
    assert server.history("user1") == stored
    first.rollback()
    change(server, first, phone=OTHER_PHONE)
    first.commit()

    assert len(server.history("user1")) == len(stored) + 2


def test_of_two_who_wait_for_each_other_one_is_told_to_do_it_all_again(
    server: Application,
    first: psycopg.Connection[Any],
    second: psycopg.Connection[Any],
    elsewhere: ThreadPoolExecutor,
    waits: Waits,
) -> None:
    def change_or_roll_back(connection: psycopg.Connection[Any], user_id: str) -> str:
        try:
            change(server, connection, user_id, OTHER_PHONE)
        except TransactionOvertaken as error:
            connection.rollback()
            return str(error)
        return ""

    change(server, first, "user1")
    change(server, second, "user2")
    of_second = elsewhere.submit(change_or_roll_back, second, "user1")
    assert eventually(lambda: waits(second))
    of_first = change_or_roll_back(first, "user2")
    first.commit()

    assert sorted([of_first, of_second.result()]) == ["", "PostgreSQL: deadlock detected (SQLSTATE 40P01)"]


def test_a_transaction_that_has_read_and_was_overtaken_on_sqlite_is_told_to_do_it_all_again(
    application: Application, tmp_path: Path
) -> None:
    application.commands.add_human_user("user1", ADDED, by=ADMIN)
    with closing(sqlite3.connect(tmp_path / "test.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN")
        users = application.within(connection)
        assert len(users.history("user1")) == 1
        application.commands.add_human_user("user2", ADDED, by=ADMIN)

        with pytest.raises(TransactionOvertaken, match="BEGIN IMMEDIATE"):
            users.commands.change_phone("user1", PHONE, by=ADMIN)
        connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        change(application, connection)
        connection.execute("COMMIT")

    assert len(application.history("user1")) == 3


class Seen:
    """A consumer that remembers what it was given."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []

    def apply(self, _: Connection, events: Sequence[Recorded]) -> None:
        self.events += events


def open_on(database: Database) -> Any:  # Any: sqlite3's or psycopg's
    if isinstance(database, SQLiteDatabase):
        return sqlite3.connect(database.path, isolation_level="IMMEDIATE", timeout=30)
    assert isinstance(database, PostgreSQLDatabase)
    with database.connect() as connection:
        return psycopg.connect(connection.info.dsn)


def test_every_committed_event_is_seen_once_and_in_order_whatever_else_is_rolled_back(
    any_database: Database, vault: AesGcmVault, request: pytest.FixtureRequest
) -> None:
    where: Any = (
        any_database.path if isinstance(any_database, SQLiteDatabase) else request.getfixturevalue("postgresql_url")
    )
    seen = Seen()
    committed: list[str] = []

    def work_as_a_host(number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - to be the same again
        with closing(open_on(any_database)) as connection:
            for turn in range(TRANSACTIONS):
                users = [f"user-{number}-{turn}-{one}" for one in range(chance.randint(1, 3))]
                for user_id in users:
                    application.within(connection).commands.add_human_user(user_id, ADDED, phone=PHONE, by=ADMIN)
                    time.sleep(chance.random() / 500)
                if chance.random() < 0.3:
                    connection.rollback()
                    continue
                connection.commit()
                committed.extend(users)

    with Application(where, vault) as application, ThreadPoolExecutor(HOSTS) as hosts:
        subscription = Subscription("seen", any_database, store_on(any_database), seen)
        follower = Worker("seen", any_database, subscription.follow)
        follower.start()
        list(hosts.map(work_as_a_host, range(HOSTS)))
        subscription.catch_up()
        follower.stop()

    positions = [one.position for one in seen.events]
    assert positions == sorted(set(positions))
    assert [
        (one.user_id, one.sequence) for one in sorted(seen.events, key=lambda one: (one.user_id, one.sequence))
    ] == [(user_id, sequence) for user_id in sorted(committed) for sequence in (1, 2)]
    assert len(committed) < HOSTS * TRANSACTIONS * 3
