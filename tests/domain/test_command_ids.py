"""A command id is bound to one request: what is the same, what is not, and who may have the first answer again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fakes import FakeClock, new_events
from humanuser import (
    By,
    CodeInvalid,
    CodeOwner,
    CommandIdReused,
    Commands,
    Details,
    Event,
    HumanUser,
    HumanUserAdded,
    InitialisationCodeAdded,
    PhoneChanged,
    PhoneNumber,
    PhoneSet,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    UserNotFound,
    UserRemoved,
)
from humanuser.testing import TransparentVault
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys, draw_code

OLD, NEW = "+41791234567", "+41791234568"
ADDED = HumanUserAdded(user_name="ada")
ADMIN = By("admin", organization="org1")
ID = By("admin", organization="org1", command_id="command1")
ADAS_ID = By("ada", command_id="command1")


class Forbidden(Exception):
    """The caller may not."""


def anybody(_: str) -> None: ...


def nobody(_: str) -> None:
    raise Forbidden


def only_in(organization: str) -> Callable[[str], None]:
    return lambda asked: None if asked == organization else nobody(asked)


@pytest.fixture
def store() -> UserEventStore:
    return UserEventStore(MemoryEventRecorder())


@pytest.fixture
def commands(store: UserEventStore, vault: AesGcmVault, clock: FakeClock) -> Commands:
    """With Ada, who has a code from two minutes ago."""
    commands = Commands(store, vault, clock, draw_code)
    commands.add_human_user("ada", ADDED, phone=OLD, by=ADMIN)
    clock.advance(minutes=2)
    return commands


def right_code(store: UserEventStore, vault: AesGcmVault) -> str:
    pending = HumanUser.replay(store.load("default", "ada")).pending_code
    assert pending is not None
    assert pending.added.code is not None
    return vault.open(pending.added.code, CodeOwner("default", "ada")).characters


Change = tuple[str, dict[str, Any], dict[str, Any]]
"""A command's name, what it is asked with, and what of that another request has different."""

OTHER_REQUESTS: list[Change] = [
    *(
        ("add_human_user", {"user_id": "bob", "profile": ADDED, "phone": OLD, "verified": False}, other)
        for other in (
            {"profile": ADDED.model_copy(update={"first_name": "Ada"})},
            {"profile": ADDED.model_copy(update={"gender": 1})},
            {"profile": ADDED.model_copy(update={"email": "ada@example.com"})},
            {"phone": NEW},
            {"phone": ""},
            {"verified": True},
            {"user_id": "zoe"},
            {"by": replace(ID, creator="root")},
        )
    ),
    *(
        ("change_phone", {"user_id": "ada", "phone": NEW, "verified": False}, other)
        for other in (
            {"phone": OLD},
            {"phone": "+41 79 123 45 68"},
            {"verified": True},
            {"by": replace(ID, creator="x")},
            {"by": replace(ID, organization="")},
        )
    ),
    *(
        ("set_phone", {"user_id": "ada", "phone": NEW, "verified": False, "return_code": False}, other)
        for other in ({"phone": OLD}, {"phone": "no number"}, {"verified": True}, {"return_code": True})
    ),
    ("set_phone", {"user_id": "ada", "phone": NEW, "return_code": True}, {"return_code": False}),
    ("set_phone", {"user_id": "ada", "phone": NEW, "verified": True}, {"return_code": True}),
    ("resend_phone_code", {"user_id": "ada", "return_code": False}, {"return_code": True}),
    ("resend_phone_code", {"user_id": "ada", "return_code": True}, {"return_code": False}),
    *(
        ("record_code_sent", {"user_id": "ada", "sent": PhoneVerificationCodeSent(), "code_sequence": 2}, other)
        for other in ({"code_sequence": 1},)
    ),
]


@pytest.mark.parametrize(("name", "request_", "difference"), OTHER_REQUESTS)
def test_another_request_with_the_id_of_an_earlier_one_is_refused(
    commands: Commands, store: UserEventStore, name: str, request_: dict[str, Any], difference: dict[str, Any]
) -> None:
    command = getattr(commands, name)
    permit = {"permit": anybody} if name in ("set_phone", "resend_phone_code") else {}
    first = command(**{"by": ID, **request_, **permit})
    head = store.head()

    with pytest.raises(CommandIdReused):
        command(**{"by": ID, **request_, **permit, **difference})

    assert command(**{"by": ID, **request_, **permit}) == first
    assert store.head() == head


