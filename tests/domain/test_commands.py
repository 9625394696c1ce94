"""Commands: what they parse, in which order they refuse, and that a stale decision is decided anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product

import pytest

from fakes import FakeClock, new_events
from humanuser import (
    By,
    CodeAskedTooSoon,
    CodeEmpty,
    CodeFormat,
    CodeInvalid,
    CodeNotFound,
    CodeOwner,
    CodeSuperseded,
    CodeUnreadable,
    CommandIdReused,
    Commands,
    Details,
    DomainError,
    Event,
    HumanUser,
    HumanUserAdded,
    NewEvents,
    PhoneChanged,
    PhoneEmpty,
    PhoneInvalid,
    PhoneKindRefused,
    PhoneNotChanged,
    PhoneNotFound,
    PhoneNotPossible,
    PhoneNumber,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    Recorded,
    StoredCommand,
    TextInvalid,
    TooMuchContention,
    UserAlreadyExists,
    UserIdMissing,
    UserNotFound,
    VerificationCode,
)
from humanuser.testing import AT
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore
from humanuser_adapters.vault import AesGcmVault, Keys

OLD = "+41791234567"
NEW = "+41791234568"
ADDED = HumanUserAdded(user_name="ada", first_name="Ada", last_name="Lovelace")
ANOTHER = ADDED.model_copy(update={"user_name": "bob"})
SENT = PhoneVerificationCodeSent()
ADMIN = By("admin", organization="org1")
MARK = "\N{RIGHT-TO-LEFT OVERRIDE}"


def always_the_same(_: CodeFormat) -> VerificationCode:
    return VerificationCode("123456")


class ContestedStore(UserEventStore):
    """A store in which somebody else is faster, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__(MemoryEventRecorder())
        self.times = times

    def append(self, new: NewEvents) -> StoredCommand:
        if self.times and new.after:
            self.times -= 1
            super().append(replace(new, events=[PhoneVerificationFailed()], command_id=None))
        return super().append(new)


@pytest.fixture
def store() -> UserEventStore:
    return UserEventStore(MemoryEventRecorder())


@pytest.fixture
def commands(store: UserEventStore, vault: AesGcmVault, clock: FakeClock) -> Commands:
    return Commands(store, vault, clock, always_the_same)


def events_of(store: UserEventStore, user_id: str = "user1") -> list[type[Event]]:
    return [type(recorded.event) for recorded in store.load("default", user_id)]


def test_a_whole_life(commands: Commands, store: UserEventStore, clock: FakeClock) -> None:
    commands.add_human_user("user1", ADDED, by=ADMIN)
    clock.advance(hours=1)
    changed = commands.change_phone("user1", OLD, by=ADMIN)
    clock.advance(seconds=60)
    commands.add_phone_code("user1", by=ADMIN)
    commands.record_code_sent("user1", PhoneVerificationCodeSent(), code_sequence=4, by=By("NOTIFICATION"))
    verified = commands.verify_phone("user1", "123456", by=By("user1"))
    removed = commands.remove_phone("user1", by=ADMIN)

    assert events_of(store) == [
        HumanUserAdded,
        PhoneChanged,
        PhoneVerificationCodeAdded,
        PhoneVerificationCodeAdded,
        PhoneVerificationCodeSent,
        PhoneVerified,
        PhoneRemoved,
    ]
    assert changed == Details(sequence=3, creation_date=AT, change_date=AT + timedelta(hours=1), resource_owner="org1")
    assert (verified.sequence, removed.sequence) == (6, 7)


def test_the_one_who_asks_is_recorded(commands: Commands, store: UserEventStore) -> None:
    commands.add_human_user("user1", ADDED, by=ADMIN)
    commands.change_phone("user1", OLD, by=By("user1"))

    recorded = store.load("default", "user1")

    assert [(one.creator, one.resource_owner) for one in recorded] == [("admin", "org1")] + [("user1", "org1")] * 2


