"""Whatever a server, a database or a role is set to, we read, store and send the same."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, LiteralString, cast

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from psycopg.sql import Literal as Value

from cluster import NoPostgres, Server, own_server
from fakes import FakeClock, eventually
from humanuser import Accepted, By, HumanUserAdded, Sms, StoreUnavailable
from humanuser_adapters.application import Application
from humanuser_adapters.host_transaction import TransactionUnusable
from humanuser_adapters.outbox import State
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.vault import AesGcmVault
from pooler import pooler

Path = Literal["direct", "pooled"]
Make = Callable[[str], Application]

ADMIN = By("admin", organization="acme")
ADA = HumanUserAdded(user_name="ada", first_name="Ада", last_name="李 🙂 NULL \\ '")
"""Not in LATIN1, and with what a literal would have to escape."""
PHONE, OTHER_PHONE = "+41791234567", "+41797654321"

TEXTS = {
    "DateStyle": "German",
    "TimeZone": "Asia/Kolkata",
    "IntervalStyle": "sql_standard",
    "client_encoding": "LATIN1",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "xmlbinary": "hex",
    "xmloption": "document",
    "lc_messages": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    "lc_monetary": "C",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "escape_string_warning": "off",
    "backslash_quote": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "default_text_search_config": "pg_catalog.german",
    "timezone_abbreviations": "India",
}
TRANSACTIONS = {
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "synchronous_commit": "off",
    "statement_timeout": "10s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "1s",
    "idle_session_timeout": "1s",
    "commit_delay": "10",
    "session_replication_role": "replica",
    "row_security": "off",
    "exit_on_error": "on",
}
PLANS = {
    "enable_seqscan": "off",
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashagg": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_nestloop": "off",
    "enable_sort": "off",
    "enable_material": "off",
    "geqo": "off",
    "jit": "on",
    "jit_above_cost": "0",
    "plan_cache_mode": "force_generic_plan",
    "work_mem": "64kB",
    "temp_buffers": "800kB",
    "max_parallel_workers_per_gather": "0",
    "constraint_exclusion": "on",
    "from_collapse_limit": "1",
    "join_collapse_limit": "1",
    "cursor_tuple_fraction": "1",
}
OTHERS = {
    "check_function_bodies": "off",
    "client_min_messages": "debug1",
    "log_min_messages": "panic",
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "password_encryption": "md5",
    "application_name": "somebody",
    "default_toast_compression": "pglz",
    "track_activities": "off",
    "createrole_self_grant": "set",
    "plpgsql.variable_conflict": "use_column",
    "plpgsql.extra_errors": "all",
}
EVERYTHING = TEXTS | TRANSACTIONS | PLANS | OTHERS
KNOWN = [
    {"DateStyle": "SQL, DMY"},
    {"DateStyle": "Postgres, YMD"},
    {"DateStyle": "German"},
    {"TimeZone": "Asia/Kolkata"},
    {"TimeZone": "<+0530>-05:30"},
    {"client_encoding": "LATIN1"},
    {"client_encoding": "SQL_ASCII"},
    {"default_transaction_isolation": "serializable"},
    {"default_transaction_isolation": "repeatable read"},
    {"default_transaction_read_only": "on"},
    {"array_nulls": "off"},
    {"search_path": "elsewhere, public"},
]
"""What has broken something, each alone."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server whose settings may be changed."""
    with ExitStack() as stack:
        try:
            yield stack.enter_context(own_server())
        except NoPostgres as error:
            if os.environ.get("CI"):
                pytest.fail(f"CI must test PostgreSQL: {error}")
            pytest.skip(f"NO POSTGRESQL: {error}")


class Place:
    """A database of its own, and the role that owns it."""

    def __init__(self, server: Server, *, encoding: LiteralString = "UTF8") -> None:
        self.server = server
        self.name = f"place_{secrets.token_hex(8)}"
        self._run("CREATE ROLE {} LOGIN", Identifier(self.name))
        self._run(
            "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {}",
            *(Identifier(self.name), Identifier(self.name), Value(encoding)),
        )
        self.url = f"postgresql://{self.name}@/{self.name}?host={server.home}"

    def set(self, level: LiteralString, settings: Mapping[str, str]) -> None:
        """Set what this server knows of *settings* for new sessions of the ROLE or the DATABASE."""
        for name, value in settings.items():
            words = SQL(", ").join(map(Value, value.split(", "))) if name == "search_path" else Value(value)
            setting = SQL(".").join(map(Identifier, name.split(".")))
            with contextlib.suppress(psycopg.errors.UndefinedObject, psycopg.errors.InvalidParameterValue):
                self._run(f"ALTER {level} {{}} SET {{}} = {{}}", Identifier(self.name), setting, words)

    def session(self, name: str) -> str:
        """What a session of the role begins with."""
        with psycopg.connect(self.url) as connection:
            return connection.execute("SELECT current_setting(%s)", (name,)).fetchone()[0]  # type: ignore[index, no-any-return]

    def _run(self, statement: LiteralString, *parts: Any) -> None:  # Any: as in the library
        with psycopg.connect(self.server.url, autocommit=True, options="-cjit=off") as connection:
            connection.execute(SQL(statement).format(*parts))