@pytest.mark.parametrize("name", ["verify_phone", "verify_user_phone"])
def test_a_wrong_code_under_the_id_of_a_proof_is_refused(
    commands: Commands, store: UserEventStore, vault: AesGcmVault, name: str
) -> None:
    permit = {"permit": anybody} if name == "verify_user_phone" else {}
    code = right_code(store, vault)
    first = getattr(commands, name)("ada", code, by=ADAS_ID, **permit)

    with pytest.raises(CommandIdReused):
        getattr(commands, name)("ada", "000000", by=ADAS_ID, **permit)

    assert getattr(commands, name)("ada", code, by=ADAS_ID, **permit) == first


def test_the_right_code_under_the_id_of_a_failure_is_refused_and_the_failure_repeated(
    commands: Commands, store: UserEventStore, vault: AesGcmVault
) -> None:
    with pytest.raises(CodeInvalid):
        commands.verify_phone("ada", "wrong", by=ADAS_ID)
    head = store.head()

    with pytest.raises(CommandIdReused):
        commands.verify_phone("ada", right_code(store, vault), by=ADAS_ID)
    with pytest.raises(CodeInvalid):
        commands.verify_phone("ada", "wrong", by=ADAS_ID)

    assert store.head() == head


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("remove_phone", "remove_user_phone"),
        ("add_phone_code", "resend_phone_code"),
        ("change_phone", "set_phone"),
    ],
)
def test_another_command_that_stores_the_same_is_another_request(commands: Commands, one: str, other: str) -> None:
    arguments = {"phone": NEW} if "phone" in one and one == "change_phone" else {}
    getattr(commands, one)("ada", **arguments, by=ID)

    with pytest.raises(CommandIdReused):
        getattr(commands, other)("ada", **arguments, by=ID, permit=anybody)


@pytest.mark.parametrize("name", ["set_phone", "resend_phone_code", "verify_user_phone", "remove_user_phone"])
def test_who_has_lost_the_permission_is_not_given_the_first_answer(
    commands: Commands, store: UserEventStore, vault: AesGcmVault, name: str
) -> None:
    by = By("admin", command_id="command1")
    of_each: dict[str, dict[str, Any]] = {
        "set_phone": {"phone": NEW, "return_code": True},
        "resend_phone_code": {"return_code": True},
        "verify_user_phone": {"code": right_code(store, vault)},
        "remove_user_phone": {},
    }
    arguments = of_each[name]
    command: Callable[..., Details | PhoneSet] = getattr(commands, name)
    first = command("ada", **arguments, by=by, permit=anybody)

    with pytest.raises(Forbidden):
        command("ada", **arguments, by=by, permit=nobody)

    assert command("ada", **arguments, by=by, permit=anybody) == first


def test_permission_is_asked_for_the_organization_that_the_user_is_in_now(
    commands: Commands, store: UserEventStore
) -> None:
    by = By("admin", command_id="command1")
    first = commands.set_phone("ada", NEW, return_code=True, by=by, permit=only_in("org1"))
    move(store, "org2")

    with pytest.raises(Forbidden):
        commands.set_phone("ada", NEW, return_code=True, by=by, permit=only_in("org1"))

    again = commands.set_phone("ada", NEW, return_code=True, by=by, permit=only_in("org2"))
    assert again.code == first.code


def test_who_asks_for_an_organization_that_the_user_has_left_does_not_find_the_user(
    commands: Commands, store: UserEventStore
) -> None:
    commands.change_phone("ada", NEW, by=ID)
    move(store, "org2")

    with pytest.raises(UserNotFound):
        commands.change_phone("ada", NEW, by=ID)


