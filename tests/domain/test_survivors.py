"""Small changes to the rules that no other test noticed: see ``tests/mutants.py``."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel, ValidationError

from fakes import FakeClock
from humanuser import (
    Accepted,
    By,
    Caller,
    CodeFormat,
    CodeLimit,
    CodeOwner,
    CodeSuperseded,
    CodeToSend,
    CodeUsedUp,
    Commands,
    Details,
    Event,
    GeneratorInfo,
    HumanUser,
    HumanUserAdded,
    Misconfigured,
    NotWanted,
    PendingCode,
    Permanent,
    PhoneChanged,
    PhoneNumber,
    PhoneRemoved,
    PhoneRules,
    PhoneSet,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    Policy,
    Recorded,
    Retryable,
    SealedCode,
    Sms,
    TooManyCodes,
    TooManyFailures,
    Unknown,
    UnknownEvent,
    UserLocked,
    UserNotFound,
    VerificationCode,
)
from humanuser.testing import AT, history
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore
from humanuser_adapters.vault import AesGcmVault

NUMBER = PhoneNumber("+41791234567")
SEALED = SealedCode(algorithm="aes", key_id="key", crypted="c2VhbGVk")
CODE = PhoneVerificationCodeAdded(code=SEALED, expiry=600_000_000_000)
ADDED = HumanUserAdded(user_name="ada", phone=NUMBER)
DETAILS = Details(sequence=1, creation_date=AT, change_date=AT, resource_owner="org1")


def user_after(*events: Event | timedelta, creator: str = "admin") -> HumanUser:
    return HumanUser.replay(history(*events, creator=creator))


@pytest.mark.parametrize(
    "value",
    [
        Accepted(),
        By("ada"),
        Caller("ada", "org1"),
        CodeFormat(),
        CodeLimit(count=1, within=timedelta(1)),
        CodeOwner("default", "ada"),
        CodeToSend(SEALED, NUMBER, AT),
        DETAILS,
        GeneratorInfo(),
        HumanUser(),
        HumanUserAdded(user_name="ada"),
        Misconfigured("no key"),
        PendingCode(1, AT, NUMBER, PhoneVerificationCodeAdded()),
        Permanent("no such number"),
        NUMBER,
        PhoneRules(),
        PhoneSet(DETAILS),
        Policy(),
        history(HumanUserAdded(user_name="ada"))[0],
        Retryable("busy"),
        SEALED,
        Sms(message_id="1", to=NUMBER, text="", expires_at=None),
        Unknown("no answer"),
        UnknownEvent("user.x", b"{}"),
        VerificationCode("123456"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_stays_what_it_is(value: object) -> None:
    names = [*type(value).model_fields] if isinstance(value, BaseModel) else [*_fields(value)]

    for name in names:
        with pytest.raises((AttributeError, ValidationError)):
            setattr(value, name, getattr(value, name))
    assert names


@pytest.mark.parametrize(
    "make",
    [
        lambda: Details(1, AT, AT, "org1"),  # type: ignore[call-arg]  # that is what is refused
        lambda: Sms("1", NUMBER, "text", None),  # type: ignore[call-arg]  # as above
        lambda: Recorded("default", "ada", 1, AT, "ada", "org1", HumanUserAdded(user_name="ada")),  # type: ignore[call-arg]
    ],
)
def test_parts_that_could_be_swapped_are_named(make: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="positional"):
        make()


def test_codes_have_4_to_20_characters_from_at_least_two() -> None:
    for length in (4, 20):
        assert CodeFormat(length=length, alphabet="01").length == length
    for length in (3, 21):
        with pytest.raises(ValidationError):
            CodeFormat(length=length)


def test_a_sealed_code_without_a_type_of_encryption_is_symmetric() -> None:
    stored = '{"Algorithm": "aes", "KeyID": "key", "Crypted": "c2VhbGVk"}'

    assert SealedCode.model_validate_json(stored).crypto_type == 0


def test_the_strictest_policy_allows_one_of_each() -> None:
    limits = (CodeLimit(count=1, within=timedelta(days=1)),)
    policy = Policy(attempts_per_code=1, failures_in_a_row=1, code_limits=limits)

    assert (policy.attempts_per_code, policy.failures_in_a_row, policy.code_limits[0].count) == (1, 1, 1)


def test_a_limit_of_no_codes_is_none() -> None:
    with pytest.raises(ValidationError):
        CodeLimit(count=0, within=timedelta(days=1))


@pytest.mark.parametrize(("number", "masked"), [("+41791234567", "**********67"), ("+41", "*41"), ("", "")])
def test_all_but_the_last_two_digits_of_a_number_are_hidden(number: str, masked: str) -> None:
    assert PhoneNumber(number).masked == masked


@pytest.mark.parametrize("phone", [b"+41791234567", 41791234567, None])
def test_a_number_is_stored_as_text(phone: object) -> None:
    with pytest.raises(ValidationError):
        PhoneChanged.model_validate({"phone": phone})


@pytest.mark.parametrize(("creator", "failures"), [("zoe", 0), ("".join(("user", "1")), 3)])
def test_only_the_users_own_removal_keeps_the_failures(creator: str, failures: int) -> None:
    failed: list[Event] = [ADDED, CODE, *[PhoneVerificationFailed()] * 3]

    user = user_after(*failed, PhoneRemoved(), PhoneChanged(phone=NUMBER), creator=creator)

    assert user.failures_in_a_row == failures


def test_a_code_that_is_yet_to_come_is_not_the_pending_one() -> None:
    user = user_after(ADDED, CODE)

    assert user.code_to_send(3, now=AT) is NotWanted.SUPERSEDED
    with pytest.raises(CodeSuperseded):
        user.record_code_sent(PhoneVerificationCodeSent(), code_sequence=3)


def test_a_code_after_a_long_history_is_sent() -> None:
    user = user_after(ADDED, *[UnknownEvent("user.x", b"{}")] * 998, CODE)

    assert user.code_to_send(int("1000"), now=AT) == CodeToSend(SEALED, NUMBER, AT + timedelta(minutes=10))
    assert user.record_code_sent(PhoneVerificationCodeSent(), code_sequence=int("1000"))


def test_by_a_clock_that_jumped_back_by_a_whole_span_its_codes_do_not_count() -> None:
    user = user_after(ADDED, *[CODE] * 5)

    assert user.add_code(CODE, now=AT - timedelta(minutes=10), policy=Policy()) == [CODE]


def test_of_more_codes_than_a_limit_allows_the_newest_are_waited_for() -> None:
    user = user_after(ADDED, CODE, timedelta(minutes=1), CODE)
    policy = Policy(code_limits=(CodeLimit(count=1, within=timedelta(minutes=10)),))

    with pytest.raises(TooManyCodes) as refused:
        user.add_code(CODE, now=AT + timedelta(minutes=2), policy=policy)

    assert refused.value.retry_after == timedelta(minutes=9)


@pytest.mark.parametrize(
    ("left", "expires_at"),
    [(timedelta(minutes=10), datetime.max.replace(tzinfo=UTC)), (timedelta(minutes=9), None), (timedelta(0), None)],
)
def test_a_code_expires_within_the_calendar_or_not_at_all(left: timedelta, expires_at: datetime | None) -> None:
    now = datetime.max.replace(tzinfo=UTC) - left
    user = HumanUser.replay(history(ADDED, CODE, at=now))

    assert user.code_to_send(2, now=now) == CodeToSend(SEALED, NUMBER, expires_at)


@pytest.mark.parametrize("count", [7, 1000])
def test_more_failures_than_a_stricter_policy_allows_are_too_many(count: int) -> None:
    user = user_after(ADDED, CODE, *[PhoneVerificationFailed()] * count)
    right = VerificationCode("123456")

    for allowed in (5, int(str(count))):
        with pytest.raises(CodeUsedUp):
            user.verify_phone(right, right, now=AT, policy=Policy(attempts_per_code=allowed, failures_in_a_row=None))
        with pytest.raises(TooManyFailures):
            user.verify_phone(right, right, now=AT, policy=Policy(attempts_per_code=None, failures_in_a_row=allowed))


def test_a_locked_user_is_initialised() -> None:
    user_after(ADDED, UserLocked()).refuse_unless_initialised()


@pytest.mark.parametrize(
    ("expiry", "microseconds"),
    [(1999, 1), (-1, -1), (2**63, 2**63 // 1000), (2**70, 2**63 // 1000), (-(2**70), -(2**63) // 1000)],
)
def test_an_expiry_is_nanoseconds_of_64_bits(expiry: int, microseconds: int) -> None:
    assert PhoneVerificationCodeAdded(expiry=expiry).lifetime == timedelta(microseconds=microseconds)


def test_what_is_not_said_is_what_zitadel_means_by_it() -> None:
    recorded = history(ADDED)[0]

    assert PhoneVerificationCodeAdded().lifetime is None
    assert not PhoneVerificationCodeAdded().code_returned
    assert HumanUserAdded(user_name="ada").gender == 0
    assert (recorded.revision, _default(Recorded, "position")) == (2, 0)
    assert GeneratorInfo(verification_id="1").model_dump() == {"verificationId": "1"}


class NotPermitted(Exception):
    """What a permit raises in these tests."""


def refuse(_: str) -> None:
    raise NotPermitted


@pytest.fixture
def store() -> UserEventStore:
    return UserEventStore(MemoryEventRecorder())


@pytest.fixture
def commands(store: UserEventStore, vault: AesGcmVault, clock: FakeClock) -> Commands:
    """There is user1 of org1, with a number and a code."""
    commands = Commands(store, vault, clock, lambda _: VerificationCode("123456"))
    by = By("admin", organization="org1")
    commands.add_human_user("user1", HumanUserAdded(user_name="ada"), phone=NUMBER.e164, by=by)
    return commands


@pytest.mark.parametrize("organization", ["org0", "org2"])
def test_a_user_is_found_in_no_organization_but_their_own(commands: Commands, organization: str) -> None:
    with pytest.raises(UserNotFound):
        commands.remove_phone("user1", by=By("admin", organization=organization))

    assert commands.remove_phone("user1", by=By("admin", organization="".join(("org", "1")))).sequence == 3


@pytest.mark.parametrize("creator", ["admin", "zoe"])
def test_nobody_else_changes_a_user_without_permission(commands: Commands, clock: FakeClock, creator: str) -> None:
    clock.advance(minutes=2)
    other, oneself = By(creator), By("".join(("user", "1")))

    for by, expected in ((other, NotPermitted), (oneself, None)):
        with pytest.raises(expected) if expected else nullcontext():
            commands.resend_phone_code("user1", by=by, permit=refuse)
        with pytest.raises(expected) if expected else nullcontext():
            commands.set_phone("user1", "+41791234568", by=by, permit=refuse)
        with pytest.raises(expected) if expected else nullcontext():
            commands.remove_user_phone("user1", by=by, permit=refuse)


@pytest.mark.usefixtures("commands")
def test_a_code_is_sent_and_not_returned_unless_that_was_asked_for(store: UserEventStore) -> None:
    user = HumanUser.replay(store.load("default", "user1"))

    assert isinstance(user.code_to_send(2, now=AT), CodeToSend)


def test_an_organization_may_be_named_by_any_sign_but_the_one_for_all(commands: Commands) -> None:
    added = commands.add_human_user("user2", HumanUserAdded(user_name="eve"), by=By("admin", organization="!"))

    assert added.resource_owner == "!"


def _default(kind: type[Recorded], name: str) -> object:
    return inspect.signature(kind).parameters[name].default


def _fields(value: object) -> Sequence[str]:
    if isinstance(value, Recorded):
        return value._fields
    assert dataclasses.is_dataclass(value)
    return [field.name for field in dataclasses.fields(value)]
