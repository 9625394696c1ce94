"""What is not a string gets the same clear error everywhere, and nothing is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from humanuser import (
    By,
    Commands,
    HumanUserAdded,
    NewEvents,
    PhoneVerificationCodeSent,
    VerificationCode,
    parse_phone_number,
)
from humanuser.policy import PhoneRules
from humanuser.testing import AT, TransparentVault
from humanuser_adapters.application import Application
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore

NO_STRINGS: list[Any] = [UUID(int=7), 7, 0, None, b"ada", ["ada"], object()]  # Any: what callers without types give
BY = By("admin", "org1")
ADDED = HumanUserAdded(user_name="ada")
COMMANDS: dict[str, Callable[[Commands, Any], object]] = {
    "add_human_user": lambda commands, id_: commands.add_human_user(id_, ADDED, by=BY),
    "change_phone": lambda commands, id_: commands.change_phone(id_, "+41791234567", by=BY),
    "verify_phone": lambda commands, id_: commands.verify_phone(id_, "123456", by=BY),
    "add_phone_code": lambda commands, id_: commands.add_phone_code(id_, by=BY),
    "record_code_sent": lambda commands, id_: commands.record_code_sent(
        id_, PhoneVerificationCodeSent(), code_sequence=1, by=BY
    ),
    "remove_phone": lambda commands, id_: commands.remove_phone(id_, by=BY),
    "set_phone": lambda commands, id_: commands.set_phone(id_, "+41791234567", by=BY, permit=print),
    "resend_phone_code": lambda commands, id_: commands.resend_phone_code(id_, by=BY, permit=print),
    "verify_user_phone": lambda commands, id_: commands.verify_user_phone(id_, "123456", by=BY, permit=print),
    "remove_user_phone": lambda commands, id_: commands.remove_user_phone(id_, by=BY, permit=print),
}


@pytest.fixture(params=["sqlite", "postgresql"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Application]:
    url = request.getfixturevalue("postgresql_url") if request.param == "postgresql" else tmp_path / "a.sqlite"
    with Application(url, TransparentVault()) as application:
        yield application


@pytest.fixture
def memory() -> UserEventStore:
    return UserEventStore(MemoryEventRecorder())


def commands_on(store: UserEventStore, now: datetime = AT) -> Commands:
    return Commands(store, TransparentVault(), lambda: now, lambda _: VerificationCode("123456"))


def test_all_commands_are_here() -> None:
    assert set(COMMANDS) == {name for name in vars(Commands) if not name.startswith("_")}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_for_an_id_that_is_no_string_is_refused_on_every_store(
    stored: Application, memory: UserEventStore, command: str
) -> None:
    for commands in (stored.commands, commands_on(memory)):
        for user_id in NO_STRINGS:
            with pytest.raises(TypeError, match=f"^user_id must be a str, not {type(user_id).__name__}$"):
                COMMANDS[command](commands, user_id)

    assert (stored.head(), memory.head()) == (0, 0)


@pytest.mark.parametrize("user_id", NO_STRINGS, ids=lambda value: type(value).__name__ + "0" * (value == 0))
def test_a_read_for_an_id_that_is_no_string_is_refused_on_every_store(
    stored: Application, memory: UserEventStore, user_id: Any
) -> None:
    reads: list[Callable[[], object]] = [
        lambda: stored.find_user(user_id),
        lambda: stored.history(user_id),
        lambda: memory.load("default", user_id),
        lambda: memory.append(
            NewEvents(
                instance_id="default",
                user_id=user_id,
                events=[ADDED],
                after=0,
                created_at=AT,
                creator="a",
                resource_owner="o",
            )
        ),
    ]

    for read in reads:
        with pytest.raises(TypeError, match="user_id must be a str, not "):
            read()


@pytest.mark.parametrize("user_id", ["", "a\0b", "\ud800", "x" * 300], ids=ascii)
def test_a_read_for_an_id_that_no_user_can_have_finds_nobody(stored: Application, user_id: str) -> None:
    assert stored.find_user(user_id) is None
    assert list(stored.history(user_id)) == []


@pytest.mark.parametrize("value", NO_STRINGS, ids=lambda value: type(value).__name__ + "0" * (value == 0))
def test_a_number_a_code_and_who_asks_are_strings(memory: UserEventStore, value: Any) -> None:
    commands = commands_on(memory)
    commands.add_human_user("ada", ADDED, phone="+41791234567", by=BY)
    asked: dict[str, Callable[[], object]] = {
        "phone": lambda: commands.change_phone("ada", value, by=BY),
        "code": lambda: commands.verify_phone("ada", value, by=BY),
        "creator": lambda: By(value),
        "organization": lambda: By("admin", value),
        "instance_id": lambda: Commands(memory, TransparentVault(), lambda: AT, print, instance_id=value),  # type: ignore[arg-type]  # never called
    }
    if value is not None:
        asked["command_id"] = lambda: By("admin", "org1", value)

    for name, ask in asked.items():
        if name == "phone" and isinstance(value, list):
            continue  # the cache of parsed numbers says that it cannot be hashed
        with pytest.raises(TypeError, match=f"^{name} must be a str, not {type(value).__name__}$"):
            ask()
    with pytest.raises(TypeError):
        parse_phone_number(value, PhoneRules())

    assert len(memory.load("default", "ada")) == 2


def test_a_string_of_a_class_of_its_own_is_a_string(stored: Application) -> None:
    class UserId(str):
        __slots__ = ()

    stored.commands.add_human_user(UserId("ada"), ADDED, phone=UserId("+41791234567"), by=BY)

    assert [recorded.user_id for recorded in stored.history(UserId("ada"))] == ["ada", "ada"]


def test_a_clock_in_another_zone_gives_events_in_utc(memory: UserEventStore) -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5, minutes=45)))

    details = commands_on(memory, elsewhere).add_human_user("ada", ADDED, by=BY)

    assert [str(one.created_at) for one in memory.load("default", "ada")] == ["2026-05-10 12:00:00+00:00"]
    assert str(details.change_date) == "2026-05-10 12:00:00+00:00"


def test_a_clock_without_a_zone_is_refused(memory: UserEventStore) -> None:
    with pytest.raises(ValueError, match="2026-05-10T12:00:00 has no time zone"):
        commands_on(memory, AT.replace(tzinfo=None)).add_human_user("ada", ADDED, by=BY)

    assert memory.head() == 0
