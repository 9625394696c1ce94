"""Read models made anew beside the ones in use: to take their place, or to be held against them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fakes import new_events, store_on
from humanuser import Event, HumanUserAdded, PhoneChanged, PhoneNumber, PhoneVerified, Recorded, UserRemoved
from humanuser_adapters import rebuild as rebuild_module
from humanuser_adapters.database import Database
from humanuser_adapters.event_log import Place
from humanuser_adapters.read_model import Difference
from humanuser_adapters.read_models import UserReadModels
from humanuser_adapters.rebuild import Rebuild, RebuildSuperseded
from humanuser_adapters.subscription import BEHIND_ANOTHER, Subscription

ADDED = HumanUserAdded(user_name="ada")
CHANGED = PhoneChanged(phone=PhoneNumber("+41791234567"))
AGAIN = PhoneChanged(phone=PhoneNumber("+41791234568"))


class World:
    """Ada, who changed her number twice, and Bob, who proved his."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = store_on(database)
        self.read_models = UserReadModels(database)
        self.users = Subscription("users", database, self.store, self.read_models)
        self.rebuild = Rebuild(self.users, database, self.store, self.read_models)
        self.append("ada", ADDED, CHANGED)
        self.append("bob", ADDED, CHANGED, PhoneVerified())
        self.append("ada", AGAIN, after=2)
        self.users.catch_up()

    def append(self, user_id: str, *events: Event, after: int = 0) -> None:
        self.store.append(new_events(user_id, events, after=after, resource_owner="org"))

    def change(self, statement: str) -> None:
        with self.database.write() as connection:
            connection.execute(statement)

    def spoil(self, position: int) -> None:
        self.change(f"UPDATE humanuser_events SET payload = '{{}}' WHERE position = {position}")  # noqa: S608 - ours

    def phones(self) -> dict[str, str | None]:
        """What the read models say."""
        with self.database.read() as connection:
            rows = connection.execute("SELECT user_id, phone FROM humanuser_user_phone")
            return {str(user_id): phone for user_id, phone in rows}

    def tables(self) -> set[str]:
        """Those that are beside others."""
        with self.database.read() as connection:
            queries = (
                "SELECT name FROM sqlite_master",
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
            )
            names = connection.execute(queries[not hasattr(self.database, "path")])
            return {name for (name,) in names if name.endswith("_anew")}