def test_a_first_answer_outlives_its_user_but_not_the_permission(commands: Commands, store: UserEventStore) -> None:
    by = By("admin", command_id="command1")
    first = commands.remove_user_phone("ada", by=by, permit=anybody)
    store.append(new_events("ada", [UserRemoved()], after=store.head()))

    assert commands.remove_user_phone("ada", by=by, permit=only_in("org1")) == first
    with pytest.raises(Forbidden):
        commands.remove_user_phone("ada", by=by, permit=only_in("org2"))


def test_a_first_answer_is_not_taken_back_by_a_later_state(commands: Commands, store: UserEventStore) -> None:
    by = By("ada", command_id="command1")
    first = commands.set_phone("ada", NEW, by=by, permit=nobody)
    store.append(new_events("ada", [InitialisationCodeAdded()], after=store.head()))

    assert commands.set_phone("ada", NEW, by=by, permit=nobody) == first


def test_a_returned_code_is_repeated_though_it_proves_nothing_any_more(commands: Commands, clock: FakeClock) -> None:
    by = By("admin", command_id="command1")
    first = commands.set_phone("ada", NEW, return_code=True, by=by, permit=anybody)
    clock.advance(minutes=11)
    commands.add_phone_code("ada", by=ADMIN)

    again = commands.set_phone("ada", NEW, return_code=True, by=by, permit=anybody)

    assert again == first
    assert again.code is not None
    with pytest.raises(CodeInvalid):
        commands.verify_phone("ada", again.code.characters, by=By("ada"))


def test_what_was_stored_without_a_fingerprint_is_not_given_as_an_answer(
    commands: Commands, store: UserEventStore
) -> None:
    """Nobody can tell whether it was the same request."""
    number = PhoneChanged(phone=PhoneNumber(NEW))
    events: list[Event] = [number, PhoneVerificationCodeAdded()]
    store.append(replace(new_events("ada", events, after=2), command_id="command1"))

    with pytest.raises(CommandIdReused):
        commands.change_phone("ada", NEW, by=ID)

    assert store.head() == 4


def test_a_request_is_known_again_after_a_key_was_rotated(store: UserEventStore, clock: FakeClock) -> None:
    old, new = ("key1", bytes(KEY_BYTES)), ("key2", bytes([7]) * KEY_BYTES)
    before = Commands(store, AesGcmVault(Keys("key1", dict([old]))), clock, draw_code)
    first = before.add_human_user("ada", ADDED, by=ID)

    rotated = Commands(store, AesGcmVault(Keys("key2", dict([old, new]))), clock, draw_code)

    assert rotated.add_human_user("ada", ADDED, by=ID) == first
    with pytest.raises(CommandIdReused):
        rotated.add_human_user("ada", ADDED, phone=OLD, by=ID)


def test_a_request_whose_key_is_gone_is_refused(store: UserEventStore, clock: FakeClock) -> None:
    before = Commands(store, AesGcmVault(Keys("key1", {"key1": bytes(KEY_BYTES)})), clock, draw_code)
    before.add_human_user("ada", ADDED, by=ID)
    after = Commands(store, AesGcmVault(Keys("key2", {"key2": bytes([7]) * KEY_BYTES})), clock, draw_code)

    with pytest.raises(CommandIdReused):
        after.add_human_user("ada", ADDED, by=ID)


def test_fingerprints_are_the_same_in_every_release(store: UserEventStore, clock: FakeClock) -> None:
    """Or a request that is repeated across an upgrade would be refused."""
    asked: list[bytes] = []

    class Listening(TransparentVault):
        def fingerprint(self, request: bytes) -> str:
            asked.append(request)
            return super().fingerprint(request)

    commands = Commands(store, Listening(), clock, draw_code)
    commands.add_human_user("ada", ADDED, phone=OLD, by=ID)

    assert asked[0] == (
        b'["default", "ada", "admin", "org1", {"command": "add_human_user", "event": "user.human.added", '
        b'"phone": "+41791234567", "profile": {"userName": "ada"}, "verified": false}]'
    )


def move(store: UserEventStore, organization: str) -> None:
    """As an imported history may have it: the user is removed, and there again elsewhere."""
    after = len(store.load("default", "ada"))
    store.append(new_events("ada", [UserRemoved()], after=after))
    store.append(new_events("ada", [ADDED], after=after + 1, resource_owner=organization))
