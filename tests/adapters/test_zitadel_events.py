"""A running ZITADEL's table of events: read in order, never a row missed, nothing written."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import threading
import time
from datetime import timedelta
from itertools import pairwise

import msgspec
import psycopg
import pytest

from cluster import own_server
from fakes import eventually, rows_on
from humanuser import StoreUnavailable
from humanuser_adapters.database import Database
from humanuser_adapters.event_files import json_line
from humanuser_adapters.event_row import EventRow
from humanuser_adapters.event_store import event_of
from humanuser_adapters.replay import Importer
from humanuser_adapters.zitadel import events as zitadel_events_module
from humanuser_adapters.zitadel.events import UnsafeSource, zitadel_events
from zitadel_database import SCHEMA, ZitadelDatabase, zitadel
from zitadel_export import zitadel_events as synthetic

__all__ = ["zitadel"]  # a fixture

MARGIN_SECONDS = 0.1
ROWS = tuple(synthetic(300, 20))


@pytest.fixture(autouse=True)
def _short_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zitadel_events_module, "MARGIN_SECONDS", MARGIN_SECONDS)


def read(url: str) -> list[EventRow]:
    with zitadel_events(url) as events:
        return [line.content for line in events.lines() if isinstance(line.content, EventRow)]


def in_place(row: EventRow) -> tuple[object, ...]:
    return (row.user, row.sequence)


def test_all_rows_come_as_they_are_and_in_position_order(zitadel: ZitadelDatabase) -> None:
    zitadel.add(ROWS)

    rows = read(zitadel.url)

    of_jsonb = {in_place(row): json.loads(json_line(row)) for row in rows}  # it orders names its own way
    assert of_jsonb == {in_place(row): json.loads(json_line(row)) for row in ROWS}
    assert all(float(one.position_text) <= float(other.position_text) for one, other in pairwise(rows))


def test_a_transaction_that_is_still_open_holds_back_what_is_younger(zitadel: ZitadelDatabase) -> None:
    with psycopg.connect(zitadel.url) as slow, psycopg.connect(zitadel.url, autocommit=True) as fast:
        slow.execute("SELECT now()")
        zitadel.push(fast, "fast", 1)
        time.sleep(2 * MARGIN_SECONDS)
        held_back = read(zitadel.url)
        zitadel.push(slow, "slow", 1)
        slow.commit()

    assert held_back == []
    assert [row.aggregate_id for row in read(zitadel.url)] == ["slow", "fast"]


def test_nothing_is_missed_while_many_write(zitadel: ZitadelDatabase, any_database: Database) -> None:
    importer, rows = Importer(any_database, rows_on(any_database), event_of), rows_on(any_database)
    stopping = threading.Event()

    def write(number: int) -> None:
        chance, sequence = random.Random(number), 1  # noqa: S311 - the same for the same number
        with psycopg.connect(zitadel.url) as connection:
            while not stopping.is_set():
                connection.execute("SELECT now()")
                time.sleep(chance.uniform(0, 0.02))
                zitadel.push(connection, f"user{number}", sequence)
                time.sleep(chance.uniform(0, 0.02))
                if chance.random() < 0.2:
                    connection.rollback()
                else:
                    connection.commit()
                    sequence += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        with zitadel_events(zitadel.url) as events:
            importer.run(events)
        time.sleep(0.1)
    stopping.set()
    for thread in threads:
        thread.join()
    time.sleep(2 * MARGIN_SECONDS)
    with zitadel_events(zitadel.url) as events:
        importer.run(events)

    imported = list(rows.read())
    assert sorted(map(in_place, imported)) == sorted(zitadel.places())
    assert len(imported) > 50


def test_a_second_run_reads_only_what_is_new(zitadel: ZitadelDatabase, any_database: Database) -> None:
    importer = Importer(any_database, rows_on(any_database), event_of)
    zitadel.add(ROWS[:200])
    told: list[int] = []

    with zitadel_events(zitadel.url) as events:
        first = importer.run(events)
    zitadel.add(ROWS[200:])
    with zitadel_events(zitadel.url) as events:
        second = importer.run(events, told=lambda step, count: told.append(count) if step == "checking" else None)

    assert (first.stored, second.stored) == (200, 100)
    assert sum(told) == 100


def test_nothing_can_be_written_through_it(zitadel: ZitadelDatabase) -> None:
    zitadel.add(ROWS[:1])

    def writing() -> None:
        with zitadel_events(zitadel.url) as events:
            events._connection.execute("DELETE FROM eventstore.events2")  # noqa: SLF001 - nothing of ours does

    with pytest.raises(StoreUnavailable, match="read only sql transaction"):
        writing()


def test_a_role_that_cannot_see_open_transactions_is_told_what_it_needs(zitadel: ZitadelDatabase) -> None:
    with zitadel.as_role("reader") as url, psycopg.connect(zitadel.url):
        with pytest.raises(PermissionError, match="GRANT pg_read_all_stats TO it"):
            read(url)
        zitadel.execute("GRANT pg_read_all_stats TO reader")

        assert read(url) == []


@pytest.mark.parametrize("url", ["postgresql://localhost:1/nowhere", "postgresql://nonsense=1"])
def test_a_database_that_is_not_there_is_told(url: str) -> None:
    with pytest.raises(StoreUnavailable):
        read(url)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TimeZone", "Asia/Kolkata"),
        ("DateStyle", "German"),
        ("client_encoding", "LATIN1"),
        ("default_transaction_isolation", "serializable"),
        ("default_transaction_deferrable", "on"),
    ],
)
def test_rows_are_the_same_whatever_the_source_is_set_to(zitadel: ZitadelDatabase, name: str, value: str) -> None:
    zitadel.add(ROWS[:20])
    before = read(zitadel.url)
    database = psycopg.conninfo.conninfo_to_dict(zitadel.url)["dbname"]
    zitadel.execute(f"ALTER DATABASE {database} SET {name} = '{value}'")

    rows = read(zitadel.url)

    assert [json_line(row) for row in rows] == [json_line(row) for row in before]
    assert {row.created_at.utcoffset() for row in rows} == {timedelta(0)}


def test_a_standby_is_refused() -> None:
    with own_server(("fsync=off", "wal_level=replica", "max_wal_senders=5")) as primary, own_server(()) as standby:
        with psycopg.connect(primary.url, autocommit=True) as connection:
            connection.execute(SCHEMA.encode())
        standby.stop()
        shutil.rmtree(standby.data)
        copy = ["-D", str(standby.data), "-h", str(primary.home), "-U", "postgres", "-R", "-c", "fast", "-N"]
        subprocess.run([str(standby.folder / "pg_basebackup"), *copy], check=True, **standby.how)
        standby.run()

        with pytest.raises(UnsafeSource, match="it is a standby"):
            read(standby.url)
        assert read(primary.url) == []


def test_a_session_whose_transaction_cannot_be_seen_is_refused(zitadel: ZitadelDatabase) -> None:
    with psycopg.connect(zitadel.url) as hidden:
        hidden.execute("SET track_activities = off")

        with pytest.raises(UnsafeSource, match="track_activities off"):
            read(zitadel.url)


def test_events_of_a_prepared_transaction_are_not_passed_over() -> None:
    with own_server(("fsync=off", "max_prepared_transactions=1")) as server:
        zitadel = ZitadelDatabase(server.url)
        zitadel.execute(SCHEMA)
        with psycopg.connect(server.url, autocommit=True) as late:
            late.execute("BEGIN")
            zitadel.push(late, "late", 1)
            late.execute("PREPARE TRANSACTION 'late'")

        with pytest.raises(UnsafeSource, match="a prepared transaction has stored events"):
            read(server.url)

        zitadel.execute("COMMIT PREPARED 'late'")
        assert eventually(lambda: [row.aggregate_id for row in read(server.url)] == ["late"])


def test_a_logical_replica_is_refused(zitadel: ZitadelDatabase) -> None:
    zitadel.execute(
        "CREATE SUBSCRIPTION copied CONNECTION 'dbname=nowhere' PUBLICATION all_events WITH (connect = false)"
    )
    try:
        zitadel.execute(
            "INSERT INTO pg_subscription_rel SELECT oid, 'eventstore.events2'::regclass, 'r' FROM pg_subscription"
        )

        with pytest.raises(UnsafeSource, match="logical replication"):
            read(zitadel.url)
    finally:
        zitadel.execute("ALTER SUBSCRIPTION copied SET (slot_name = NONE)")
        zitadel.execute("DROP SUBSCRIPTION copied")


def test_the_removal_of_an_organization_is_read(zitadel: ZitadelDatabase) -> None:
    removed = msgspec.structs.replace(ROWS[0], aggregate_type="org", event_type="org.removed")
    zitadel.add([removed, msgspec.structs.replace(removed, event_type="org.added", sequence=2)])

    assert [row.event_type for row in read(zitadel.url)] == ["org.removed"]