@pytest.mark.parametrize(
    ("verified", "events"),
    [(False, [HumanUserAdded, PhoneVerificationCodeAdded]), (True, [HumanUserAdded, PhoneVerified])],
)
def test_a_user_is_added_with_a_phone(
    commands: Commands, store: UserEventStore, verified: bool, events: list[type[Event]]
) -> None:
    details = commands.add_human_user("user1", ADDED, phone="+41 79 123 45 67", verified=verified, by=ADMIN)

    assert events_of(store) == events
    assert HumanUser.replay(store.load("default", "user1")).phone == PhoneNumber(OLD)
    assert details == Details(sequence=2, creation_date=AT, change_date=AT, resource_owner="org1")


@pytest.mark.parametrize("phone", ["", "+41 79 123 45 67"])
def test_a_number_in_the_profile_is_the_users_number(commands: Commands, store: UserEventStore, phone: str) -> None:
    profile = ADDED.model_copy(update={"phone": PhoneNumber(OLD)})

    commands.add_human_user("user1", profile, phone=phone, by=ADMIN)

    assert events_of(store) == [HumanUserAdded, PhoneVerificationCodeAdded]
    assert HumanUser.replay(store.load("default", "user1")).phone == PhoneNumber(OLD)


@pytest.mark.parametrize(
    ("number", "phone", "refusal"),
    [
        (OLD, NEW, PhoneInvalid),
        (OLD, "number", PhoneInvalid),
        ("number", "", PhoneInvalid),
        ("+4912", "", PhoneNotPossible),
        ("+41900123456", "", PhoneKindRefused),
    ],
)
def test_a_number_in_the_profile_that_is_another_or_no_number_is_refused(
    commands: Commands, store: UserEventStore, number: str, phone: str, refusal: type[PhoneInvalid]
) -> None:
    profile = ADDED.model_copy(update={"phone": PhoneNumber(number)})

    with pytest.raises(refusal) as refused:
        commands.add_human_user("user1", profile, phone=phone, by=ADMIN)

    assert type(refused.value) is refusal
    assert store.head() == 0


@pytest.mark.parametrize("prover", ["mallory", "login"], ids=["alone", "through a service"])
@pytest.mark.parametrize("trick", ["nothing", "prove another number", "remove", "change and back", "new codes"])
def test_nobody_guesses_more_than_a_hundred_times_in_a_row_at_one_number(
    store: UserEventStore, vault: AesGcmVault, clock: FakeClock, trick: str, prover: str
) -> None:
    """Codes of 5 attempts, no more than the limits allow, for days; the service may not remove."""
    own, victim = NEW, OLD
    me, by = By("mallory"), By(prover)
    commands = Commands(store, vault, clock, always_the_same)
    commands.add_human_user("mallory", ADDED, by=ADMIN)
    guesses = 0

    def play_the_trick() -> None:
        match trick:
            case "prove another number":
                commands.change_phone("mallory", own, by=by)
                commands.verify_phone("mallory", "123456", by=by)
            case "remove":
                commands.remove_phone("mallory", by=me)
            case "change and back":
                commands.change_phone("mallory", own, by=by)
            case _:
                pass

    for _ in range(40):
        clock.advance(minutes=200)
        with suppress(DomainError):
            play_the_trick()
        with suppress(DomainError):
            commands.change_phone("mallory", victim, by=by)
        with suppress(DomainError):
            commands.add_phone_code("mallory", by=by)
        user = HumanUser.replay(store.load("default", "mallory"))
        if user.phone != PhoneNumber(victim):
            continue
        for _ in range(5):
            try:
                commands.verify_phone("mallory", "000000", by=by)
            except CodeInvalid:
                guesses += 1
            except DomainError:
                break

    assert guesses == 100


def test_a_verified_change_needs_no_code(commands: Commands, store: UserEventStore) -> None:
    commands.add_human_user("user1", ADDED, by=ADMIN)

    commands.change_phone("user1", NEW, verified=True, by=ADMIN)

    assert events_of(store) == [HumanUserAdded, PhoneChanged, PhoneVerified]