@pytest.fixture
def world(any_database: Database, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(rebuild_module, "PAGE", 2)
    monkeypatch.setattr(rebuild_module, "USERS_AT_ONCE", 1)
    return World(any_database)


RIGHT = {"ada": "+41791234568", "bob": "+41791234567"}


def test_a_rebuild_makes_what_the_events_say(world: World) -> None:
    world.change("UPDATE humanuser_user_phone SET phone = 'nonsense'")
    world.change("DELETE FROM humanuser_user_details")
    steps: list[int] = []

    count = world.rebuild.run(steps.append)

    assert (count, steps) == (6, [2, 2, 2])
    assert world.phones() == RIGHT
    assert world.rebuild.differences() == []
    assert world.tables() == set()


def test_it_can_be_done_again_and_again(world: World) -> None:
    assert [world.rebuild.run() for _ in range(3)] == [6] * 3
    assert world.phones() == RIGHT


def test_readers_see_the_old_rows_until_all_is_there(world: World) -> None:
    world.change("UPDATE humanuser_user_phone SET phone = '+4100'")
    seen: list[set[str | None]] = []

    world.rebuild.run(lambda _: seen.append(set(world.phones().values())))

    assert seen == [{"+4100"}] * 3
    assert world.phones() == RIGHT


def test_what_happens_meanwhile_is_in_it(world: World) -> None:
    def meanwhile(_: int) -> None:
        world.append("ada", CHANGED, after=len(world.store.load("default", "ada")))
        world.append(f"user{world.store.head()}", ADDED)
        world.users.catch_up()

    world.rebuild.run(meanwhile)

    assert world.phones()["ada"] == "+41791234567"
    assert len(world.phones()) == 5
    assert world.users.lag().positions == 0
    assert world.rebuild.differences() == []


def test_events_that_the_subscription_has_yet_to_take_in_are_not_taken_in_twice(world: World) -> None:
    world.append("ada", CHANGED, after=3)

    assert world.rebuild.run() == 7
    assert world.users.catch_up() == 0


def test_what_cannot_be_read_is_parked_with_all_that_follows_of_its_user(world: World) -> None:
    world.spoil(2)

    count = world.rebuild.run()

    assert count == 4
    assert [one.position for one in world.users.parked()] == [2, 6]
    assert world.users.parked()[1].reason == BEHIND_ANOTHER
    assert world.phones() == {"ada": None, "bob": "+41791234567"}
    assert world.rebuild.differences() == []


def test_what_can_be_read_by_now_is_parked_no_more(world: World) -> None:
    world.append("eve", ADDED, CHANGED)
    world.spoil(8)
    world.users.catch_up()
    world.change("""UPDATE humanuser_events SET payload = '{"phone": "+41791234567"}' WHERE position = 8""")
    before = world.rebuild.differences()

    world.rebuild.run()

    assert [(one.user_id, one.what) for one in before] == [("eve", "details"), ("eve", "phone")]
    assert world.users.parked() == []
    assert world.phones()["eve"] == "+41791234567"


def test_each_difference_is_told(world: World) -> None:
    world.change("UPDATE humanuser_user_phone SET phone = '+4100' WHERE user_id = 'ada'")
    world.change("DELETE FROM humanuser_user_details WHERE user_id = 'bob'")
    world.change("INSERT INTO humanuser_user_phone VALUES ('default', 'eve', NULL, false, NULL)")

    found = world.rebuild.differences()

    assert [(one.user_id, one.what) for one in found] == [("bob", "details"), ("ada", "phone"), ("eve", "phone")]
    bob, ada, eve = found
    assert bob.stored is None
    assert bob.expected is not None
    assert ada == Difference("default", "ada", "phone", ("+4100", False, None), ("+41791234568", False, None))
    assert eve.expected is None
    assert world.tables() == set()
    assert world.rebuild.differences() == found


def test_a_removed_user_is_in_no_read_model(world: World) -> None:
    world.append("ada", UserRemoved(), after=3)

    world.rebuild.run()

    assert set(world.phones()) == {"bob"}
    assert world.rebuild.differences() == []


def test_the_later_of_two_at_once_wins(world: World) -> None:
    others = Rebuild(world.users, world.database, world.store, world.read_models)
    turns = iter([1])

    def begin_another(_: int) -> None:
        if next(turns, None):
            others.run()

    with pytest.raises(RebuildSuperseded):
        world.rebuild.run(begin_another)

    assert world.phones() == RIGHT
    assert world.tables() == set()


def test_one_that_was_killed_leaves_nothing_that_matters(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(UserReadModels, "drop", lambda *_: None)  # no time to tidy up
        with pytest.raises(KeyboardInterrupt):
            world.rebuild.run(interrupted)
    assert len(world.tables()) == 2

    assert world.rebuild.run() == 6
    assert world.tables() == set()


def test_one_that_is_interrupted_tidies_up(world: World) -> None:
    with pytest.raises(KeyboardInterrupt):
        world.rebuild.run(interrupted)

    assert world.tables() == set()
    assert world.phones() == RIGHT


def interrupted(_: int) -> None:
    raise KeyboardInterrupt


def test_a_user_may_have_more_events_than_a_page(world: World) -> None:
    world.append("ada", *[CHANGED, AGAIN] * 5, after=3)

    assert world.rebuild.run() == 16
    assert world.rebuild.differences() == []


def test_pages_go_on_behind_any_place(world: World) -> None:
    places: list[Place] = []
    after: Place = ("", "", 0)
    while (page := world.store.read_histories(after=after, until=5, limit=1))[0]:
        after = page[1]
        places.append(after)

    assert places == [("default", "ada", 1), ("default", "ada", 2), *[("default", "bob", one) for one in (1, 2, 3)]]


@pytest.mark.parametrize("any_database", ["sqlite"], indirect=True)
def test_a_user_id_that_is_spoilt_is_parked_and_passed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild_module, "PAGE", 1)
    world.change("UPDATE humanuser_events SET aggregate_id = CAST(x'6164ff' AS TEXT) WHERE aggregate_id = 'ada'")

    world.rebuild.run()

    assert world.phones() == {"bob": "+41791234567"}
    assert [one.position for one in world.users.parked()] == [1, 2, 6]


def test_a_failing_read_model_leaves_the_old_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: UserReadModels, events: Sequence[Recorded]) -> None:
        raise ZeroDivisionError(len(events))

    monkeypatch.setattr(UserReadModels, "fold", failing)
    with pytest.raises(ZeroDivisionError):
        world.rebuild.run()

    assert world.phones() == RIGHT
    assert world.tables() == set()