@pytest.fixture
def place(server: Server) -> Place:
    return Place(server)


@pytest.fixture(params=["direct", "pooled"])
def url(request: pytest.FixtureRequest, place: Place) -> Iterator[str]:
    """The URL of the database, directly and through a pooler."""
    if request.param == "direct":
        yield place.url
    else:
        with pooler(place.url, size=2) as pooled:
            yield pooled


class Taking:
    """Takes every SMS."""

    def __init__(self) -> None:
        self.sent: list[Sms] = []

    def send(self, sms: Sms) -> Accepted:
        self.sent.append(sms)
        return Accepted()

    def look_up(self, sms: Sms) -> None:  # noqa: ARG002 - the port's
        return None


def everything_works(application: Application, sender: Taking, clock: FakeClock, user_id: str = "ada") -> None:
    """Go through what reads, stores and sends, and compare it with what was asked for."""
    sent = len(sender.sent)
    application.commands.add_human_user(user_id, ADA, phone=PHONE, by=ADMIN)
    application.commands.change_phone(user_id, OTHER_PHONE, by=ADMIN)
    application.commands.remove_phone(user_id, by=ADMIN)  # an event without a payload

    history = application.history(user_id)
    assert [one.sequence for one in history] == list(range(1, len(history) + 1))
    assert cast("HumanUserAdded", history[0].event).last_name == ADA.last_name
    for one in history:
        assert (one.created_at, one.created_at.utcoffset()) == (clock(), timedelta(0))
    found = application.find_user(user_id)
    assert found is not None
    details, phone = found
    assert (details.creation_date, details.creation_date.utcoffset()) == (clock(), timedelta(0))
    assert phone.phone is None
    exported = [one.created_at for one in application.export_events() if one.aggregate_id == user_id]
    assert exported == [clock()] * len(history)
    application.commands.change_phone(user_id, PHONE, by=ADMIN)
    assert eventually(lambda: len(sender.sent) > sent)
    assert eventually(lambda: all(one.state in (State.SENT, State.DROPPED) for one in application.deliveries()))
    assert eventually(lambda: all(one.lag().oldest is None for one in application.subscriptions().values()))
    assert application.differences() == []
    assert application.rebuild() > 0
    assert [one.parked() for one in application.subscriptions().values()] == [[], []]
    assert application.problems() == {}


@contextlib.contextmanager
def running(url: str, vault: AesGcmVault, sender: Taking, clock: FakeClock) -> Iterator[Application]:
    with Application(url, vault, sender=sender, clock=clock) as application:
        application.start()
        yield application


@pytest.mark.parametrize("level", ["DATABASE", "ROLE"])
def test_everything_works_whatever_was_set_before_the_start(
    url: str, place: Place, level: LiteralString, vault: AesGcmVault, clock: FakeClock
) -> None:
    place.set(level, EVERYTHING)
    assert place.session("default_transaction_isolation") == "serializable"

    with running(url, vault, sender := Taking(), clock) as application:
        everything_works(application, sender, clock)


def test_everything_works_whatever_is_set_while_it_runs(
    url: str, place: Place, vault: AesGcmVault, clock: FakeClock
) -> None:
    with running(url, vault, sender := Taking(), clock) as application:
        everything_works(application, sender, clock, "ada")

        place.set("DATABASE", EVERYTHING)
        place.set("ROLE", EVERYTHING | {"search_path": "nowhere"})
        with psycopg.connect(place.server.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (place.name,)
            )

        assert eventually(lambda: answers(application) and application.problems() == {})
        everything_works(application, sender, clock, "bob")


def answers(application: Application) -> bool:
    with contextlib.suppress(StoreUnavailable):
        return application.find_user("ada") is not None
    return False


@pytest.mark.parametrize("setting", KNOWN, ids=lambda setting: str(*setting.items()))
def test_what_has_broken_something_does_not(
    url: str, place: Place, setting: dict[str, str], vault: AesGcmVault, clock: FakeClock
) -> None:
    place.set("DATABASE", setting)

    with running(url, vault, sender := Taking(), clock) as application:
        everything_works(application, sender, clock)


