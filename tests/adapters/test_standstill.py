"""Events that wait: for a transaction that stays open, and for a subscription that does not move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from cluster import NoPostgres, Server, new_schema, own_server
from command_line import Cli
from fakes import Sender, eventually, new_events
from humanuser import By, HumanUserAdded, Recorded
from humanuser.testing.event_store import ADDED as STORED
from humanuser_adapters.application import Application
from humanuser_adapters.database import Connection
from humanuser_adapters.event_log import LogEnd
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.standstill import Standstill
from humanuser_adapters.subscription import Subscription
from humanuser_adapters.telemetry import Gauge, Telemetry
from humanuser_adapters.telemetry.measurements import DELAY, LAG, OPEN_AGE
from humanuser_adapters.telemetry.telemetry import End, Read
from humanuser_adapters.vault import AesGcmVault

ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")
NUMBER = "+41791234567"
PATIENCE_SECONDS = 30
LIMIT = timedelta(seconds=0.5)
LOCK = "SELECT pg_advisory_lock_shared('humanuser_positions'::regclass::oid::bigint::bit(32)::integer, %s)"
"""What an append holds while it stores what comes after a position; any role may take it."""


class Exporter:
    """Reads gauges when it is asked."""

    read: Read

    def begin(self, *_: object) -> End:
        return lambda _, __: None

    def count(self, counter: object, labels: object, amount: int) -> None:
        pass

    def observe(self, read: Read) -> None:
        self.read = read

    def value(self, gauge: Gauge) -> float:
        return max(one.value for one in self.read(gauge))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server on which transactions may be prepared, and whose settings nobody else needs."""
    try:
        with own_server(("fsync=off", "max_prepared_transactions=5")) as running:
            yield running
    except NoPostgres as error:
        pytest.skip(f"NO POSTGRESQL: {error}")


@pytest.fixture
def url(server: Server) -> str:
    return new_schema(server.url)


class World:
    def __init__(self, url: str, vault: AesGcmVault) -> None:
        self.sender = Sender()
        self.exporter = Exporter()
        self.application = Application(
            url, vault, sender=self.sender, standstill=LIMIT, telemetry=Telemetry(self.exporter)
        )

    def problem(self, part: str, text: str) -> bool:
        return eventually(lambda: text in self.application.problems().get(part, ""), seconds=PATIENCE_SECONDS)

    def ready(self) -> bool:
        return eventually(lambda: self.application.problems() == {}, seconds=PATIENCE_SECONDS)


@pytest.fixture
def world(url: str, vault: AesGcmVault) -> Iterator[World]:
    world = World(url, vault)
    with world.application as application:
        application.start()
        assert world.ready()
        yield world


def test_a_host_that_does_not_commit_is_reported_until_it_does(world: World, url: str) -> None:
    application = world.application
    with psycopg.connect(f"{url}&application_name=nightly-report") as host:
        application.within(host).commands.add_human_user("ada", ADDED, by=ADMIN)
        application.commands.add_human_user("bob", ADDED, phone=NUMBER, by=ADMIN)
        process_id = host.info.backend_pid

        noticed = world.problem("log", f"server process {process_id} (application_name 'nightly-report')")
        lags = {name: one.lag() for name, one in application.subscriptions().items()}
        gauges = [world.exporter.value(gauge) for gauge in (LAG, DELAY, OPEN_AGE)]
        end = application.log_end()
        sent_meanwhile = list(world.sender.sent)
        host.commit()

    assert noticed
    assert sent_meanwhile == []
    assert all(lag.positions == end.position and lag.oldest for lag in lags.values())
    assert all(value > 0 for value in gauges)
    assert end.open is not None
    assert (end.open.position, end.open.process_id, end.open.name) == (1, process_id, "nightly-report")
    assert world.ready()
    assert eventually(lambda: len(world.sender.sent) == 1, seconds=PATIENCE_SECONDS)
    assert [world.exporter.value(gauge) for gauge in (LAG, DELAY, OPEN_AGE)] == [0, 0, 0]
    assert application.log_end().open is None


def test_the_status_names_the_transaction(url: str, vault: AesGcmVault, cli: Cli) -> None:
    with Application(url, vault) as application, psycopg.connect(f"{url}&application_name=report") as host:
        application.within(host).commands.add_human_user("ada", ADDED, by=ADMIN)
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("HUMANUSER_CODE_KEYS", f"key1:{'A' * 43}=")
            as_json = cli("status", "--json", "--database", url).json
            plain = cli("status", "--database", url).stdout
        process_id = host.info.backend_pid

    assert (as_json["head"], as_json["end"]) == (0, 1)
    assert as_json["openTransaction"].items() >= {"position": 1, "pid": process_id, "name": "report"}.items()
    assert as_json["openTransaction"]["seconds"] > 0
    assert as_json["subscriptions"][0]["behind"] == 1
    assert f"Events from position 1 on wait for the transaction of server process {process_id}" in plain


