"""Every decision about a user: the good case, each refusal in its order, the boundary."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from humanuser import (
    CodeAskedTooSoon,
    CodeLimit,
    CodeNotFound,
    CodeNotPending,
    CodeSuperseded,
    CodeToSend,
    CodeUsedUp,
    DomainError,
    Event,
    HumanUser,
    HumanUserAdded,
    HumanUserSelfRegistered,
    InitialisationCodeAdded,
    NotWanted,
    PhoneAlreadyVerified,
    PhoneChanged,
    PhoneNotChanged,
    PhoneNotFound,
    PhoneNumber,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    Policy,
    SealedCode,
    TooManyCodes,
    TooManyFailures,
    UnknownEvent,
    UserAlreadyExists,
    UserDeactivated,
    UserInitialised,
    UserLocked,
    UserNotFound,
    UserReactivated,
    UserRemoved,
    UserState,
    UserUnlocked,
    VerificationCode,
)
from humanuser.testing import AT, history

OLD = PhoneNumber("+41791234567")
NEW = PhoneNumber("+41791234568")
THIRD = PhoneNumber("+41791234569")
SEALED = SealedCode(crypto_type=0, algorithm="aes", key_id="key", crypted="c2VhbGVk")
CODE = PhoneVerificationCodeAdded(code=SEALED, expiry=600_000_000_000)
ADDED = HumanUserAdded(user_name="ada")
ADDED_WITH_PHONE = HumanUserAdded(user_name="ada", phone=OLD)
CHANGED = PhoneChanged(phone=OLD)
RIGHT = VerificationCode("123456")
WRONG = VerificationCode("654321")
POLICY = Policy.recommended()
MINUTE = timedelta(minutes=1)


def user_after(*events: Event | timedelta, creator: str = "admin") -> HumanUser:
    return HumanUser.replay(history(*events, creator=creator))


def change(user: HumanUser, phone: PhoneNumber = NEW, *, now: datetime = AT, policy: Policy = POLICY) -> list[Event]:
    return user.change_phone(phone, CODE, now=now, policy=policy)


def verify(
    user: HumanUser, given: VerificationCode = RIGHT, *, now: datetime = AT, policy: Policy = POLICY
) -> list[Event]:
    return user.verify_phone(given, RIGHT, now=now, policy=policy)


def ask(user: HumanUser, *, now: datetime = AT + MINUTE, policy: Policy = POLICY) -> list[Event]:
    return user.add_code(CODE, now=now, policy=policy)


def test_a_user_with_a_phone_is_added_with_the_code_that_can_prove_it() -> None:
    nobody = HumanUser.replay([])

    assert nobody.add(ADDED_WITH_PHONE, CODE) == [ADDED_WITH_PHONE, CODE]
    assert nobody.add(ADDED_WITH_PHONE, PhoneVerified()) == [ADDED_WITH_PHONE, PhoneVerified()]


def test_a_user_without_a_phone_is_added_without_a_code() -> None:
    nobody = HumanUser.replay([])

    assert nobody.add(ADDED, CODE) == [ADDED]
    assert nobody.add(ADDED) == [ADDED]


@pytest.mark.parametrize("before", [[ADDED], [ADDED, UserRemoved()], [UnknownEvent("user.machine.added", b"{}")]])
def test_an_id_to_which_something_happened_is_not_added_again(before: list[Event]) -> None:
    user = user_after(*before)

    with pytest.raises(UserAlreadyExists):
        user.add(ADDED)


def test_a_new_number_gets_a_code() -> None:
    user = user_after(ADDED_WITH_PHONE)

    assert change(user, NEW) == [PhoneChanged(phone=NEW), CODE]


def test_a_removed_number_can_be_set_again() -> None:
    user = user_after(ADDED, CHANGED, PhoneRemoved())

    assert change(user, OLD) == [CHANGED, CODE]


@pytest.mark.parametrize("before", [[], [ADDED, UserRemoved()], [UnknownEvent("user.machine.added", b"{}")]])
@pytest.mark.parametrize(
    "decide",
    [
        change,
        lambda user: user.set_verified_phone(NEW),
        verify,
        ask,
        lambda user: user.record_code_sent(PhoneVerificationCodeSent(), code_sequence=1),
        lambda user: user.remove_phone(),
    ],
)
def test_a_user_who_is_not_there_is_not_found(before: list[Event], decide: Callable[[HumanUser], list[Event]]) -> None:
    user = user_after(*before)

    with pytest.raises(UserNotFound):
        decide(user)


@pytest.mark.parametrize("verified", [[], [PhoneVerified()]])
def test_the_number_the_user_already_has_is_refused(verified: list[Event]) -> None:
    user = user_after(ADDED, CHANGED, *verified)

    with pytest.raises(PhoneNotChanged):
        change(user, OLD)


def test_an_unchanged_number_is_refused_before_any_limit() -> None:
    user = user_after(ADDED, CHANGED, *[PhoneVerificationFailed()] * 100, *[CODE] * 5)

    with pytest.raises(PhoneNotChanged):
        change(user, OLD)


def test_a_stored_number_in_another_spelling_counts_as_changed() -> None:
    user = user_after(ADDED, PhoneChanged(phone=PhoneNumber("079 123 45 67")))

    assert change(user, OLD) == [CHANGED, CODE]


def test_a_typing_mistake_can_be_mended_at_once() -> None:
    user = user_after(ADDED, CHANGED, CODE)

    assert change(user, NEW) == [PhoneChanged(phone=NEW), CODE]


@pytest.mark.parametrize("life", [UserLocked(), UserDeactivated(), InitialisationCodeAdded()])
def test_a_user_who_cannot_sign_in_can_change_the_phone(life: Event) -> None:
    user = user_after(ADDED, life)

    assert change(user) == [PhoneChanged(phone=NEW), CODE]


def test_a_number_that_somebody_vouches_for_needs_no_code() -> None:
    user = user_after(ADDED)

    assert user.set_verified_phone(NEW) == [PhoneChanged(phone=NEW), PhoneVerified()]


def test_the_number_there_is_can_be_vouched_for() -> None:
    user = user_after(ADDED, CHANGED, CODE)

    assert user.set_verified_phone(OLD) == [PhoneVerified()]


def test_a_proven_number_is_not_proven_again() -> None:
    user = user_after(ADDED, CHANGED, PhoneVerified())

    with pytest.raises(PhoneNotChanged):
        user.set_verified_phone(OLD)


def test_an_administrator_helps_at_the_ceiling_of_failures() -> None:
    user = user_after(ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 100)

    assert user.set_verified_phone(OLD) == [PhoneVerified()]
    assert user_after(ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 100, PhoneVerified()).failures_in_a_row == 0


def test_the_right_code_proves_the_number() -> None:
    user = user_after(ADDED, CHANGED, CODE)

    assert verify(user) == [PhoneVerified()]


def test_a_wrong_code_is_remembered() -> None:
    user = user_after(ADDED, CHANGED, CODE)

    assert verify(user, WRONG) == [PhoneVerificationFailed()]


def test_a_code_that_nobody_can_open_proves_nothing() -> None:
    user = user_after(ADDED, CHANGED, PhoneVerificationCodeAdded(generator_id="service"))

    assert user.verify_phone(RIGHT, None, now=AT, policy=POLICY) == [PhoneVerificationFailed()]


@pytest.mark.parametrize(
    ("later", "event"),
    [
        (timedelta(minutes=10) - timedelta(microseconds=1), PhoneVerified()),
        (timedelta(minutes=10), PhoneVerificationFailed()),
        (-timedelta(minutes=5), PhoneVerified()),
        (-timedelta(minutes=10), PhoneVerificationFailed()),
        (timedelta(days=3650), PhoneVerificationFailed()),
        (-timedelta(days=3650), PhoneVerificationFailed()),
    ],
)
def test_a_code_lives_ten_minutes_also_by_a_clock_that_jumps(later: timedelta, event: Event) -> None:
    user = user_after(ADDED, CHANGED, CODE)

    assert verify(user, now=AT + later) == [event]


def test_a_code_without_expiry_lives_on() -> None:
    user = user_after(ADDED, CHANGED, PhoneVerificationCodeAdded(code=SEALED))

    assert verify(user, now=AT + timedelta(days=3650)) == [PhoneVerified()]


@pytest.mark.parametrize(
    "before",
    [
        [ADDED],
        [ADDED, CHANGED],
        [ADDED, CODE],
        [ADDED, CHANGED, CODE, PhoneVerified()],
        [ADDED, CHANGED, CODE, PhoneChanged(phone=NEW)],
        [ADDED, CHANGED, CODE, PhoneRemoved()],
    ],
)
def test_without_a_pending_code_there_is_nothing_to_prove(before: list[Event]) -> None:
    user = user_after(*before)

    with pytest.raises(CodeNotFound):
        verify(user)


def test_a_code_is_dead_after_five_failures() -> None:
    four = user_after(ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 4)
    five = user_after(ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 5)

    assert verify(four) == [PhoneVerified()]
    with pytest.raises(CodeUsedUp):
        verify(five)


def test_a_new_code_has_attempts_of_its_own() -> None:
    user = user_after(ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 5, CODE)

    assert verify(user) == [PhoneVerified()]


def test_a_hundred_failures_in_a_row_are_the_ceiling_which_a_new_code_does_not_lift() -> None:
    failures: list[Event] = [CODE, *[PhoneVerificationFailed()] * 4]
    below = user_after(ADDED, CHANGED, *failures * 24, CODE, *[PhoneVerificationFailed()] * 3, CODE)
    ceiling = user_after(ADDED, CHANGED, *failures * 25, CODE)

    assert verify(below, policy=POLICY.model_copy(update={"code_limits": ()})) == [PhoneVerified()]
    with pytest.raises(TooManyFailures):
        verify(ceiling)
    with pytest.raises(TooManyFailures):
        ask(ceiling)


def test_the_ceiling_is_told_before_the_dead_code() -> None:
    user = user_after(ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 100)

    with pytest.raises(TooManyFailures):
        verify(user)


def test_success_ends_a_row_of_failures() -> None:
    user = user_after(ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 4, PhoneVerified())

    assert user.failures_in_a_row == 0


@pytest.mark.parametrize(("creator", "failures"), [("admin", 0), ("user1", 3)])
def test_removal_ends_a_row_of_failures_unless_the_user_removed_the_phone(creator: str, failures: int) -> None:
    failed: list[Event] = [ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 3]

    user = user_after(*failed, PhoneRemoved(), CHANGED, creator=creator)

    assert user.failures_in_a_row == failures


@pytest.mark.parametrize(
    "between",
    [
        [PhoneChanged(phone=NEW), CODE, PhoneVerified()],
        [PhoneChanged(phone=NEW), CODE, PhoneVerificationFailed(), PhoneVerified()],
        [PhoneChanged(phone=NEW), PhoneVerified(), PhoneChanged(phone=THIRD), CODE, PhoneVerified()],
        [PhoneRemoved(), PhoneChanged(phone=NEW), CODE, PhoneVerified(), PhoneRemoved()],
        [PhoneChanged(phone=NEW), CODE, PhoneChanged(phone=THIRD), CODE],
        [CODE, CODE],
        [UserLocked(), UserUnlocked()],
    ],
)
def test_nothing_that_users_do_with_other_numbers_ends_the_failures_of_one(between: list[Event]) -> None:
    failed: list[Event] = [ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 100]

    user = user_after(*failed, *between, PhoneChanged(phone=NEW), creator="user1")

    with pytest.raises(TooManyFailures):
        user.change_phone(OLD, CODE, now=AT + timedelta(days=2), policy=POLICY)


@pytest.mark.parametrize(("creator", "failures"), [("admin", 0), ("user1", 3)])
def test_who_vouches_for_another_number_of_the_user_ends_all_failures(creator: str, failures: int) -> None:
    failed: list[Event] = [ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 3]

    user = user_after(*failed, PhoneChanged(phone=NEW), PhoneVerified(), CHANGED, creator=creator)

    assert user.failures_in_a_row == failures


def test_who_brings_the_code_of_another_number_ends_no_failures_of_the_first() -> None:
    failed: list[Event] = [ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 3]

    user = user_after(*failed, PhoneChanged(phone=NEW), CODE, PhoneVerified(), CHANGED, creator="login")

    assert user.failures_in_a_row == 3


def test_the_ceiling_of_one_number_does_not_hold_for_another() -> None:
    user = user_after(ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 100, PhoneChanged(phone=NEW), CODE)

    assert change(user_after(ADDED, CHANGED, *[PhoneVerificationFailed()] * 100)) == [PhoneChanged(phone=NEW), CODE]
    assert verify(user) == [PhoneVerified()]
    assert user.failures_in_a_row == 0


def test_failures_without_a_number_are_failures_of_none() -> None:
    user = user_after(ADDED, *[PhoneVerificationFailed()] * 100, CHANGED, CODE)

    assert verify(user) == [PhoneVerified()]


def test_zitadels_policy_counts_no_failures() -> None:
    user = user_after(ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 1000)

    assert verify(user, policy=Policy.zitadel()) == [PhoneVerified()]


def test_a_new_code_can_be_asked_for_after_a_pause() -> None:
    user = user_after(ADDED, CHANGED, CODE)

    assert ask(user, now=AT + timedelta(seconds=60)) == [CODE]


def test_a_code_asked_for_too_soon_is_refused_with_the_time_to_wait() -> None:
    user = user_after(ADDED, CHANGED, CODE)

    with pytest.raises(CodeAskedTooSoon) as refused:
        ask(user, now=AT + timedelta(seconds=18))

    assert refused.value.retry_after == timedelta(seconds=42)


def test_a_clock_that_jumped_back_far_locks_nobody_out() -> None:
    user = user_after(ADDED, CHANGED, *[CODE] * 20)

    assert ask(user, now=AT - timedelta(days=3650)) == [CODE]


def test_without_a_phone_no_code_can_be_asked_for() -> None:
    for user in (user_after(ADDED), user_after(ADDED, CHANGED, PhoneRemoved())):
        with pytest.raises(PhoneNotFound):
            ask(user)


def test_a_proven_phone_needs_no_code() -> None:
    user = user_after(ADDED, CHANGED, CODE, PhoneVerified())

    with pytest.raises(PhoneAlreadyVerified):
        ask(user)


@pytest.mark.parametrize(
    ("count", "apart", "wait"),
    [
        (5, timedelta(seconds=70), timedelta(minutes=10) - timedelta(seconds=70 * 5)),
        (10, timedelta(minutes=3), timedelta(hours=1) - timedelta(minutes=30)),
        (20, timedelta(minutes=61), timedelta(days=1) - timedelta(minutes=61 * 20)),
    ],
)
def test_codes_are_limited_in_ten_minutes_an_hour_and_a_day(count: int, apart: timedelta, wait: timedelta) -> None:
    codes = [item for _ in range(count) for item in (CODE, apart)]
    fewer = user_after(ADDED, CHANGED, *codes[2:])
    full = user_after(ADDED, CHANGED, *codes)

    assert ask(fewer, now=AT + apart * (count - 1)) == [CODE]
    for refuse in (ask, change):
        with pytest.raises(TooManyCodes) as refused:
            refuse(full, now=AT + apart * count)
        assert refused.value.retry_after == wait
        assert refuse(full, now=AT + apart * count + wait)


def test_the_longest_wait_is_told() -> None:
    policy = POLICY.model_copy(
        update={"code_limits": (CodeLimit(count=1, within=MINUTE * 5), CodeLimit(count=2, within=MINUTE * 3))}
    )
    user = user_after(ADDED, CHANGED, CODE, CODE)

    with pytest.raises(TooManyCodes) as refused:
        ask(user, policy=policy)

    assert refused.value.retry_after == MINUTE * 4


@pytest.mark.parametrize(
    ("minutes", "wait"), [((9, 9, -5, -5), timedelta(minutes=19)), ((9, 0), timedelta(minutes=10))]
)
def test_the_wait_is_right_also_after_a_clock_jumped_back(minutes: tuple[int, ...], wait: timedelta) -> None:
    policy = POLICY.model_copy(
        update={"pause_between_codes": None, "code_limits": (CodeLimit(count=2, within=MINUTE * 10),)}
    )
    jumps = (after - before for before, after in zip((0, *minutes), minutes, strict=False))
    codes = [item for jump in jumps for item in (MINUTE * jump, CODE)]
    user = user_after(ADDED, CHANGED, *codes)

    with pytest.raises(TooManyCodes) as refused:
        ask(user, now=AT, policy=policy)

    assert refused.value.retry_after == wait


def test_zitadels_policy_limits_no_codes() -> None:
    user = user_after(ADDED, CHANGED, *[CODE] * 200)

    assert ask(user, now=AT, policy=Policy.zitadel()) == [CODE]
    assert len(user.codes_asked_at) == 100


def test_failures_are_told_before_the_pause_and_the_pause_before_the_limits() -> None:
    failed = user_after(ADDED, CHANGED, *[PhoneVerificationFailed()] * 100, *[CODE] * 5)
    hasty = user_after(ADDED, CHANGED, *[CODE] * 5)

    with pytest.raises(TooManyFailures):
        ask(failed, now=AT)
    with pytest.raises(CodeAskedTooSoon):
        ask(hasty, now=AT)


def test_a_sent_code_is_recorded() -> None:
    user = user_after(ADDED, CHANGED, CODE)

    assert user.record_code_sent(PhoneVerificationCodeSent(), code_sequence=3) == [PhoneVerificationCodeSent()]


def test_a_code_used_before_its_sending_was_recorded_was_sent_all_the_same() -> None:
    user = user_after(ADDED, CHANGED, CODE, PhoneVerified())

    assert user.record_code_sent(PhoneVerificationCodeSent(), code_sequence=3) == [PhoneVerificationCodeSent()]


@pytest.mark.parametrize(
    ("after", "refusal"), [([PhoneRemoved()], PhoneNotFound), ([CODE], CodeSuperseded), ([UserRemoved()], UserNotFound)]
)
def test_sending_is_not_recorded_of_a_code_that_is_no_more(after: list[Event], refusal: type[DomainError]) -> None:
    user = user_after(ADDED, CHANGED, CODE, *after)

    with pytest.raises(refusal):
        user.record_code_sent(PhoneVerificationCodeSent(), code_sequence=3)


def test_a_phone_is_removed() -> None:
    user = user_after(ADDED_WITH_PHONE)

    assert user.remove_phone() == [PhoneRemoved()]


def test_a_phone_that_is_not_there_is_not_removed() -> None:
    for user in (user_after(ADDED), user_after(ADDED, CHANGED, PhoneRemoved())):
        with pytest.raises(PhoneNotFound):
            user.remove_phone()


def test_the_newest_code_is_to_be_sent_to_the_number_it_was_made_for() -> None:
    user = user_after(ADDED, CHANGED, CODE)

    assert user.code_to_send(3, now=AT) == CodeToSend(SEALED, OLD, AT + timedelta(minutes=10))


@pytest.mark.parametrize(
    ("events", "later", "reason"),
    [
        ([CODE, CODE], timedelta(0), NotWanted.SUPERSEDED),
        ([CODE, PhoneChanged(phone=NEW)], timedelta(0), NotWanted.SUPERSEDED),
        ([CODE, PhoneVerified()], timedelta(0), NotWanted.SUPERSEDED),
        ([CODE, PhoneRemoved()], timedelta(0), NotWanted.SUPERSEDED),
        ([CODE, UserRemoved()], timedelta(0), NotWanted.SUPERSEDED),
        ([CODE], timedelta(minutes=10), NotWanted.EXPIRED),
        ([CODE, PhoneVerificationCodeSent()], timedelta(0), NotWanted.SENT),
        ([CODE.model_copy(update={"code_returned": True})], timedelta(0), NotWanted.RETURNED),
        ([PhoneVerificationCodeAdded(generator_id="service")], timedelta(0), NotWanted.INCOMPLETE),
    ],
)
def test_no_sms_goes_out_for_a_code_that_is_not_wanted(
    events: list[Event], later: timedelta, reason: NotWanted
) -> None:
    user = user_after(ADDED, CHANGED, *events)

    assert user.code_to_send(3, now=AT + later) is reason


def test_a_code_without_a_number_is_not_sent() -> None:
    user = user_after(ADDED, CODE)

    assert user.code_to_send(2, now=AT) is NotWanted.INCOMPLETE


@pytest.mark.parametrize("expiry", [0, 2**63, 10**40])
def test_an_expiry_beyond_the_calendar_is_none(expiry: int) -> None:
    user = user_after(ADDED, CHANGED, PhoneVerificationCodeAdded(code=SEALED, expiry=expiry))

    to_send = user.code_to_send(3, now=datetime(2026, 12, 24, tzinfo=UTC))

    assert isinstance(to_send, CodeToSend)
    assert to_send.expires_at is None or to_send.expires_at.year > 2300


def test_the_last_verified_number_stays_until_a_new_one_is_proven() -> None:
    before = user_after(ADDED, CHANGED, PhoneVerified(), PhoneChanged(phone=NEW))
    after = user_after(ADDED, CHANGED, PhoneVerified(), PhoneChanged(phone=NEW), PhoneVerified())

    assert (before.phone, before.phone_verified, before.last_verified_phone) == (NEW, False, OLD)
    assert (after.phone, after.phone_verified, after.last_verified_phone) == (NEW, True, NEW)


def test_proof_of_nothing_proves_nothing() -> None:
    user = user_after(ADDED, PhoneVerified())

    assert (user.phone_verified, user.last_verified_phone) == (False, None)


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([ADDED], UserState.ACTIVE),
        ([HumanUserSelfRegistered(user_name="ada")], UserState.ACTIVE),
        ([ADDED, InitialisationCodeAdded()], UserState.INITIAL),
        ([ADDED, InitialisationCodeAdded(), UserInitialised()], UserState.ACTIVE),
        ([ADDED, UserLocked()], UserState.LOCKED),
        ([ADDED, UserLocked(), UserUnlocked()], UserState.ACTIVE),
        ([ADDED, UserDeactivated()], UserState.INACTIVE),
        ([ADDED, UserDeactivated(), UserReactivated()], UserState.ACTIVE),
        ([ADDED, UserLocked(), UserDeactivated()], UserState.INACTIVE),
        ([ADDED, UserLocked(), UserInitialised()], UserState.LOCKED),
        ([ADDED, UserDeactivated(), InitialisationCodeAdded()], UserState.INACTIVE),
        ([ADDED, InitialisationCodeAdded(), UserLocked()], UserState.LOCKED),
        ([ADDED, InitialisationCodeAdded(), UserLocked(), UserUnlocked()], UserState.INITIAL),
        ([ADDED, InitialisationCodeAdded(), UserDeactivated(), UserReactivated()], UserState.INITIAL),
        ([ADDED, InitialisationCodeAdded(), UserLocked(), UserInitialised(), UserUnlocked()], UserState.ACTIVE),
        ([ADDED, InitialisationCodeAdded(), UserRemoved()], UserState.DELETED),
        ([ADDED, InitialisationCodeAdded(), UserRemoved(), ADDED], UserState.ACTIVE),
        ([ADDED, UserRemoved()], UserState.DELETED),
        ([ADDED, UnknownEvent("user.human.avatar.added", b"{}")], UserState.ACTIVE),
    ],
)
def test_a_user_has_one_state_of_life(events: list[Event], state: UserState) -> None:
    user = user_after(*events)

    assert user.state is state
    assert user.sequence == len(events)


def test_failures_and_sendings_without_a_code_are_the_past_and_stay_readable() -> None:
    user = user_after(PhoneVerificationFailed(), PhoneVerificationCodeSent(), CHANGED, PhoneVerified())

    assert (user.state, user.failures_in_a_row, user.sequence) == (UserState.UNSPECIFIED, 0, 4)


def test_a_pending_code_can_be_replaced_within_the_limits() -> None:
    user = user_after(ADDED, CHANGED, CODE)

    assert user.replace_code(CODE, now=AT + MINUTE, policy=POLICY) == [CODE]
    with pytest.raises(CodeAskedTooSoon):
        user.replace_code(CODE, now=AT, policy=POLICY)


@pytest.mark.parametrize(
    ("events", "refusal"),
    [
        ([], UserNotFound),
        ([ADDED, CHANGED], CodeNotPending),
        ([ADDED, CHANGED, CODE, *[PhoneVerificationFailed()] * 100], TooManyFailures),
        ([ADDED, CHANGED, *[CODE] * 5], TooManyCodes),
    ],
)
def test_a_code_is_not_replaced_without_one_or_beyond_the_limits(
    events: list[Event], refusal: type[DomainError]
) -> None:
    user = user_after(*events)

    with pytest.raises(refusal):
        user.replace_code(CODE, now=AT + MINUTE, policy=POLICY)