def test_a_setting_of_the_server_that_changes_reaches_no_session_of_ours(
    url: str, server: Server, vault: AesGcmVault, clock: FakeClock
) -> None:
    settings = TEXTS | TRANSACTIONS | PLANS
    with running(url, vault, sender := Taking(), clock) as application, ExitStack() as stack:
        everything_works(application, sender, clock, "ada")
        with psycopg.connect(server.url, autocommit=True) as connection:
            stack.callback(reloaded, server, "ALTER SYSTEM RESET ALL")
            for name, value in settings.items():
                with contextlib.suppress(psycopg.Error):
                    connection.execute(SQL("ALTER SYSTEM SET {} = {}").format(Identifier(name), Value(value)))
            connection.execute("SELECT pg_reload_conf()")
            assert eventually(lambda: connection.execute("SHOW DateStyle").fetchone() == ("German, DMY",))

        everything_works(application, sender, clock, "bob")


def reloaded(server: Server, statement: LiteralString) -> None:
    with psycopg.connect(server.url, autocommit=True, options="-cdefault_transaction_read_only=off") as connection:
        connection.execute(statement)
        connection.execute("SELECT pg_reload_conf()")
        assert eventually(lambda: connection.execute("SHOW DateStyle").fetchone() == ("ISO, MDY",))


def test_a_short_statement_timeout_breaks_nothing_off(url: str, place: Place) -> None:
    place.set("ROLE", {"statement_timeout": "200ms", "lock_timeout": "200ms"})
    database = PostgreSQLDatabase(url, patience=timedelta(seconds=10))

    with database.read() as connection:
        assert connection.execute("SELECT 1 FROM pg_sleep(0.5)").fetchone() == (1,)
    with database.write() as connection:
        assert connection.execute("SELECT 1 FROM pg_sleep(0.5)").fetchone() == (1,)


@pytest.mark.parametrize(
    ("given", "used"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")],
)
def test_a_commit_waits_for_the_disk_at_least(url: str, place: Place, given: str, used: str) -> None:
    place.set("ROLE", {"synchronous_commit": given})
    database = PostgreSQLDatabase(url)

    for block in (database.write, database.statement):
        with block() as connection:
            assert connection.execute("SELECT current_setting('synchronous_commit')").fetchone() == (used,)


def test_a_pooler_keeps_no_setting_of_ours(place: Place, vault: AesGcmVault, clock: FakeClock) -> None:
    of_poolers = ["client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings", "application_name"]
    with pooler(place.url, size=1) as url:
        with running(url, vault, sender := Taking(), clock) as application:
            everything_works(application, sender, clock)

        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
            settings = other.execute("SELECT name, setting FROM pg_settings WHERE source = 'session'").fetchall()
            listening = other.execute("SELECT pg_listening_channels()").fetchall()
            locks = other.execute(
                "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            ).fetchall()

    assert [setting for setting in settings if setting[0] not in of_poolers] == []
    assert listening == []
    assert locks == []


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_is_not_in_utf8_is_refused(server: Server, encoding: LiteralString, vault: AesGcmVault) -> None:
    place = Place(server, encoding=encoding)

    with pytest.raises(StoreUnavailable, match=f"encoding is {encoding}: create it with ENCODING 'UTF8'"):
        Application(place.url, vault)


def test_a_host_session_reads_and_stores_the_same_whatever_it_is_set_to(
    place: Place, vault: AesGcmVault, clock: FakeClock
) -> None:
    not_the_hosts = {"client_encoding", "lc_messages"}
    settings = {name: value for name, value in (TEXTS | PLANS).items() if name not in not_the_hosts}
    with Application(place.url, vault, clock=clock) as application, psycopg.connect(place.url) as host:
        for name, value in settings.items():
            host.execute("SELECT set_config(%s, %s, false)", (name, value))
        before = [host.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in settings]
        users = application.within(host)
        users.commands.add_human_user("ada", ADA, phone=PHONE, by=ADMIN)
        users.commands.remove_phone("ada", by=ADMIN)
        inside = users.find_user("ada"), users.history("ada")
        host.commit()

        assert inside == (application.find_user("ada"), application.history("ada"))
        assert {one.created_at for one in inside[1]} == {clock()}
        assert [host.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in settings] == before


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_host_session_with_another_encoding_is_refused(place: Place, encoding: str, vault: AesGcmVault) -> None:
    with (
        Application(place.url, vault) as application,
        psycopg.connect(place.url, client_encoding=encoding) as host,
        pytest.raises(TransactionUnusable, match="client_encoding is not UTF8"),
    ):
        application.within(host)


def test_the_clock_of_the_server_is_read_in_utc(place: Place) -> None:
    place.set("ROLE", {"TimeZone": "Asia/Kolkata", "DateStyle": "German"})
    with PostgreSQLDatabase(place.url).read() as connection:
        now = PostgreSQLDatabase(place.url).now(connection)

    assert abs(now - datetime.now(UTC)) < timedelta(seconds=30)
    assert now.utcoffset() == timedelta(0)


def test_a_listener_behind_a_pooler_looks_by_itself(place: Place) -> None:
    with pooler(place.url) as url:
        heard = threading.Event()
        database = PostgreSQLDatabase(url)
        database.listen(heard)
        assert heard.wait(30)
        heard.clear()

        assert heard.wait(30)