def test_a_prepared_transaction_is_named_by_its_identifier(world: World, url: str) -> None:
    with psycopg.connect(url) as host:
        world.application.within(host).commands.add_human_user("ada", ADDED, by=ADMIN)
        host.execute("PREPARE TRANSACTION 'two-phase'")
    with closing(psycopg.connect(url, autocommit=True)) as operator:
        world.application.commands.add_human_user("bob", ADDED, by=ADMIN)
        try:
            noticed = world.problem("log", "prepared transaction 'two-phase'")
            blocker = world.application.log_end().open
        finally:
            operator.execute("ROLLBACK PREPARED 'two-phase'")

    assert noticed
    assert blocker is not None
    assert blocker.process_id is None
    assert blocker.age is not None
    assert world.ready()


def test_a_lock_that_somebody_took_without_storing_anything_is_reported(world: World, url: str) -> None:
    application = world.application
    application.commands.add_human_user("ada", ADDED, by=ADMIN)
    with closing(psycopg.connect(f"{url}&application_name=intruder", autocommit=True)) as intruder:
        intruder.execute(LOCK, (0,))

        noticed = world.problem("log", "intruder")
        intruder.execute("SELECT 1")  # its last statement is new again, its lock is not
        still = application.problems()

    assert noticed
    assert "log" in still
    assert world.ready()


def test_a_lock_on_a_position_that_is_still_to_come_holds_nothing_back(world: World, url: str) -> None:
    application = world.application
    with closing(psycopg.connect(url, autocommit=True)) as intruder:
        intruder.execute(LOCK, (1000,))
        application.commands.add_human_user("ada", ADDED, by=ADMIN)

        assert application.log_end() == LogEnd(position=application.head())
        assert application.take_in() >= 0
        assert application.subscriptions()["users"].position() == application.head()


def test_what_a_role_may_not_see_is_measured_from_when_it_was_seen(
    server: Server, url: str, vault: AesGcmVault
) -> None:
    schema = url.rpartition("%3D")[2]
    role = f"role_{schema}"
    with Application(url, vault), psycopg.connect(server.url, autocommit=True) as owner:
        owner.execute(
            f"CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA {schema} TO {role};"
            f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role};"
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
        )
    world = World(url.replace("postgres:unused", role), vault)
    with world.application as application, psycopg.connect(f"{url}&application_name=report") as host:
        application.start()
        application.within(host).commands.add_human_user("ada", ADDED, by=ADMIN)

        noticed = world.problem("log", "application_name 'report'")
        blocker = application.log_end().open
        age = world.exporter.value(OPEN_AGE)

    assert noticed
    assert blocker is not None
    assert (blocker.age, blocker.name) == (None, "report")
    assert age > LIMIT.total_seconds()


def test_a_host_that_rolls_back_leaves_no_lag(world: World, url: str) -> None:
    application = world.application
    with psycopg.connect(url) as host:
        application.within(host).commands.add_human_user("ada", ADDED, by=ADMIN)
        host.rollback()

    assert application.log_end() == LogEnd(position=1)
    assert [one.lag().positions for one in application.subscriptions().values()] == [0, 0]
    assert world.ready()


class Nothing:
    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        """Consume *events*."""


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class TestSubscription:
    @pytest.fixture
    def store(self) -> UserEventStore:
        return UserEventStore(MemoryEventRecorder())

    @pytest.fixture
    def subscription(self, tmp_path: Path, store: UserEventStore) -> Subscription:
        return Subscription("users", SQLiteDatabase(tmp_path / "test.sqlite"), store, Nothing())

    def append(self, store: UserEventStore, user_id: str) -> None:
        store.append(new_events(user_id, [STORED]))

    def test_one_that_does_not_move_is_a_problem_after_the_limit(
        self, store: UserEventStore, subscription: Subscription
    ) -> None:
        clock = Clock()
        standstill = Standstill(store, [subscription], limit=timedelta(seconds=60), monotonic=clock)
        self.append(store, "user1")

        at_first = standstill.problems()
        clock.seconds = 60
        at_the_limit = standstill.problems()
        clock.seconds = 61
        later = standstill.problems()
        subscription.catch_up()

        assert (at_first, at_the_limit) == ({}, {})
        assert later == {"users": "has not moved from position 0 for 61 s"}
        assert standstill.problems() == {}

    def test_one_that_moves_is_none_however_old_its_events_are(
        self, store: UserEventStore, subscription: Subscription
    ) -> None:
        clock = Clock()
        standstill = Standstill(store, [subscription], limit=timedelta(seconds=60), monotonic=clock)

        for number in range(5):
            self.append(store, f"user{number}")
            assert standstill.problems() == {}
            clock.seconds += 50
            subscription.catch_up()