def test_a_code_is_stored_sealed_for_its_user_alone(
    commands: Commands, store: UserEventStore, vault: AesGcmVault
) -> None:
    commands.add_human_user("user1", ADDED, phone=OLD, by=ADMIN)

    added = store.load("default", "user1")[-1].event

    assert isinstance(added, PhoneVerificationCodeAdded)
    assert added.code is not None
    assert vault.open(added.code, CodeOwner("default", "user1")) == VerificationCode("123456")
    with pytest.raises(CodeUnreadable):
        vault.open(added.code, CodeOwner("default", "user2"))
    assert added.expiry == 600_000_000_000


def test_a_wrong_code_is_remembered_before_it_is_refused(commands: Commands, store: UserEventStore) -> None:
    commands.add_human_user("user1", ADDED, phone=OLD, by=ADMIN)

    with pytest.raises(CodeInvalid):
        commands.verify_phone("user1", "000000", by=By("user1"))

    assert events_of(store)[-1] is PhoneVerificationFailed


def test_a_code_of_somebody_elses_making_is_wrong(commands: Commands, store: UserEventStore) -> None:
    external = PhoneVerificationCodeAdded(generator_id="service")
    events: list[Event] = [ADDED, PhoneChanged(phone=PhoneNumber(OLD)), external]
    store.append(new_events("user1", events))

    with pytest.raises(CodeInvalid):
        commands.verify_phone("user1", "123456", by=By("user1"))


def test_a_code_whose_key_is_lost_is_no_failure_of_the_user(
    commands: Commands, store: UserEventStore, clock: FakeClock
) -> None:
    commands.add_human_user("user1", ADDED, phone=OLD, by=ADMIN)
    with_other_key = Commands(store, AesGcmVault(Keys("key2", {"key2": bytes(32)})), clock, always_the_same)

    with pytest.raises(CodeUnreadable):
        with_other_key.verify_phone("user1", "123456", by=By("user1"))

    assert events_of(store)[-1] is PhoneVerificationCodeAdded


