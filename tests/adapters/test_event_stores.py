"""Every event store of ours keeps the contract, and serves the library as a persistence module."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import ApplicationRecorder, ProcessRecorder, StoredEvent, TrackingRecorder
from eventsourcing.tests.persistence import (
    ApplicationRecorderTestCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)

from fakes import new_events
from humanuser import (
    Event,
    HumanUserAdded,
    PhoneChanged,
    PhoneNumber,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerified,
    Recorded,
    UnknownEvent,
    UnreadableEvent,
)
from humanuser.testing import EventStoreContract
from humanuser.testing.event_store import ADDED, CHANGED, CODE
from humanuser_adapters.database import Connection, Database
from humanuser_adapters.event_store import (
    REGISTRY,
    AggregateLog,
    MemoryEventRecorder,
    SQLiteEventRecorder,
    SQLiteTrackingEventRecorder,
    UserEventStore,
    event_of,
    payload_of,
)
from humanuser_adapters.event_store.postgresql import PostgreSQLEventRecorder, PostgreSQLTrackingEventRecorder
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.subscription import Subscription


class _StoreOfOurs(EventStoreContract):
    """What our stores can do beyond the port."""

    def test_users_are_listed_in_the_order_of_their_ids_page_by_page(self) -> None:
        store = self.create_store()
        for user_id in ("user3", "user1", "user2", "user5", "user4"):
            add(store, user_id)

        pages = [store.user_ids("default", limit=2)]
        while pages[-1]:
            pages.append(store.user_ids("default", after=pages[-1][-1], limit=2))

        assert pages == [["user1", "user2"], ["user3", "user4"], ["user5"], []]

    def test_a_user_with_many_events_is_listed_once(self) -> None:
        store = self.create_store()
        add(store, "user1", ADDED, CHANGED, CODE)

        assert store.user_ids("default", limit=10) == ["user1"]

    def test_users_of_another_instance_are_not_listed(self) -> None:
        store = self.create_store()
        add(store, "user1", instance_id="other")
        add(store, "user2")

        assert store.user_ids("default", limit=10) == ["user2"]

    def test_ids_in_any_script_are_each_listed_once(self) -> None:
        store = self.create_store()
        ids = ["ada", "Ada", "ADA", "ädä", "a-d-a", "42", "5", "Ада", "아다", "💡"]
        for user_id in ids:
            add(store, user_id)

        listed: list[str] = []
        while page := store.user_ids("default", after=listed[-1] if listed else "", limit=1):
            listed += page

        assert sorted(listed) == sorted(ids)

    def create_store(self) -> UserEventStore:
        raise NotImplementedError


def add(store: UserEventStore, user_id: str, *events: Event, instance_id: str = "default") -> None:
    store.append(new_events(user_id, events or [ADDED], instance_id=instance_id))


class TestMemory(_StoreOfOurs):
    def create_store(self) -> UserEventStore:
        return UserEventStore(MemoryEventRecorder())


class TestSQLite(_StoreOfOurs):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def create_store(self) -> UserEventStore:
        return UserEventStore(SQLiteEventRecorder(SQLiteDatabase(self.folder / "test.sqlite")))


class TestPostgreSQL(_StoreOfOurs):
    @pytest.fixture(autouse=True)
    def _database(self, postgresql: PostgreSQLDatabase) -> None:
        self.database = postgresql

    def create_store(self) -> UserEventStore:
        return UserEventStore(PostgreSQLEventRecorder(self.database))


class _LibraryCase(ApplicationRecorderTestCase[Any]):  # Any: of whichever recorder
    def new_originator_id(self) -> str:
        return str(super().new_originator_id())

    def optional_test_insert_subscribe(self, initial_position: int = 0) -> None:
        super().optional_test_insert_subscribe(initial_position)

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestMemoryRecorderAsTheLibraryAsks(_LibraryCase):
    def create_recorder(self) -> ApplicationRecorder:
        return MemoryEventRecorder()


class TestSQLiteRecorderAsTheLibraryAsks(_LibraryCase):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def create_recorder(self) -> ApplicationRecorder:
        return SQLiteEventRecorder(SQLiteDatabase(self.folder / "test.sqlite"))


class TestSQLiteProcessRecorderAsTheLibraryAsks(ProcessRecorderTestCase):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def create_recorder(self) -> ProcessRecorder:
        database = SQLiteDatabase(self.folder / "test.sqlite")
        return SQLiteTrackingEventRecorder(database, id_of=UUID)


class TestSQLiteTrackingAsTheLibraryAsks(TrackingRecorderTestCase):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def create_recorder(self) -> TrackingRecorder:
        return SQLiteTrackingEventRecorder(SQLiteDatabase(self.folder / "test.sqlite"))


class TestPostgreSQLRecorderAsTheLibraryAsks(_LibraryCase):
    @pytest.fixture(autouse=True)
    def _database(self, postgresql: PostgreSQLDatabase) -> None:
        self.database = postgresql

    def create_recorder(self) -> ApplicationRecorder:
        return PostgreSQLEventRecorder(self.database)


class TestPostgreSQLProcessRecorderAsTheLibraryAsks(ProcessRecorderTestCase):
    @pytest.fixture(autouse=True)
    def _database(self, postgresql: PostgreSQLDatabase) -> None:
        self.database = postgresql

    def create_recorder(self) -> ProcessRecorder:
        return PostgreSQLTrackingEventRecorder(self.database, id_of=UUID)


class TestPostgreSQLTrackingAsTheLibraryAsks(TrackingRecorderTestCase):
    @pytest.fixture(autouse=True)
    def _database(self, postgresql: PostgreSQLDatabase) -> None:
        self.database = postgresql

    def create_recorder(self) -> TrackingRecorder:
        return PostgreSQLTrackingEventRecorder(self.database)


class Greeting(Aggregate):
    @event("Greeted")
    def __init__(self, text: str) -> None:
        self.text = text

    @event("TextChanged")
    def change(self, text: str) -> None:
        self.text = text


def test_an_application_of_the_library_keeps_its_aggregates_beside_our_users(tmp_path: Path) -> None:
    store = UserEventStore(SQLiteEventRecorder(SQLiteDatabase(tmp_path / "shared.sqlite")))
    store.append(new_events("user1", [ADDED]))
    environment = {
        "PERSISTENCE_MODULE": "humanuser_adapters.event_store.sqlite",
        "SQLITE_DBNAME": str(tmp_path / "shared.sqlite"),
        "AGGREGATE_TYPE": "greeting",
    }

    with Application[UUID](env=environment) as greetings:
        greeting = Greeting("hello")
        greeting.change("hallo")
        greetings.save(greeting)
        read_back: Greeting = greetings.repository.get(greeting.id)
        followed = [notification.topic for notification in greetings.notification_log.select(start=1, limit=10)]

    assert read_back.text == "hallo"
    assert [topic.rpartition(":")[2] for topic in followed] == ["Greeting.Greeted", "Greeting.TextChanged"]
    assert [recorded.event for recorded in store.read_all(after=0, limit=10)] == [ADDED]
    assert store.user_ids("default", limit=10) == ["user1"]
    assert store.head() == 3


def test_a_subscription_follows_the_librarys_aggregates_beside_our_users(any_database: Database) -> None:
    class Seen:
        def __init__(self) -> None:
            self.events: list[Recorded] = []

        def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:  # noqa: ARG002 - keeps them here
            self.events += events

    sqlite = isinstance(any_database, SQLiteDatabase)
    kind = SQLiteEventRecorder if sqlite else PostgreSQLEventRecorder
    greetings = kind(any_database, aggregate_type="greeting")
    store = UserEventStore(greetings)
    states = [b'{"text": "hello"}', b"\xff sealed"]
    add(store, "user1")
    greetings.insert_events([StoredEvent("greeting1", n, "Greeted", state) for n, state in enumerate(states, 1)])
    ours, theirs = Seen(), Seen()

    Subscription("ours", any_database, store, ours).catch_up()
    Subscription("theirs", any_database, AggregateLog(greetings, "greeting"), theirs).catch_up()

    assert [one.event for one in ours.events] == [ADDED]
    assert [(one.user_id, one.sequence) for one in theirs.events] == [("greeting1", 1), ("greeting1", 2)]
    assert [one.event for one in theirs.events] == [UnknownEvent("Greeted", state) for state in states]
    assert AggregateLog(greetings, "greeting").head() == store.head() == 3


def test_a_position_is_never_given_out_again(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "test.sqlite")
    store = UserEventStore(SQLiteEventRecorder(database))
    store.append(new_events("user1", [ADDED]))
    with database.write() as connection:
        connection.execute("DELETE FROM humanuser_events")

    (again,) = store.append(new_events("user1", [ADDED])).recorded

    assert again.position == 2


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("payload", "{", "Invalid JSON"),
        ("payload", "[]", "payload"),
        ("payload", '{"phone": 41}', "phone"),
        ("payload", "{}", "phone: Field required"),
        ("payload", None, "phone: Field required"),
        ("created_at", "yesterday", "isoformat"),
        ("created_at", "2026-05-10T12:00:00", "no time zone"),
    ],
)
def test_a_row_that_cannot_be_read_stops_the_reader_at_its_position(
    tmp_path: Path, column: str, value: object, problem: str
) -> None:
    database = SQLiteDatabase(tmp_path / "test.sqlite")
    store = UserEventStore(SQLiteEventRecorder(database))
    events: list[Event] = [ADDED, CHANGED]
    store.append(new_events("user1", events))
    with database.write() as connection:
        connection.execute(f"UPDATE humanuser_events SET {column} = ? WHERE position = 2", (value,))  # noqa: S608

    with pytest.raises(UnreadableEvent, match=f"position 2 .*{problem}") as loading:
        store.load("default", "user1")
    with pytest.raises(UnreadableEvent) as reading:
        store.read_all(after=0, limit=10)

    assert loading.value.position == reading.value.position == 2
    assert [one.event for one in store.read_all(after=0, limit=1)] == [ADDED]
    assert "+4179" not in str(loading.value)


def test_a_stored_name_imports_nothing(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "test.sqlite")
    store = UserEventStore(SQLiteEventRecorder(database))
    store.append(new_events("user1", [ADDED]))
    with database.write() as connection:
        connection.execute("UPDATE humanuser_events SET event_type = 'this:d'")

    (recorded,) = store.load("default", "user1")

    assert isinstance(recorded.event, UnknownEvent)
    assert "this" not in sys.modules


def test_every_name_zitadel_ever_used_is_read() -> None:
    assert {name: fact.__name__ for name, fact in REGISTRY.items() if not name.startswith("user.human.")} == {
        "user.added": "HumanUserAdded",
        "user.selfregistered": "HumanUserSelfRegistered",
        "user.phone.changed": "PhoneChanged",
        "user.phone.code.added": "PhoneVerificationCodeAdded",
        "user.phone.code.sent": "PhoneVerificationCodeSent",
        "user.phone.verified": "PhoneVerified",
        "user.phone.verification.failed": "PhoneVerificationFailed",
        "user.phone.removed": "PhoneRemoved",
        "user.initialization.code.added": "InitialisationCodeAdded",
        "user.initialization.check.succeeded": "UserInitialised",
        "user.profile.changed": "ProfileChanged",
        "user.locked": "UserLocked",
        "user.unlocked": "UserUnlocked",
        "user.deactivated": "UserDeactivated",
        "user.reactivated": "UserReactivated",
        "user.removed": "UserRemoved",
    }


@pytest.mark.parametrize(
    ("fact", "payload"),
    [
        (PhoneChanged(phone=PhoneNumber("+41791234567")), {"phone": "+41791234567"}),
        (PhoneVerified(), None),
        (PhoneVerificationCodeSent(), {"generatorInfo": {}}),
        (HumanUserAdded(user_name="ada"), {"userName": "ada", "preferredLanguage": "und"}),
        (
            CODE,
            {
                "code": {"CryptoType": 0, "Algorithm": "aes", "KeyID": "key", "Crypted": "Y29kZQ=="},
                "expiry": 600_000_000_000,
            },
        ),
        (
            PhoneVerificationCodeAdded(code_returned=True, generator_id="g", trigger_origin="https://a"),
            {"code_returned": True, "generatorId": "g", "triggerOrigin": "https://a"},
        ),
    ],
)
def test_events_are_stored_as_zitadel_stores_them(fact: Event, payload: object) -> None:
    stored = payload_of(fact)

    assert (json.loads(stored) if stored else None) == payload
    assert event_of(fact.type, stored) == fact
