"""What holds for every history, every event and every text."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import FrozenInstanceError, fields, replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, get_args

import pytest
from hypothesis import Phase, assume, example, find, given, settings
from hypothesis import strategies as st

from humanuser import (
    CodeAskedTooSoon,
    CodeLimit,
    CodeOwner,
    CodeToSend,
    CodeUnreadable,
    DomainError,
    Event,
    HumanUser,
    HumanUserAdded,
    InitialisationCodeAdded,
    LimitReached,
    NotWanted,
    PhoneChanged,
    PhoneInvalid,
    PhoneKindRefused,
    PhoneNotPossible,
    PhoneNumber,
    PhoneRemoved,
    PhoneRules,
    PhoneVerificationCodeAdded,
    PhoneVerificationFailed,
    PhoneVerified,
    Policy,
    Recorded,
    TooManyCodes,
    UnknownEvent,
    UserDeactivated,
    UserInitialised,
    UserLocked,
    UserNotInitialised,
    UserReactivated,
    UserRemoved,
    UserState,
    UserUnlocked,
    VerificationCode,
    is_clean_text,
    parse_phone_number,
)
from humanuser.failures import NO_FAILURES, REMEMBERED_NUMBERS
from humanuser.testing import (
    AT,
    Decision,
    codes,
    codes_added,
    decisions,
    events,
    histories,
    impossible_phones,
    legal_histories,
    moments,
    phone_numbers,
    phone_texts,
    possible_phones,
    profiles,
    typed_phones,
)
from humanuser.testing import history as history_of
from humanuser_adapters.event_store import event_of, payload_of
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys
from humanuser_projections import UserPhone, user_details, user_details_after, user_phone, user_phone_after

RECOMMENDED = Policy.recommended()
ZITADEL = Policy.zitadel()
WITHOUT_PAUSE = Policy(pause_between_codes=None)
NUMBER = PhoneNumber("+41791234567")
OTHER = PhoneNumber("+41791234568")
VAULT = AesGcmVault(Keys("key1", {"key1": bytes(KEY_BYTES)}))
UNKNOWN = UnknownEvent("user.human.avatar.added", b"{}")
MOMENT = timedelta.resolution
Fold = Callable[[Any, Recorded], Any]
"""Any: each read model has a shape of its own."""
READ_MODELS: list[Fold] = [user_details, user_phone]

ANY_HISTORY = histories() | legal_histories()
ANY_POLICY = st.sampled_from([RECOMMENDED, ZITADEL])
ANY_RULES = st.sampled_from([RECOMMENDED.phone, ZITADEL.phone])
FAILURES_AND_WHAT_FORGIVES_THEM: st.SearchStrategy[Event] = st.sampled_from(
    [
        PhoneVerificationFailed(),
        PhoneVerificationFailed(),
        PhoneChanged(phone=NUMBER),
        PhoneChanged(phone=OTHER),
        PhoneRemoved(),
        PhoneVerified(),
        PhoneVerificationCodeAdded(),
        UserRemoved(),
        HumanUserAdded(user_name="ada", phone=NUMBER),
    ]
)
FAILURES_OF_MANY_NUMBERS: st.SearchStrategy[Event] = st.one_of(
    st.just(PhoneVerificationFailed()),
    st.just(PhoneVerificationFailed()),
    st.integers(0, 2 * REMEMBERED_NUMBERS).map(lambda count: PhoneChanged(phone=PhoneNumber(f"+{count}"))),
    st.sampled_from([PhoneVerified(), PhoneRemoved()]),
)
LIFE: st.SearchStrategy[Event] = st.sampled_from(
    [InitialisationCodeAdded(), UserInitialised(), UserLocked(), UserUnlocked(), UserDeactivated(), UserReactivated()]
)
HUNDRED = timedelta(seconds=100)
LIMITS = st.builds(CodeLimit, count=st.integers(1, 4), within=st.timedeltas(MOMENT, timedelta(minutes=5)))
CREATORS = st.sampled_from(["user1", "admin"])
IDS = st.text(min_size=1, max_size=20).filter(is_clean_text)
LIFETIMES = st.timedeltas(MOMENT, timedelta(days=365))


def extended(history: Sequence[Recorded], *more: Event) -> list[Recorded]:
    """*history*, and what happened later; all of it at one time."""
    return history_of(*[recorded.event for recorded in history], *more)


def code_added(
    code: VerificationCode, *, lifetime: timedelta = timedelta(hours=1), owner: str = "user1"
) -> PhoneVerificationCodeAdded:
    return PhoneVerificationCodeAdded(
        code=VAULT.seal(code, CodeOwner("default", owner)), expiry=lifetime // MOMENT * 1000
    )


def proves(code: VerificationCode, history: Sequence[Recorded], *, now: datetime = AT, owner: str = "user1") -> bool:
    """Whether *code* proves the number: the pending code is opened and compared, without any limits."""
    user = HumanUser.replay(history)
    sealed = user.pending_code.added.code if user.pending_code else None
    try:
        pending = VAULT.open(sealed, CodeOwner("default", owner)) if sealed else None
        return user.verify_phone(code, pending, now=now, policy=ZITADEL) == [PhoneVerified()]
    except (DomainError, CodeUnreadable):
        return False


def never_proves_again(code: VerificationCode, history: Sequence[Recorded], later: Sequence[Event]) -> bool:
    return not any(proves(code, extended(history, *later[:count])) for count in range(len(later) + 1))


def outcome(decision: Decision, user: HumanUser, now: datetime, policy: Policy) -> list[Event] | type[DomainError]:
    """What is decided, or the refusal."""
    try:
        return decision(user, now=now, policy=policy)
    except DomainError as refusal:
        return type(refusal)


def limit_reached(
    user: HumanUser, code: PhoneVerificationCodeAdded, now: datetime, policy: Policy
) -> LimitReached | None:
    try:
        user.add_code(code, now=now, policy=policy)
    except LimitReached as refusal:
        return refusal
    return None


def parsed(text: str, rules: PhoneRules) -> PhoneNumber | type[DomainError]:
    try:
        return parse_phone_number(text, rules)
    except DomainError as refusal:
        return type(refusal)


def failures_by_number(history: Iterable[Recorded]) -> dict[PhoneNumber, int]:  # noqa: C901 - one case an event
    """The wrong codes for each number, since the last thing that forgives them."""
    number: PhoneNumber | None = None
    failures: dict[PhoneNumber, int] = {}
    asked = False
    for recorded in history:
        by_user = recorded.creator == recorded.user_id
        match recorded.event:
            case PhoneVerified() if not asked and not by_user:
                failures = {}
            case PhoneVerificationFailed() if number:
                failures[number] = failures.get(number, 0) + 1
            case PhoneVerified() if number:
                failures[number] = 0
            case HumanUserAdded(phone=phone):
                number, failures = phone, {}
            case UserRemoved():
                number, failures = None, {}
            case PhoneChanged(phone=phone):
                number = phone
            case PhoneRemoved():
                number, failures = None, failures if by_user else {}
            case _:
                pass
        match recorded.event:
            case PhoneVerificationCodeAdded():
                asked = True
            case PhoneChanged() | PhoneVerified() | PhoneRemoved() | UserRemoved() | HumanUserAdded():
                asked = False
            case _:
                pass
    return failures


def told_wait(user: HumanUser, now: datetime, policy: Policy, decision: str) -> timedelta | None:
    """How long a limit makes *user* wait for a code at *now*; None: no limit refuses it."""
    code = PhoneVerificationCodeAdded()
    try:
        match decision:
            case "ask":
                user.add_code(code, now=now, policy=policy)
            case "replace" if user.pending_code:
                user.replace_code(code, now=now, policy=policy)
            case _:
                user.change_phone(OTHER, code, now=now, policy=policy)
    except (CodeAskedTooSoon, TooManyCodes) as refusal:
        return refusal.retry_after
    return None


@given(ANY_HISTORY, st.integers(0, 12))
def test_a_history_replayed_in_two_parts_makes_the_same_user(history: list[Recorded], cut: int) -> None:
    before = HumanUser.replay(history[:cut])

    assert reduce(HumanUser.evolve, history[cut:], before) == HumanUser.replay(history)


@given(ANY_HISTORY, moments())
def test_the_past_is_never_refused(history: list[Recorded], now: datetime) -> None:
    user = HumanUser.replay(history)

    assert user.sequence == len(history)
    assert isinstance(user.code_to_send(user.sequence, now=now), CodeToSend | NotWanted)
    assert user.pending_code is None or user.pending_code.expires_at is None or user.pending_code.expires_at.tzinfo


@given(ANY_HISTORY, st.booleans())
def test_a_user_is_as_old_as_the_last_time_they_came_to_be(history: list[Recorded], removed: bool) -> None:
    births = [recorded for recorded in history if isinstance(recorded.event, HumanUserAdded)]

    user = HumanUser.replay([*history, *history_of(UserRemoved())] if removed else history)

    assert user.created_at == (births[-1].created_at if births else None)
    assert user.resource_owner == ("org1" if births else "")


@pytest.mark.parametrize("before", [[], [HumanUserAdded(user_name="ada"), UserRemoved()]], ids=["nobody", "removed"])
@pytest.mark.parametrize(
    "event",
    [InitialisationCodeAdded(), UserInitialised(), UserLocked(), UserUnlocked(), UserDeactivated(), UserReactivated()],
    ids=lambda event: event.type,
)
def test_what_happens_to_nobody_makes_nobody(before: list[Event], event: Event) -> None:
    assert not HumanUser.replay(history_of(*before, event)).exists


@given(st.lists(LIFE, max_size=8))
def test_only_the_account_taken_up_makes_a_user_initialised(lived: list[Event]) -> None:
    user = HumanUser.replay(history_of(HumanUserAdded(user_name="ada"), *lived))

    taken_up = [event for event in lived if isinstance(event, InitialisationCodeAdded | UserInitialised)]
    standing = [event for event in lived if not isinstance(event, InitialisationCodeAdded | UserInitialised)]
    initialised = not taken_up or isinstance(taken_up[-1], UserInitialised)
    assert user.initialised == initialised
    match standing[-1:]:
        case [UserLocked()]:
            assert user.state is UserState.LOCKED
        case [UserDeactivated()]:
            assert user.state is UserState.INACTIVE
        case _:
            assert user.state is (UserState.ACTIVE if initialised else UserState.INITIAL)
    with nullcontext() if initialised else pytest.raises(UserNotInitialised):
        user.refuse_unless_initialised()


@given(ANY_HISTORY)
def test_what_is_unknown_only_counts(known: list[Recorded]) -> None:
    whole = extended([], *[item for recorded in known for item in (recorded.event, UNKNOWN)])
    without = [recorded for recorded in whole if recorded.event is not UNKNOWN]

    user = HumanUser.replay(whole)

    assert user == replace(HumanUser.replay(without), sequence=len(whole))


@pytest.mark.parametrize("kind", get_args(Event))
def test_every_event_can_be_drawn(kind: type[Event]) -> None:
    drawn = find(
        events(), lambda event: type(event) is kind, settings=settings(max_examples=5000, phases=[Phase.generate])
    )

    assert type(drawn) is kind


@given(ANY_HISTORY, decisions(), moments(), ANY_POLICY)
def test_the_same_decision_is_made_twice_and_changes_nobody(
    history: list[Recorded], decision: Decision, now: datetime, policy: Policy
) -> None:
    user = HumanUser.replay(history)
    before = copy.deepcopy(user)

    first = outcome(decision, user, now, policy)
    second = outcome(decision, user, now, policy)

    assert first == second
    assert user == before


@given(ANY_HISTORY)
def test_a_user_is_never_changed_in_place(history: list[Recorded]) -> None:
    user = HumanUser.replay(history)

    for field in fields(user):
        with pytest.raises(FrozenInstanceError):
            setattr(user, field.name, getattr(user, field.name))


@given(ANY_HISTORY, decisions(), moments(), ANY_POLICY)
def test_what_is_decided_can_happen(history: list[Recorded], decision: Decision, now: datetime, policy: Policy) -> None:
    decided = outcome(decision, HumanUser.replay(history), now, policy)

    if isinstance(decided, list):
        user = HumanUser.replay(extended(history, *decided))
        assert decided
        assert user.exists
        assert user.sequence == len(history) + len(decided)


@given(legal_histories())
def test_what_the_rules_allow_leaves_a_user_in_order(history: list[Recorded]) -> None:
    user = HumanUser.replay(history)

    assert user.exists
    assert not (user.phone_verified and user.phone is None)
    assert not user.phone_verified or user.last_verified_phone == user.phone


@pytest.mark.parametrize("policy", [RECOMMENDED, WITHOUT_PAUSE], ids=["pause", "no pause"])
@given(
    code=codes_added(),
    pauses=st.lists(st.timedeltas(timedelta(0), timedelta(minutes=2)), min_size=1, max_size=25),
    waited=st.timedeltas(timedelta(0), timedelta(minutes=1)),
)
def test_who_waits_as_long_as_told_is_refused_by_no_limit_and_who_waits_less_is(
    policy: Policy, code: PhoneVerificationCodeAdded, pauses: list[timedelta], waited: timedelta
) -> None:
    asked = [item for pause in pauses for item in (pause, code)]
    user = HumanUser.replay(history_of(HumanUserAdded(user_name="ada", phone=NUMBER), *asked))
    now = AT + sum(pauses, waited)

    refusal = limit_reached(user, code, now, policy)

    if refusal is not None:
        assert refusal.retry_after is not None
        assert limit_reached(user, code, now + refusal.retry_after - MOMENT, policy) is not None
        assert limit_reached(user, code, now + refusal.retry_after, policy) is None


@given(legal_histories(), codes(), st.lists(events(), max_size=3))
def test_a_code_proves_a_number_once(before: list[Recorded], code: VerificationCode, later: list[Event]) -> None:
    asked = extended(before, PhoneChanged(phone=NUMBER), code_added(code))

    assert proves(code, asked)
    assert never_proves_again(code, extended(asked, PhoneVerified()), later)


@given(legal_histories(), codes(), LIFETIMES, st.timedeltas(-timedelta(days=400), timedelta(days=400)))
def test_a_code_proves_a_number_only_while_it_lives(
    before: list[Recorded], code: VerificationCode, lifetime: timedelta, after: timedelta
) -> None:
    asked = extended(before, PhoneChanged(phone=NUMBER), code_added(code, lifetime=lifetime))

    assert proves(code, asked, now=AT + lifetime - MOMENT)
    assert not proves(code, asked, now=AT + lifetime)
    assert proves(code, asked, now=AT + after) == (abs(after) < lifetime)


@given(IDS, IDS, codes())
def test_a_code_proves_nothing_for_another_user(one: str, other: str, code: VerificationCode) -> None:
    history = history_of(HumanUserAdded(user_name="ada", phone=NUMBER), code_added(code, owner=one))

    assert proves(code, history, owner=one)
    assert proves(code, history, owner=other) == (one == other)


@given(legal_histories(), codes(), codes(), st.lists(events(), max_size=3))
def test_a_code_proves_nothing_after_another_code(
    before: list[Recorded], code: VerificationCode, other: VerificationCode, later: list[Event]
) -> None:
    asked = extended(before, PhoneChanged(phone=NUMBER), code_added(code), code_added(other))

    assert proves(other, asked)
    assert code == other or never_proves_again(code, asked, later)


@given(legal_histories(), codes(), phone_numbers(), st.lists(events(), max_size=3))
def test_a_code_proves_nothing_after_another_number(
    before: list[Recorded], code: VerificationCode, number: PhoneNumber, later: list[Event]
) -> None:
    for end in (PhoneChanged(phone=number), PhoneRemoved(), UserRemoved()):
        ended = extended(before, PhoneChanged(phone=NUMBER), code_added(code), end)

        assert never_proves_again(code, ended, later)


@given(legal_histories(), codes(), st.integers(0, 5), st.sampled_from("01Z"))
def test_a_code_with_another_character_proves_nothing(
    before: list[Recorded], code: VerificationCode, place: int, character: str
) -> None:
    asked = extended(before, PhoneChanged(phone=NUMBER), code_added(code))
    typed = VerificationCode(code.characters[:place] + character + code.characters[place + 1 :])

    assert proves(typed, asked) == (typed == code)


@given(st.lists(st.tuples(FAILURES_AND_WHAT_FORGIVES_THEM, CREATORS), max_size=4))
def test_failures_of_a_number_are_forgotten_by_its_proof_an_administrator_or_a_new_life_alone(
    happened: list[tuple[Event, str]],
) -> None:
    failed = history_of(HumanUserAdded(user_name="ada", phone=NUMBER), *[PhoneVerificationFailed()] * 2)
    history = [*failed, *[history_of(event, creator=creator)[0] for event, creator in happened]]

    user, expected = HumanUser.replay(history), failures_by_number(history)

    assert [user.failures.of(number) for number in (NUMBER, OTHER)] == [
        expected.get(number, 0) for number in (NUMBER, OTHER)
    ]
    assert user.failures_in_a_row == (expected.get(user.phone, 0) if user.phone else 0)


@given(st.lists(st.tuples(FAILURES_OF_MANY_NUMBERS, CREATORS), max_size=60))
def test_failures_of_many_numbers_are_never_counted_too_low(happened: list[tuple[Event, str]]) -> None:
    history = [*history_of(HumanUserAdded(user_name="ada"))]
    history += [history_of(event, creator=creator)[0] for event, creator in happened]

    failures, expected = HumanUser.replay(history).failures, failures_by_number(history)

    assert all(failures.of(number) >= count for number, count in expected.items())
    assert len(failures.counts) <= REMEMBERED_NUMBERS


@given(st.integers(1, 10), st.integers(1, 10))
def test_somebody_who_guesses_at_ever_more_numbers_reaches_the_limit_for_all_of_them(limit: int, each: int) -> None:
    failures, guesses = NO_FAILURES, 0
    for number in (PhoneNumber(f"+{count}") for count in range(200)):
        for _ in range(each):
            if failures.of(number) < limit:
                failures, guesses = failures.after_failure(number), guesses + 1

    assert failures.of(PhoneNumber("+41")) >= limit
    assert guesses <= limit * (REMEMBERED_NUMBERS + 1)


@given(ANY_HISTORY, st.integers(0, 5), st.lists(codes_added(), max_size=5))
def test_failures_in_a_row_survive_new_codes(
    before: list[Recorded], failures: int, added: list[PhoneVerificationCodeAdded]
) -> None:
    numbered = extended(before, HumanUserAdded(user_name="ada"), PhoneChanged(phone=NUMBER))
    failed = extended(numbered, *[PhoneVerificationFailed()] * failures)

    assert HumanUser.replay(extended(failed, *added)).failures_in_a_row == failures


@given(
    st.lists(st.timedeltas(-timedelta(minutes=5), timedelta(minutes=5)), max_size=12),
    st.timedeltas(-timedelta(minutes=15), timedelta(minutes=15)),
    st.lists(LIMITS, max_size=3),
    st.none() | st.timedeltas(MOMENT, timedelta(minutes=5)),
    st.sampled_from(["ask", "replace", "change"]),
)
@example([timedelta(seconds=s) for s in (123, 62, 1)], timedelta(0), [CodeLimit(count=2, within=HUNDRED)], None, "ask")
def test_a_wait_is_enough_and_no_longer_than_needed_wherever_the_clock_jumped(
    asked: list[timedelta], now: timedelta, limits: list[CodeLimit], pause: timedelta | None, decision: str
) -> None:
    """The second half: just before its end a limit still refuses."""
    codes_asked = [code for at in asked for code in history_of(PhoneVerificationCodeAdded(), at=AT + at)]
    user = HumanUser.replay([*history_of(HumanUserAdded(user_name="ada", phone=NUMBER)), *codes_asked])
    policy = Policy(code_limits=tuple(limits), pause_between_codes=pause)

    wait = told_wait(user, AT + now, policy, decision)

    if wait is not None:
        assert told_wait(user, AT + now + wait, policy, decision) is None
        assert told_wait(user, AT + now + wait - MOMENT, policy, decision) is not None


@given(ANY_HISTORY, phone_numbers(), events())
def test_the_last_verified_number_stays_until_a_new_one_is_proven_or_removed(
    before: list[Recorded], number: PhoneNumber, event: Event
) -> None:
    proven = extended(before, PhoneChanged(phone=NUMBER), PhoneVerified(), PhoneChanged(phone=number))

    last_verified = HumanUser.replay(extended(proven, event)).last_verified_phone

    match event:
        case PhoneVerified():
            assert last_verified == number
        case PhoneRemoved() | UserRemoved() | HumanUserAdded():
            assert last_verified is None
        case _:
            assert last_verified == NUMBER


@given(ANY_HISTORY, phone_numbers())
def test_a_new_number_is_proven_by_nothing_that_was(before: list[Recorded], number: PhoneNumber) -> None:
    user = HumanUser.replay(extended(before, PhoneChanged(phone=number)))

    assert (user.phone, user.phone_verified, user.pending_code) == (number, False, None)


@given(phone_texts() | typed_phones() | possible_phones() | impossible_phones(), ANY_RULES)
def test_a_parsed_number_parsed_is_itself(text: str, rules: PhoneRules) -> None:
    number = parsed(text, rules)

    if isinstance(number, PhoneNumber):
        assume(rules.global_only or parsed(number.e164, rules) == number)  # see the next test
        assert parse_phone_number(number.e164, rules) == number


@pytest.mark.parametrize("text", ["+2700808123456", "+460071123456", "+37588152450911"])
def test_a_number_with_two_trunk_prefixes_is_refused_where_zitadel_drops_one(text: str) -> None:
    once = parsed(text, ZITADEL.phone)

    assert isinstance(once, PhoneNumber)
    assert parsed(once.e164, ZITADEL.phone) != once
    assert parsed(text, RECOMMENDED.phone) is PhoneInvalid


@given(phone_numbers().flatmap(lambda number: st.tuples(st.just(number), typed_phones(number))))
def test_a_number_is_the_same_however_it_is_typed(typed: tuple[PhoneNumber, str]) -> None:
    number, text = typed

    assert parsed(text, ZITADEL.phone) == number
    assert parsed(text, RECOMMENDED.phone) in (number, PhoneKindRefused)


@given(possible_phones(), impossible_phones())
def test_a_length_that_a_country_has_is_taken_and_another_is_not(possible: str, impossible: str) -> None:
    assert isinstance(parsed(possible, RECOMMENDED.phone), PhoneNumber)
    assert parsed(impossible, RECOMMENDED.phone) is PhoneNotPossible


@given(events())
def test_an_event_stored_and_read_is_the_same_event(event: Event) -> None:
    stored = payload_of(event)

    names = [event.type, *([] if isinstance(event, UnknownEvent) else event.legacy_types)]
    for name in names:
        read = event_of(name, stored)
        assert read == event
        assert type(read) is type(event)
        assert payload_of(read) == stored


@pytest.mark.parametrize("fold", READ_MODELS)
@given(history=ANY_HISTORY, cut=st.integers(0, 12))
def test_a_read_model_folded_in_two_parts_is_the_same(fold: Fold, history: list[Recorded], cut: int) -> None:
    before = reduce(fold, history[:cut], None)

    assert reduce(fold, history[cut:], before) == reduce(fold, history, None)


@pytest.mark.parametrize(
    ("fold", "fold_all"), [(user_details, user_details_after), (user_phone, user_phone_after)], ids=["details", "phone"]
)
@given(history=ANY_HISTORY, cut=st.integers(0, 12))
def test_a_read_model_of_a_whole_history_is_the_same(
    fold: Fold, fold_all: Callable[..., object], history: list[Recorded], cut: int
) -> None:
    before = reduce(fold, history[:cut], None)

    assert fold_all(before, history[cut:]) == reduce(fold, history, None)


@pytest.mark.parametrize("fold", READ_MODELS)
@given(history=histories(min_size=1))
def test_a_read_model_does_not_mind_an_event_seen_again(fold: Fold, history: list[Recorded]) -> None:
    assert reduce(fold, [*history, history[-1]], None) == reduce(fold, history, None)


@given(histories(first=profiles()) | legal_histories())
def test_the_read_model_shows_the_phone_that_decisions_are_made_on(history: list[Recorded]) -> None:
    user = HumanUser.replay(history)

    expected = UserPhone(user.phone, user.phone_verified, user.last_verified_phone) if user.exists else None
    assert reduce(user_phone, history, None) == expected
