"""The commands of API v2: who needs permission for what, and who is given a code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fakes import FakeClock, new_events
from humanuser import (
    By,
    CodeEmpty,
    CodeFormat,
    CodeInvalid,
    CodeNotFound,
    CodeNotPending,
    CommandIdReused,
    Commands,
    DomainError,
    Event,
    HumanUser,
    HumanUserAdded,
    InitialisationCodeAdded,
    PhoneEmpty,
    PhoneNotChanged,
    PhoneNotFound,
    PhoneNumber,
    PhoneVerificationCodeAdded,
    PhoneVerificationFailed,
    PhoneVerified,
    UserIdMissing,
    UserNotFound,
    UserNotInitialised,
    VerificationCode,
)
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore
from humanuser_adapters.vault import AesGcmVault

OLD = "+41791234567"
NEW = "+41791234568"
HERSELF = By("".join(["user", "1"]))  # the same text, but not the same object
ADMIN = By("admin")


class Forbidden(Exception):
    """The caller has no permission in the organization that is named."""


def permit(_: str) -> None:
    """Somebody who may do everything."""


def forbid(organization: str) -> None:
    """Somebody who may do nothing to others."""
    raise Forbidden(organization)


def always_the_same(_: CodeFormat) -> VerificationCode:
    return VerificationCode("123456")


@pytest.fixture
def store() -> UserEventStore:
    return UserEventStore(MemoryEventRecorder())


@pytest.fixture
def commands(store: UserEventStore, vault: AesGcmVault, clock: FakeClock) -> Commands:
    """Commands on a store in which there is a user of org1 with a number to prove."""
    commands = Commands(store, vault, clock, always_the_same)
    by = By("admin", organization="org1")
    commands.add_human_user("user1", HumanUserAdded(user_name="ada"), phone=OLD, by=by)
    clock.advance(minutes=1)
    return commands


def user_of(store: UserEventStore) -> HumanUser:
    return HumanUser.replay(store.load("default", "user1"))


def test_users_change_their_own_number_without_permission(commands: Commands, store: UserEventStore) -> None:
    answer = commands.set_phone("user1", NEW, by=HERSELF, permit=forbid)

    assert (answer.details.sequence, answer.code) == (4, None)
    assert user_of(store).phone == PhoneNumber(NEW)


def test_users_ask_for_a_code_and_remove_their_number_without_permission(commands: Commands) -> None:
    assert commands.resend_phone_code("user1", by=HERSELF, permit=forbid).code is None
    assert commands.remove_user_phone("user1", by=HERSELF, permit=forbid).sequence == 4


@pytest.mark.parametrize(
    "ask",
    [
        lambda commands, by: commands.set_phone("user1", NEW, return_code=True, by=by, permit=forbid),
        lambda commands, by: commands.set_phone("user1", NEW, verified=True, by=by, permit=forbid),
        lambda commands, by: commands.resend_phone_code("user1", return_code=True, by=by, permit=forbid),
    ],
)
@pytest.mark.parametrize("by", [HERSELF, ADMIN])
def test_a_code_is_returned_and_a_number_vouched_for_with_permission_alone(
    commands: Commands, store: UserEventStore, ask: Callable[[Commands, By], object], by: By
) -> None:
    with pytest.raises(Forbidden, match="org1"):
        ask(commands, by)

    assert store.head() == 2


@pytest.mark.parametrize(
    "ask",
    [
        lambda commands: commands.set_phone("user1", NEW, by=ADMIN, permit=forbid),
        lambda commands: commands.resend_phone_code("user1", by=ADMIN, permit=forbid),
        lambda commands: commands.remove_user_phone("user1", by=ADMIN, permit=forbid),
    ],
)
def test_others_need_permission_in_the_organization_of_the_user(
    commands: Commands, store: UserEventStore, ask: Callable[[Commands], object]
) -> None:
    with pytest.raises(Forbidden, match="org1"):
        ask(commands)

    assert store.head() == 2


@pytest.mark.parametrize(
    "ask",
    [
        lambda commands, by: commands.set_phone("user1", NEW, return_code=True, by=by, permit=permit),
        lambda commands, by: commands.resend_phone_code("user1", return_code=True, by=by, permit=permit),
    ],
)
def test_a_returned_code_proves_the_number_and_goes_into_no_sms(
    commands: Commands, store: UserEventStore, ask: Callable[..., object]
) -> None:
    answer = ask(commands, ADMIN)
    pending = user_of(store).pending_code

    assert getattr(answer, "code", None) == VerificationCode("123456")
    assert "123456" not in repr(answer)
    assert pending is not None
    assert pending.added.code_returned
    commands.verify_user_phone("user1", "123456", by=ADMIN, permit=permit)
    assert user_of(store).phone_verified


def test_a_returned_code_is_returned_again_to_the_same_command(commands: Commands, store: UserEventStore) -> None:
    by, same = By("admin", command_id="command1"), By("".join(["ad", "min"]), command_id="command1")
    first = commands.set_phone("user1", NEW, return_code=True, by=by, permit=permit)

    again = commands.set_phone("user1", NEW, return_code=True, by=same, permit=permit)

    assert again == first
    assert store.head() == 4


def test_the_command_id_of_something_else_sets_no_number(commands: Commands, store: UserEventStore) -> None:
    by = By("admin", command_id="command1")
    commands.set_phone("user1", NEW, by=by, permit=permit)
    head = store.head()

    with pytest.raises(CommandIdReused):
        commands.set_phone("user1", OLD, by=by, permit=permit)
    with pytest.raises(CommandIdReused):
        commands.set_phone("user1", NEW, verified=True, by=by, permit=permit)
    with pytest.raises(CommandIdReused):
        commands.resend_phone_code("user1", by=by, permit=permit)
    with pytest.raises(CommandIdReused):
        commands.set_phone("user1", "", by=by, permit=permit)

    assert store.head() == head


@pytest.mark.parametrize("code", ["123456", "000000", ""])
def test_to_bring_the_code_of_another_takes_permission(commands: Commands, store: UserEventStore, code: str) -> None:
    """Else anybody could use up the tries that a user has."""
    head = store.head()

    with pytest.raises(Forbidden, match="org1"):
        commands.verify_user_phone("user1", code, by=ADMIN, permit=forbid)
    assert store.head() == head

    commands.verify_user_phone("user1", "123456", by=HERSELF, permit=forbid)
    assert user_of(store).phone_verified


def test_a_number_can_be_vouched_for(commands: Commands, store: UserEventStore) -> None:
    commands.set_phone("user1", OLD, verified=True, by=ADMIN, permit=permit)

    assert isinstance(store.load("default", "user1")[-1].event, PhoneVerified)


def test_permission_is_told_before_the_number_and_after_the_user(commands: Commands) -> None:
    with pytest.raises(UserNotFound):
        commands.set_phone("nobody", "", by=ADMIN, permit=forbid)
    with pytest.raises(Forbidden):
        commands.set_phone("user1", "", by=ADMIN, permit=forbid)
    with pytest.raises(PhoneEmpty):
        commands.set_phone("user1", "", by=ADMIN, permit=permit)
    with pytest.raises(PhoneNotChanged):
        commands.set_phone("user1", OLD, by=ADMIN, permit=permit)


ASK: list[Callable[[Commands, str], object]] = [
    lambda commands, user_id: commands.set_phone(user_id, NEW, by=ADMIN, permit=forbid),
    lambda commands, user_id: commands.resend_phone_code(user_id, by=ADMIN, permit=forbid),
    lambda commands, user_id: commands.verify_user_phone(user_id, "", by=ADMIN, permit=permit),
    lambda commands, user_id: commands.remove_user_phone(user_id, by=ADMIN, permit=forbid),
]


@pytest.mark.parametrize("ask", ASK)
@pytest.mark.parametrize(("user_id", "refusal"), [("", UserIdMissing), ("nobody", UserNotFound)])
def test_a_user_who_is_not_there_is_told_before_everything_else(
    commands: Commands, ask: Callable[[Commands, str], object], user_id: str, refusal: type[DomainError]
) -> None:
    with pytest.raises(refusal):
        ask(commands, user_id)


@pytest.mark.parametrize("ask", ASK)
def test_a_user_who_has_not_taken_up_the_account_waits(
    commands: Commands, store: UserEventStore, ask: Callable[[Commands, str], object]
) -> None:
    events: list[Event] = [InitialisationCodeAdded()]
    store.append(new_events("user1", events, after=2))

    with pytest.raises(UserNotInitialised):
        ask(commands, "user1")


def test_a_code_is_replaced_only_where_one_is_pending(commands: Commands) -> None:
    commands.verify_user_phone("user1", "123456", by=HERSELF, permit=permit)

    with pytest.raises(CodeNotPending):
        commands.resend_phone_code("user1", by=HERSELF, permit=forbid)


def test_a_new_code_is_worth_what_the_old_one_was(commands: Commands, store: UserEventStore) -> None:
    commands.resend_phone_code("user1", by=HERSELF, permit=forbid)

    assert isinstance(store.load("default", "user1")[-1].event, PhoneVerificationCodeAdded)
    assert commands.verify_user_phone("user1", "123456", by=HERSELF, permit=permit).sequence == 4


def test_a_wrong_code_is_remembered(commands: Commands, store: UserEventStore) -> None:
    with pytest.raises(CodeInvalid):
        commands.verify_user_phone("user1", "000000", by=HERSELF, permit=permit)

    assert isinstance(store.load("default", "user1")[-1].event, PhoneVerificationFailed)


def test_an_empty_code_and_one_for_nothing_are_refused(commands: Commands, store: UserEventStore) -> None:
    with pytest.raises(CodeEmpty):
        commands.verify_user_phone("user1", "", by=HERSELF, permit=permit)
    commands.remove_user_phone("user1", by=ADMIN, permit=permit)
    with pytest.raises(CodeNotFound):
        commands.verify_user_phone("user1", "123456", by=HERSELF, permit=permit)
    with pytest.raises(PhoneNotFound):
        commands.remove_user_phone("user1", by=ADMIN, permit=permit)

    assert store.head() == 3