Ask = Callable[[Commands, str, By], object]
ASK: dict[str, Ask] = {
    "add": lambda commands, user_id, by: commands.add_human_user(user_id, ADDED, by=by),
    "change": lambda commands, user_id, by: commands.change_phone(user_id, NEW, by=by),
    "set verified": lambda commands, user_id, by: commands.change_phone(user_id, NEW, verified=True, by=by),
    "verify": lambda commands, user_id, by: commands.verify_phone(user_id, "123456", by=by),
    "ask": lambda commands, user_id, by: commands.add_phone_code(user_id, by=by),
    "sent": lambda commands, user_id, by: commands.record_code_sent(
        user_id, PhoneVerificationCodeSent(), code_sequence=2, by=by
    ),
    "remove": lambda commands, user_id, by: commands.remove_phone(user_id, by=by),
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
@pytest.mark.parametrize(
    ("user_id", "refusal"),
    [("", UserIdMissing), ("x" * 201, TextInvalid), ("a\0b", TextInvalid), (f"{MARK}a", TextInvalid)],
)
def test_an_id_that_is_none_is_refused(
    commands: Commands, store: UserEventStore, ask: Ask, user_id: str, refusal: type[DomainError]
) -> None:
    with pytest.raises(refusal):
        ask(commands, user_id, ADMIN)

    assert store.head() == 0


@pytest.mark.parametrize("ask", [ask for name, ask in ASK.items() if name != "add"])
def test_a_user_of_another_organization_is_not_found(commands: Commands, store: UserEventStore, ask: Ask) -> None:
    commands.add_human_user("user1", ADDED, phone=OLD, by=ADMIN)

    with pytest.raises(UserNotFound):
        ask(commands, "user1", By("admin", organization="org2"))

    assert store.head() == 2


@pytest.mark.parametrize("organization", ["org1", "org2"])
def test_an_id_that_is_taken_is_refused_in_every_organization(commands: Commands, organization: str) -> None:
    commands.add_human_user("user1", ADDED, by=ADMIN)

    with pytest.raises(UserAlreadyExists):
        commands.add_human_user("user1", ADDED, by=By("admin", organization=organization))


@pytest.mark.parametrize(
    ("profile", "organization", "named"),
    [
        (HumanUserAdded(user_name=""), "org1", "User name"),
        (HumanUserAdded(user_name="x" * 201), "org1", "User name"),
        (HumanUserAdded(user_name="ada", first_name=f"{MARK}Ada"), "org1", "First name"),
        (HumanUserAdded(user_name="ada", email="a\r\nb"), "org1", "Email"),
        (ADDED, "", "Organization"),
        (ADDED, "a\0", "Organization"),
        (ADDED, "*", "Organization"),
    ],
)
def test_a_user_with_a_name_that_is_none_is_not_added(
    commands: Commands, store: UserEventStore, profile: HumanUserAdded, organization: str, named: str
) -> None:
    with pytest.raises(TextInvalid, match=named):
        commands.add_human_user("user1", profile, by=By("admin", organization=organization))

    assert store.head() == 0


@pytest.mark.parametrize(("phone", "refusal"), [("", PhoneEmpty), ("0791234567", PhoneInvalid)])
def test_a_bad_number_is_told_before_a_missing_user(commands: Commands, phone: str, refusal: type[DomainError]) -> None:
    with pytest.raises(refusal):
        commands.change_phone("", phone, by=ADMIN)


def test_an_empty_code_is_told_after_a_missing_id_and_before_a_missing_user(commands: Commands) -> None:
    with pytest.raises(UserIdMissing):
        commands.verify_phone("", "", by=ADMIN)
    with pytest.raises(CodeEmpty):
        commands.verify_phone("nobody", "", by=ADMIN)


@pytest.mark.parametrize(
    ("ask", "refusal"),
    [
        (lambda commands: commands.change_phone("user1", OLD, by=ADMIN), PhoneNotChanged),
        (lambda commands: commands.add_phone_code("user1", by=ADMIN), CodeAskedTooSoon),
        (
            lambda commands: commands.record_code_sent(
                "user1", PhoneVerificationCodeSent(), code_sequence=1, by=By("NOTIFICATION")
            ),
            CodeSuperseded,
        ),
    ],
)
def test_what_is_refused_stores_nothing(
    commands: Commands, store: UserEventStore, ask: Callable[[Commands], object], refusal: type[DomainError]
) -> None:
    commands.add_human_user("user1", ADDED, phone=OLD, by=ADMIN)

    with pytest.raises(refusal):
        ask(commands)

    assert store.head() == 2


def test_a_stale_decision_is_decided_anew(vault: AesGcmVault, clock: FakeClock) -> None:
    store = ContestedStore(times=4)
    commands = Commands(store, vault, clock, always_the_same)
    commands.add_human_user("user1", ADDED, phone=OLD, by=ADMIN)

    details = commands.change_phone("user1", NEW, by=ADMIN)

    assert details.sequence == 8
    assert events_of(store)[2:] == [PhoneVerificationFailed] * 4 + [PhoneChanged, PhoneVerificationCodeAdded]


def test_the_fifth_stale_decision_is_the_last(vault: AesGcmVault, clock: FakeClock) -> None:
    store = ContestedStore(times=5)
    commands = Commands(store, vault, clock, always_the_same)
    commands.add_human_user("user1", ADDED, phone=OLD, by=ADMIN)

    with pytest.raises(TooMuchContention):
        commands.change_phone("user1", NEW, by=ADMIN)

    assert PhoneChanged not in events_of(store)


def test_a_guess_that_lost_a_race_counts_all_the_same(vault: AesGcmVault, clock: FakeClock) -> None:
    store = ContestedStore(times=4)
    commands = Commands(store, vault, clock, always_the_same)
    commands.add_human_user("user1", ADDED, phone=OLD, by=ADMIN)

    with pytest.raises(CodeInvalid):
        commands.verify_phone("user1", "000000", by=By("user1"))

    assert HumanUser.replay(store.load("default", "user1")).failures_in_a_row == 5


def test_a_command_given_twice_is_answered_with_the_first_result(commands: Commands, store: UserEventStore) -> None:
    by = By("admin", organization="org1", command_id="command1")
    commands.add_human_user("user1", ADDED, by=ADMIN)
    first = commands.change_phone("user1", OLD, by=by)
    commands.remove_phone("user1", by=ADMIN)

    again = commands.change_phone("user1", OLD, by=by)

    assert again == first
    assert events_of(store)[-1] is PhoneRemoved


def test_a_refusal_that_was_remembered_is_repeated_and_not_counted_twice(
    commands: Commands, store: UserEventStore
) -> None:
    by = By("user1", command_id="command1")
    commands.add_human_user("user1", ADDED, phone=OLD, by=ADMIN)

    for _ in range(3):
        with pytest.raises(CodeInvalid):
            commands.verify_phone("user1", "000000", by=by)

    assert HumanUser.replay(store.load("default", "user1")).failures_in_a_row == 1


def test_a_result_is_not_told_to_another_organization(commands: Commands) -> None:
    commands.add_human_user("user1", ADDED, by=ADMIN)
    commands.change_phone("user1", OLD, by=By("admin", organization="org1", command_id="command1"))

    with pytest.raises(UserNotFound):
        commands.change_phone("user1", OLD, by=By("admin", organization="org2", command_id="command1"))


@pytest.mark.parametrize("organization", ["org1", ""])
def test_a_command_that_comes_twice_at_once_is_answered_as_the_first(
    commands: Commands, store: UserEventStore, vault: AesGcmVault, clock: FakeClock, organization: str
) -> None:
    commands.add_human_user("user1", ADDED, by=ADMIN)
    by = By("admin", organization=organization, command_id="command1")
    first: list[Details] = []

    class Overtaken(UserEventStore):
        """Between the look for the command and the user, the same command is carried out by another."""

        def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:
            if not first:
                first.append(commands.change_phone(user_id, OLD, by=by))
            return super().load(instance_id, user_id)

    overtaken = Commands(Overtaken(store._recorder), vault, clock, always_the_same)  # noqa: SLF001 - the same events
    second = overtaken.change_phone("user1", OLD, by=by)

    assert [second] == first
    assert store.head() == 3


def test_a_refusal_with_a_command_id_stays_one(commands: Commands) -> None:
    commands.add_human_user("user1", ADDED, phone=OLD, by=ADMIN)

    with pytest.raises(PhoneNotChanged):
        commands.change_phone("user1", OLD, by=By("admin", organization="org1", command_id="command1"))


@pytest.mark.parametrize("another", ["ada", "zoe"])
def test_a_command_id_is_one_callers(commands: Commands, another: str) -> None:
    by = By("admin", organization="org1", command_id="command1")
    commands.add_human_user("user1", ADDED, by=by)

    with pytest.raises(CommandIdReused):
        commands.add_human_user("user1", ADDED, by=By(another, organization="org1", command_id="command1"))


def test_a_command_id_is_one_users(commands: Commands) -> None:
    by = By("admin", organization="org1", command_id="command1")
    commands.add_human_user("user1", ADDED, by=by)

    with pytest.raises(CommandIdReused):
        commands.add_human_user("user2", ADDED, by=by)


EACH_COMMAND: dict[str, Callable[[Commands, By], object]] = {
    "add": lambda commands, by: commands.add_human_user("user1", ADDED, phone=OLD, by=by),
    "add verified": lambda commands, by: commands.add_human_user("user1", ADDED, phone=OLD, verified=True, by=by),
    "add another": lambda commands, by: commands.add_human_user("user1", ANOTHER, phone=OLD, by=by),
    "change": lambda commands, by: commands.change_phone("user1", NEW, by=by),
    "change to another": lambda commands, by: commands.change_phone("user1", "+41791234569", by=by),
    "set verified": lambda commands, by: commands.change_phone("user1", NEW, verified=True, by=by),
    "set another verified": lambda commands, by: commands.change_phone("user1", "+41791234569", verified=True, by=by),
    "ask for a code": lambda commands, by: commands.add_phone_code("user1", by=by),
    "verify": lambda commands, by: commands.verify_phone("user1", "123456", by=by),
    "record sent": lambda commands, by: commands.record_code_sent("user1", SENT, code_sequence=3, by=by),
    "remove": lambda commands, by: commands.remove_phone("user1", by=by),
}


PROOF_ALONE = {("verify", "set verified"), ("verify", "set another verified")}
"""The event says that the number is proven, not by what, and not which number."""


@pytest.mark.parametrize(("first", "again"), sorted({*product(EACH_COMMAND, EACH_COMMAND)} - PROOF_ALONE))
def test_a_command_id_is_one_commands(
    commands: Commands, store: UserEventStore, clock: FakeClock, first: str, again: str
) -> None:
    """Else the caller would be told that was done which was not."""
    if not first.startswith("add"):
        commands.add_human_user("user1", ADDED, phone=OLD, by=ADMIN)
        clock.advance(minutes=1)
    if first == "record sent":
        commands.add_phone_code("user1", by=ADMIN)
    by = By("admin", organization="org1", command_id="command1")
    result = EACH_COMMAND[first](commands, by)
    head = store.head()

    if again == first:
        assert EACH_COMMAND[again](commands, by) == result
    else:
        with pytest.raises(CommandIdReused):
            EACH_COMMAND[again](commands, by)

    assert store.head() == head


def test_a_number_that_was_vouched_for_alone_is_so_again_with_the_same_command_id(commands: Commands) -> None:
    by = By("admin", organization="org1", command_id="command1")
    commands.add_human_user("user1", ADDED, phone=OLD, by=ADMIN)
    first = commands.change_phone("user1", OLD, verified=True, by=by)

    assert commands.change_phone("user1", OLD, verified=True, by=by) == first

    with pytest.raises(CommandIdReused):
        commands.change_phone("user1", OLD, by=by)


@pytest.mark.parametrize("command_id", ["", "x" * 201, "a\0"])
def test_a_command_id_that_is_none_is_refused(commands: Commands, command_id: str) -> None:
    with pytest.raises(TextInvalid):
        commands.add_human_user("user1", ADDED, by=By("admin", organization="org1", command_id=command_id))


def test_instances_know_nothing_of_each_other(store: UserEventStore, vault: AesGcmVault, clock: FakeClock) -> None:
    one, other = (Commands(store, vault, clock, always_the_same, instance_id=name) for name in ("one", "other"))
    one.add_human_user("user1", ADDED, by=ADMIN)

    with pytest.raises(UserNotFound):
        other.change_phone("user1", OLD, by=ADMIN)


def test_an_instance_has_a_name(store: UserEventStore, vault: AesGcmVault, clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="instance id"):
        Commands(store, vault, clock, always_the_same, instance_id="a\0b")


def test_the_time_is_asked_once_a_decision(store: UserEventStore, vault: AesGcmVault) -> None:
    moments = iter([AT, AT + timedelta(days=1)])

    def clock() -> datetime:
        return next(moments)

    Commands(store, vault, clock, always_the_same).add_human_user("user1", ADDED, phone=OLD, by=ADMIN)

    assert {recorded.created_at for recorded in store.load("default", "user1")} == {AT}


@pytest.mark.parametrize("ask", [ASK["verify"], ASK["ask"], ASK["remove"], ASK["sent"]])
def test_without_a_phone_there_is_nothing_to_do(commands: Commands, ask: Ask) -> None:
    commands.add_human_user("user1", ADDED, by=ADMIN)

    with pytest.raises((PhoneNotFound, CodeNotFound)):
        ask(commands, "user1", ADMIN)


def test_an_id_that_is_no_string_is_an_error_of_the_caller(commands: Commands) -> None:
    with pytest.raises(TypeError, match=r"^user_id must be a str, not int$"):
        commands.change_phone(7, "+41791234567", by=ADMIN)  # type: ignore[arg-type]  # the mistake
