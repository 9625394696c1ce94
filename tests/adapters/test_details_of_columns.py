"""Details out of columns, held against those that the read model makes of whole events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import new_events, rows_on, store_on
from humanuser import (
    Event,
    HumanUserAdded,
    HumanUserSelfRegistered,
    PhoneChanged,
    PhoneNumber,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    SealedCode,
    UnknownEvent,
    UserRemoved,
)
from humanuser.testing import AT
from humanuser_adapters import details_of_columns
from humanuser_adapters.database import Database
from humanuser_adapters.details_of_columns import differences_of_details
from humanuser_adapters.read_model import Difference
from humanuser_adapters.read_models import UserReadModels
from humanuser_adapters.subscription import Subscription
from zitadel_export import zitadel_events

ADDED = HumanUserAdded(user_name="ada")
CHANGED = PhoneChanged(phone=PhoneNumber("+41791234567"))
CODE = PhoneVerificationCodeAdded(code=SealedCode(algorithm="aes", key_id="key", crypted="c2VhbGVk"), expiry=1)
OF_A_USER: Sequence[Event] = (
    ADDED,
    HumanUserSelfRegistered(user_name="ada"),
    CHANGED,
    PhoneVerified(),
    CODE,
    PhoneVerificationCodeSent(),
    PhoneVerificationFailed(),
    UserRemoved(),
    UnknownEvent("user.locked", b""),
)


class World:
    """Users whose every event has a time and an owner of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = store_on(database)
        self.users = Subscription("users", database, self.store, UserReadModels(database))

    def append(self, user_id: str, *events: Event) -> None:
        after = len(self.store.load("default", user_id))
        for number, event in enumerate(events, after):
            at, owner = AT + timedelta(seconds=number), f"org{number}"
            self.store.append(new_events(user_id, [event], after=number, created_at=at, resource_owner=owner))

    def change(self, statement: str) -> None:
        with self.database.write() as connection:
            connection.execute(statement)

    def differences(self) -> list[Difference]:
        return list(differences_of_details(self.database, "users"))


@pytest.fixture
def world(any_database: Database) -> World:
    world = World(any_database)
    world.append("ada", ADDED, CHANGED, CODE)
    world.append("bob", ADDED, PhoneVerified())
    world.users.catch_up()
    return world


def test_a_whole_export_agrees(any_database: Database) -> None:
    world = World(any_database)
    with any_database.write() as connection:
        rows_on(any_database).insert(connection, tuple(zitadel_events(400, 15, seed=3)))
    world.users.catch_up()

    assert world.differences() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # every example has users of its own
@given(st.lists(st.sampled_from(OF_A_USER), max_size=8))
def test_whatever_happens_columns_tell_the_details_of_the_read_model(
    any_database: Database, history: list[Event]
) -> None:
    world = World(any_database)
    world.append(str(uuid4()), *history)
    world.users.catch_up()

    assert world.differences() == []


@pytest.mark.parametrize(
    "column",
    [
        "sequence = 7",
        "creation_date = change_date",
        "change_date = creation_date",
        "resource_owner = 'x'",
        "taken_in = 1",
    ],
)
def test_each_column_is_compared(column: str, world: World) -> None:
    world.change(f"UPDATE humanuser_user_details SET {column} WHERE user_id = 'ada'")  # noqa: S608 - ours

    assert [(one.user_id, one.what) for one in world.differences()] == [("ada", "details")]


def test_who_is_missing_or_too_many_is_told(world: World) -> None:
    world.change("UPDATE humanuser_user_details SET user_id = 'eve' WHERE user_id = 'ada'")

    ada, eve = world.differences()

    assert (ada.user_id, ada.stored, ada.expected and ada.expected[0]) == ("ada", None, 2)
    assert (eve.user_id, eve.expected, eve.stored and eve.stored[-1]) == ("eve", None, 3)


@pytest.mark.parametrize("at_once", range(6))
def test_pages_have_everybody_once(at_once: int, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.append("cleo", ADDED)
    world.users.catch_up()
    world.change("UPDATE humanuser_user_details SET resource_owner = 'x'")
    world.change(f"INSERT INTO humanuser_user_details VALUES ('zurich', 'zoe', 1, '{AT}', '{AT}', 'x', 1)")  # noqa: S608 - ours
    monkeypatch.setattr(details_of_columns, "EVENTS_AT_ONCE", at_once)
    told: list[int] = []

    found = list(differences_of_details(world.database, "users", told.append))

    of_users = [(one.user_id, one.stored and one.stored[3], one.expected and one.expected[3]) for one in found]
    assert of_users == [("ada", "x", "org0"), ("bob", "x", "org0"), ("cleo", "x", "org0"), ("zoe", "x", None)]
    assert len(told) == [5, 4, 4, 3, 3, 3][at_once]


def test_what_is_not_taken_in_yet_does_not_count(world: World) -> None:
    world.append("ada", PhoneVerified())

    assert world.differences() == []


def test_what_is_parked_does_not_count(world: World) -> None:
    world.append("ada", CHANGED, PhoneVerified())
    world.change("UPDATE humanuser_events SET payload = '{}' WHERE aggregate_id = 'ada' AND sequence = 4")
    world.users.catch_up()

    assert len(world.users.parked()) == 2
    assert world.differences() == []


def test_nor_does_what_another_subscription_has_parked_matter(world: World) -> None:
    world.change("INSERT INTO humanuser_parked VALUES ('others', 2, 'default', 'ada', '')")

    assert world.differences() == []


def test_what_is_no_user_does_not_count(world: World) -> None:
    world.change("UPDATE humanuser_events SET aggregate_type = 'machine' WHERE aggregate_id = 'bob'")
    world.change("DELETE FROM humanuser_user_details WHERE user_id = 'bob'")

    assert world.differences() == []
