"""PostgreSQL: short waits, connections that mend themselves, many processes, poolers, tenants and partitions."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from fakes import PATIENCE_SECONDS, eventually, new_events, store_on
from humanuser import Accepted, By, Sms, StoreUnavailable, UnknownEvent
from humanuser.testing.event_store import ADDED, CHANGED
from humanuser_adapters import postgresql as module
from humanuser_adapters.application import Application
from humanuser_adapters.database import RowsClash, text_of_time, time_of_text
from humanuser_adapters.event_store import UserEventStore
from humanuser_adapters.event_store.postgresql import PostgreSQLEventRecorder
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.vault import AesGcmVault
from pooler import pooler

LAST_OF_SELECT = 1023
"""The highest number of a file that ``select`` takes."""

TABLE = (("CREATE TABLE things (number {number}, name TEXT UNIQUE, at {time})",),)


@pytest.fixture
def database(postgresql: PostgreSQLDatabase) -> PostgreSQLDatabase:
    postgresql.migrate("things", TABLE)
    return postgresql


def add(database: PostgreSQLDatabase, *names: str) -> None:
    with database.write() as connection:
        connection.executemany("INSERT INTO things (name) VALUES (?)", [(name,) for name in names])


def names(database: PostgreSQLDatabase) -> list[str]:
    with database.read() as connection:
        return [name for (name,) in connection.execute("SELECT name FROM things ORDER BY number")]


def append(store: UserEventStore, user_id: str = "user1", *, after: int = 0, instance_id: str = "default") -> int:
    event = CHANGED if after else ADDED
    stored = store.append(new_events(user_id, [event], after=after, instance_id=instance_id))
    return stored.recorded[-1].position


def backends_ended(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
        )


def test_a_block_that_raises_is_undone(database: PostgreSQLDatabase) -> None:
    with pytest.raises(RowsClash):
        add(database, "a", "a")

    add(database, "b")

    assert names(database) == ["b"]


def test_a_transaction_in_which_a_statement_failed_is_not_taken_for_stored(database: PostgreSQLDatabase) -> None:
    def write_and_go_on() -> None:
        with database.write() as connection:
            connection.execute("INSERT INTO things (name) VALUES (?)", ("a",))
            with contextlib.suppress(psycopg.Error):
                connection.execute("SELECT 1 / 0")

    with pytest.raises(StoreUnavailable, match="undone"):
        write_and_go_on()

    assert names(database) == []


def test_times_come_back_as_they_were(database: PostgreSQLDatabase) -> None:
    moment = datetime(2026, 5, 10, 12, 0, 0, 120_000, tzinfo=UTC)

    with database.write() as connection:
        connection.execute("SET LOCAL TimeZone = 'Asia/Kolkata'")
        connection.execute("INSERT INTO things (at) VALUES (?)", (text_of_time(moment),))
        (text,) = connection.execute("SELECT at FROM things").fetchone()

    assert time_of_text(text) == moment
    assert time_of_text(text).utcoffset() == timedelta(0)


def test_the_clock_is_the_servers(database: PostgreSQLDatabase) -> None:
    with database.read() as connection:
        assert abs(database.now(connection) - datetime.now(UTC)) < timedelta(seconds=PATIENCE_SECONDS)


def test_what_takes_too_long_is_given_up_and_the_next_one_works(postgresql_url: str) -> None:
    database = PostgreSQLDatabase(postgresql_url, patience=timedelta(seconds=0.2))
    start = time.monotonic()

    with pytest.raises(StoreUnavailable), database.read() as connection:
        connection.execute("SELECT pg_sleep(60)")

    assert time.monotonic() - start < PATIENCE_SECONDS
    with database.read() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_is_not_there_is_unavailable_and_its_password_not_told(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    database = PostgreSQLDatabase(f"postgresql://ada:canary@/x?host={tmp_path_factory.mktemp('nobody')}")

    with pytest.raises(StoreUnavailable) as error, database.read():
        pass

    assert "canary" not in str(error.value) + repr(database)


def test_no_more_connections_are_open_than_allowed(postgresql_url: str) -> None:
    database = PostgreSQLDatabase(postgresql_url, patience=timedelta(seconds=0.2), connections=1)

    with database.read(), pytest.raises(StoreUnavailable, match="in use"), database.read():
        pass


def test_connections_that_the_server_has_ended_are_replaced_unnoticed(
    database: PostgreSQLDatabase, postgresql_url: str
) -> None:
    add(database, "a")
    backends_ended(postgresql_url)
    eventually(lambda: False, seconds=0.1)  # until the news has arrived

    add(database, "b")

    assert names(database) == ["a", "b"]


def test_connections_are_used_again_where_more_than_a_thousand_files_are_open(
    postgresql_url: str, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while stack.enter_context((tmp_path / "file").open("w")).fileno() < LAST_OF_SELECT:
            pass
        database = PostgreSQLDatabase(postgresql_url)
        stack.callback(database.close)

        for _ in range(3):
            with database.read() as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_listener_hears_of_others_also_after_its_connection_was_lost(
    database: PostgreSQLDatabase, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", PATIENCE_SECONDS + 1)
    other = PostgreSQLDatabase(postgresql_url, patience=timedelta(seconds=10))
    rung = threading.Event()
    database.listen(rung)
    assert rung.wait(PATIENCE_SECONDS)
    for name in ("a", "b"):
        rung.clear()
        add(other, name)
        assert rung.wait(PATIENCE_SECONDS)
        backends_ended(postgresql_url)
        rung.clear()
        assert rung.wait(PATIENCE_SECONDS)  # it listens again, and looks for what it missed


def test_a_listener_looks_by_itself_where_nothing_is_heard(
    database: PostgreSQLDatabase, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHANNEL", "nobody_speaks_here")
    other = PostgreSQLDatabase(postgresql_url)
    rung = threading.Event()
    database.listen(rung)
    assert rung.wait(PATIENCE_SECONDS)
    rung.clear()
    monkeypatch.undo()
    add(other, "a")

    assert rung.wait(PATIENCE_SECONDS)


def test_an_older_release_does_not_touch_newer_tables(database: PostgreSQLDatabase) -> None:
    with database.write() as connection:
        connection.execute("UPDATE humanuser_schema_versions SET version = 99")

    with pytest.raises(StoreUnavailable, match="newer release: things is at 99"):
        database.migrate("things", TABLE)


FREEZE = """
import os, signal, sys
from humanuser_adapters.postgresql import PostgreSQLDatabase
with PostgreSQLDatabase(sys.argv[1]).write() as connection:
    connection.execute("UPDATE humanuser_subscriptions SET position = position")
    print("frozen", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_another_takes_over_within_five_seconds_from_one_who_was_frozen(
    postgresql_url: str, vault: AesGcmVault
) -> None:
    with Application(postgresql_url, vault) as application:
        frozen = subprocess.Popen([sys.executable, "-c", FREEZE, postgresql_url], stdout=subprocess.PIPE)
        try:
            assert frozen.stdout is not None
            frozen.stdout.readline()
            application.start()
            append(store_on(PostgreSQLDatabase(postgresql_url, patience=timedelta(seconds=10))))

            users = application.subscriptions()["users"]
            assert eventually(lambda: users.position() > 0, seconds=5)
        finally:
            frozen.send_signal(signal.SIGKILL)
            frozen.communicate()


@contextlib.contextmanager
def appended_but_not_committed(url: str, user_id: str) -> Iterator[psycopg.Connection]:
    call = (
        "SELECT humanuser_append_command('default', 'user', gen_random_uuid()::text, NULL, now(), 'host', 'org1', 2, "
        "NULL, ARRAY[%s], ARRAY[1]::bigint[], ARRAY['user.human.added'], ARRAY['{\"userName\": \"host\"}'])"
    )
    with psycopg.connect(url) as connection:
        connection.execute(call, (user_id,))
        yield connection


def test_readers_wait_for_a_position_that_may_still_come(postgresql: PostgreSQLDatabase, postgresql_url: str) -> None:
    store = store_on(postgresql)
    first = append(store, "user1")
    with appended_but_not_committed(postgresql_url, "user2") as late:
        append(store, "user3")
        meanwhile = [one.position for one in store.read_all(after=0, limit=10)], store.head()
        late.commit()

    assert meanwhile == ([first], first)
    assert [one.user_id for one in store.read_all(after=0, limit=10)] == ["user1", "user2", "user3"]


def test_a_position_that_never_comes_holds_nobody_up(postgresql: PostgreSQLDatabase, postgresql_url: str) -> None:
    store = store_on(postgresql)
    with appended_but_not_committed(postgresql_url, "user2") as given_up:
        append(store, "user3")
        given_up.rollback()

        assert [one.user_id for one in store.read_all(after=0, limit=10)] == ["user3"]


def test_a_long_transaction_of_somebody_else_holds_nobody_up(
    postgresql: PostgreSQLDatabase, postgresql_url: str
) -> None:
    store = store_on(postgresql)
    with psycopg.connect(postgresql_url) as other:
        other.execute("CREATE TABLE others (name text)")
        position = append(store)

        assert store.head() == position


def test_positions_beyond_what_a_lock_can_name_are_told_apart(
    postgresql: PostgreSQLDatabase, postgresql_url: str
) -> None:
    store = store_on(postgresql)
    with postgresql.write() as connection:
        connection.execute("SELECT setval('humanuser_positions', ?)", (2**32 - 2,))
    append(store, "user1")
    with appended_but_not_committed(postgresql_url, "user2") as late:
        append(store, "user3")
        append(store, "user4")
        meanwhile = [one.position for one in store.read_all(after=0, limit=10)]
        late.commit()

    assert meanwhile == [2**32 - 1]
    assert [one.position for one in store.read_all(after=0, limit=10)] == [2**32 - 1 + n for n in range(4)]


def test_the_log_is_not_read_from_an_old_snapshot(postgresql: PostgreSQLDatabase, postgresql_url: str) -> None:
    append(store_on(postgresql))

    with psycopg.connect(postgresql_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with pytest.raises(psycopg.errors.RaiseException, match="READ COMMITTED"):
            connection.execute("SELECT humanuser_horizon()")


def test_what_is_no_json_is_kept_as_it_is(postgresql: PostgreSQLDatabase) -> None:
    recorder = PostgreSQLEventRecorder(postgresql)
    store = UserEventStore(recorder)
    payloads = [b"\x00\xff{", b'"text"', b'{"b": 1,  "a": 2}', b""]
    events = [UnknownEvent("user.human.other", payload) for payload in payloads]
    store.append(new_events("user1", events))

    states = [one.state for one in PostgreSQLEventRecorder(postgresql, aggregate_type="user").select_events("user1")]

    assert states == payloads


def test_tenants_are_kept_apart_in_one_database(postgresql: PostgreSQLDatabase) -> None:
    store = store_on(postgresql)
    append(store, instance_id="tenant1")
    append(store, instance_id="tenant2")

    assert len(store.load("tenant1", "user1")) == 1
    assert [one.instance_id for one in store.read_all(after=0, limit=10)] == ["tenant1", "tenant2"]


def test_the_plan_for_partitions_by_tenant_works_on_a_table_with_events(
    postgresql: PostgreSQLDatabase, postgresql_url: str
) -> None:
    store = store_on(postgresql)
    append(store, instance_id="tenant1")
    plan = (Path(__file__).parents[2] / "docs" / "how-to" / "partition-by-tenant.sql").read_text()

    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(plan)
        connection.execute(
            "CREATE TABLE humanuser_events_tenant2 PARTITION OF humanuser_events FOR VALUES IN ('tenant2')"
        )
    append(store, instance_id="tenant2")
    append(store, instance_id="tenant1", after=1)

    assert [(one.instance_id, one.sequence) for one in store.read_all(after=0, limit=10)] == [
        ("tenant1", 1),
        ("tenant2", 1),
        ("tenant1", 2),
    ]
    with psycopg.connect(postgresql_url) as connection:
        count = connection.execute("SELECT count(*) FROM humanuser_events_tenant2").fetchone()
    assert count == (1,)


@pytest.fixture
def pooled_url(postgresql_server: str, postgresql_url: str) -> Iterator[str]:
    """The same through pgbouncer in transaction mode."""
    server = psycopg.conninfo.conninfo_to_dict(postgresql_server)
    schema = str(psycopg.conninfo.conninfo_to_dict(postgresql_url)["options"]).rpartition("=")[2]
    role = f"role_{schema}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER; ALTER ROLE {role} SET search_path = {schema}")
    with pooler(f"postgresql://{role}@/postgres?host={server['host']}") as url:
        yield url


def test_all_of_it_works_through_a_pooler(pooled_url: str, vault: AesGcmVault) -> None:
    sender = Taking()
    with Application(pooled_url, vault, sender=sender) as application:
        application.start()
        others = [store_on(PostgreSQLDatabase(pooled_url, patience=timedelta(seconds=10))) for _ in range(2)]
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda number: append(others[number % 2], f"user{number}"), range(60)))
        application.commands.add_human_user("ada", ADDED, phone="+41791234567", by=By("admin", "org1"))
        users = application.subscriptions()["users"]

        assert eventually(lambda: users.lag().oldest is None)
        assert eventually(lambda: len(sender.sent) == 1)
        assert application.problems() == {}


class Taking:
    """Takes every SMS."""

    def __init__(self) -> None:
        self.sent: list[Sms] = []

    def send(self, sms: Sms) -> Accepted:
        self.sent.append(sms)
        return Accepted()

    def look_up(self, sms: Sms) -> None:  # noqa: ARG002 - the port's
        return None
