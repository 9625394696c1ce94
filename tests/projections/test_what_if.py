"""A history is judged by the real decisions: what a policy refuses does not happen, nor what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from humanuser import (
    CodeAskedTooSoon,
    CodeFormat,
    CodeInvalid,
    CodeLimit,
    CodeNotFound,
    CodeUsedUp,
    DomainError,
    Event,
    HumanUserAdded,
    InitialisationCodeAdded,
    PhoneChanged,
    PhoneCountryRefused,
    PhoneEmpty,
    PhoneKindRefused,
    PhoneNotChanged,
    PhoneNotFound,
    PhoneNotPossible,
    PhoneNumber,
    PhoneRemoved,
    PhoneRules,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    Policy,
    Recorded,
    TooManyCodes,
    TooManyFailures,
    UnknownEvent,
    UserLocked,
    UserNotFound,
    UserRemoved,
)
from humanuser.testing import AT, history
from humanuser_projections import CommandKind, past_commands, what_if

SWISS, OTHER = PhoneNumber("+41791234567"), PhoneNumber("+41791234568")
GERMAN, PREMIUM = PhoneNumber("+4915123456789"), PhoneNumber("+41900123456")
ADDED = HumanUserAdded(user_name="ada")
CHANGED = PhoneChanged(phone=SWISS)
CODE = PhoneVerificationCodeAdded(expiry=3_600_000_000_000)
SENT, VERIFIED, FAILED, REMOVED = (
    PhoneVerificationCodeSent(),
    PhoneVerified(),
    PhoneVerificationFailed(),
    PhoneRemoved(),
)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
RECOMMENDED, ZITADEL = Policy.recommended(), Policy.zitadel()
SWISS_ONLY = Policy(phone=PhoneRules(allowed_countries=frozenset({41})))
THREE_CODES_AN_HOUR = Policy(code_limits=(CodeLimit(count=3, within=timedelta(hours=1)),))

Verdict = tuple[CommandKind, type[DomainError] | None, bool]


def judged(happened: Sequence[Recorded], policy: Policy) -> list[Verdict]:
    return [(one.kind, one.refusal, one.follows) for one in what_if(happened, policy)]


def refused(happened: Sequence[Recorded], policy: Policy) -> list[tuple[int, type[DomainError], bool]]:
    """Which command is refused, by the sequence of its first event, why, and whether because of an earlier one."""
    return [(one.sequence, one.refusal, one.follows) for one in what_if(happened, policy) if one.refusal]


@pytest.mark.parametrize(
    ("events", "kinds"),
    [
        ([ADDED], ["add user"]),
        ([HumanUserAdded(user_name="ada", phone=SWISS)], ["add user"]),
        ([HumanUserAdded(user_name="ada", phone=SWISS), CODE], ["add user"]),
        ([HumanUserAdded(user_name="ada", phone=SWISS), VERIFIED], ["add user"]),
        ([ADDED, CODE], ["add user", "ask for code"]),
        ([ADDED, CHANGED, CODE], ["add user", "change phone"]),
        ([ADDED, CHANGED], ["add user", "change phone"]),
        ([ADDED, CHANGED, VERIFIED], ["add user", "vouch for phone"]),
        ([ADDED, CHANGED, CODE, VERIFIED], ["add user", "change phone", "verify phone"]),
        ([ADDED, CHANGED, CODE, 59 * MINUTE, VERIFIED], ["add user", "change phone", "verify phone"]),
        ([ADDED, CHANGED, CODE, 60 * MINUTE, VERIFIED], ["add user", "change phone", "vouch for phone"]),
        ([ADDED, CHANGED, SECOND, CODE], ["add user", "change phone", "ask for code"]),
        ([ADDED, CHANGED, CODE, CODE], ["add user", "change phone", "ask for code"]),
        ([ADDED, CHANGED, CODE, FAILED], ["add user", "change phone", "verify phone in vain"]),
        ([ADDED, CHANGED, CODE, SENT], ["add user", "change phone", "record code as sent"]),
        ([ADDED, CHANGED, CODE, REMOVED], ["add user", "change phone", "remove phone"]),
        ([ADDED, UserLocked(), UnknownEvent("user.human.avatar.added", b"")], ["add user"]),
        ([ADDED, VERIFIED, FAILED, SENT], ["add user"]),
    ],
)
def test_the_events_tell_the_commands(events: list[Event | timedelta], kinds: list[str]) -> None:
    told = [command.kind for command in past_commands(history(*events))]

    assert [kind for kind in told if kind is not None] == kinds


def test_events_of_two_creators_are_two_commands() -> None:
    added, code = history(HumanUserAdded(user_name="ada", phone=SWISS)), history(ADDED, CODE, creator="user1")

    assert [len(command.recorded) for command in past_commands([*added, code[1]])] == [1, 1]


def test_no_event_of_a_history_is_lost() -> None:
    happened = history(ADDED, UserLocked(), CHANGED, CODE, SENT, VERIFIED, UserRemoved())

    assert [one for command in past_commands(happened) for one in command.recorded] == happened


@pytest.mark.parametrize(
    ("number", "policy", "refusal"),
    [
        (PREMIUM, RECOMMENDED, PhoneKindRefused),
        (PhoneNumber("+4912"), RECOMMENDED, PhoneNotPossible),
        (GERMAN, SWISS_ONLY, PhoneCountryRefused),
        (PhoneNumber(""), RECOMMENDED, PhoneEmpty),
    ],
)
@pytest.mark.parametrize("proof", [CODE, VERIFIED, SECOND], ids=["with a code", "vouched for", "with nothing"])
def test_a_number_that_the_policy_refuses_is_told(
    number: PhoneNumber, policy: Policy, refusal: type[DomainError], proof: Event | timedelta
) -> None:
    changed = history(ADDED, PhoneChanged(phone=number), proof)
    added = history(HumanUserAdded(user_name="ada", phone=number), proof)

    assert refused(changed, policy) == [(2, refusal, False)]
    assert refused(added, policy) == [(1, refusal, False)]


def test_a_number_that_other_rules_let_in_stays_as_it_is_stored() -> None:
    changed = PhoneChanged(phone=PhoneNumber("+410791234567"))  # a trunk prefix that parsing it anew would drop

    assert refused(history(ADDED, changed, CODE, 2 * MINUTE, CHANGED, CODE), ZITADEL) == []


def test_a_user_who_could_not_have_been_added_takes_all_that_followed_along() -> None:
    happened = history(HumanUserAdded(user_name="ada", phone=PREMIUM), CODE, SENT, VERIFIED, SECOND, CHANGED, VERIFIED)

    assert judged(happened, RECOMMENDED) == [
        (CommandKind.ADD_USER, PhoneKindRefused, False),
        (CommandKind.RECORD_SENT, CodeNotFound, True),
        (CommandKind.VERIFY_PHONE, CodeNotFound, True),
        (CommandKind.VOUCH_FOR_PHONE, UserNotFound, True),
    ]


def test_a_code_that_was_asked_for_too_soon_is_neither_sent_nor_typed() -> None:
    happened = history(ADDED, CHANGED, CODE, 59 * SECOND, CODE, SENT, FAILED, VERIFIED)

    assert refused(happened, RECOMMENDED) == [
        (4, CodeAskedTooSoon, False),
        (5, CodeNotFound, True),
        (6, CodeNotFound, True),
        (7, CodeNotFound, True),
    ]
    assert refused(history(ADDED, CHANGED, CODE, 60 * SECOND, CODE, SENT, FAILED, VERIFIED), RECOMMENDED) == []


def test_a_code_that_was_refused_does_not_count_against_the_next_one() -> None:
    happened = history(ADDED, CHANGED, CODE, 40 * SECOND, CODE, 30 * SECOND, CODE, VERIFIED)

    assert refused(happened, RECOMMENDED) == [(4, CodeAskedTooSoon, False)]


def test_a_number_that_was_refused_leaves_the_one_before() -> None:
    happened = history(
        *(ADDED, CHANGED, VERIFIED, MINUTE, PhoneChanged(phone=GERMAN), CODE, VERIFIED),
        *(MINUTE, CHANGED, CODE, MINUTE, REMOVED),
    )

    assert judged(happened, SWISS_ONLY)[2:] == [
        (CommandKind.CHANGE_PHONE, PhoneCountryRefused, False),
        (CommandKind.VERIFY_PHONE, CodeNotFound, True),
        (CommandKind.CHANGE_PHONE, PhoneNotChanged, True),
        (CommandKind.REMOVE_PHONE, None, False),
    ]


def test_who_vouches_for_a_number_that_was_refused_to_the_user_brings_it_all_the_same() -> None:
    change_to_other = PhoneChanged(phone=OTHER)
    happened = history(
        *(ADDED, CHANGED, CODE, MINUTE, change_to_other, CODE, MINUTE, CHANGED, CODE, MINUTE, change_to_other, CODE),
        *(60 * MINUTE, VERIFIED, MINUTE, CHANGED, CODE),
    )

    assert refused(happened, THREE_CODES_AN_HOUR) == [(8, TooManyCodes, False)]


@pytest.mark.parametrize(
    ("waited", "refusals"), [(10 * MINUTE - timedelta.resolution, []), (10 * MINUTE, [(4, CodeInvalid, False)])]
)
def test_a_right_code_counts_as_refused_from_the_end_of_the_policys_lifetime(
    waited: timedelta, refusals: list[tuple[int, type[DomainError], bool]]
) -> None:
    assert refused(history(ADDED, CHANGED, CODE, waited, VERIFIED), RECOMMENDED) == refusals


def test_the_code_of_a_new_user_lives_as_long_as_the_policy_says() -> None:
    happened = history(HumanUserAdded(user_name="ada", phone=SWISS), CODE, 10 * MINUTE, VERIFIED)

    assert refused(happened, RECOMMENDED) == [(3, CodeInvalid, False)]


def test_a_right_code_that_came_too_late_is_a_failure_to_remember() -> None:
    policy = Policy(failures_in_a_row=1)
    changes = (PhoneChanged(phone=OTHER), CODE, MINUTE, CHANGED, CODE)
    happened = history(ADDED, CHANGED, CODE, 10 * MINUTE, VERIFIED, *changes)

    assert refused(happened, policy) == [(4, CodeInvalid, False), (7, TooManyFailures, False)]


def test_a_number_that_was_proven_too_late_is_removed_as_before() -> None:
    happened = history(ADDED, CHANGED, CODE, 10 * MINUTE, VERIFIED, REMOVED)

    assert judged(happened, RECOMMENDED)[-1] == (CommandKind.REMOVE_PHONE, None, False)


def test_a_code_that_came_late_stays_wrong_also_if_codes_live_longer() -> None:
    ten_minutes = PhoneVerificationCodeAdded(expiry=600_000_000_000)

    assert judged(history(ADDED, CHANGED, ten_minutes, 20 * MINUTE, FAILED), ZITADEL)[-1] == (
        CommandKind.VERIFY_IN_VAIN,
        None,
        False,
    )


def test_guesses_beyond_the_policys_attempts_are_refused_and_the_right_code_with_them() -> None:
    happened = history(ADDED, CHANGED, CODE, *[FAILED] * 6, VERIFIED)

    assert refused(happened, RECOMMENDED) == [(9, CodeUsedUp, False), (10, CodeUsedUp, False)]


def test_failures_that_the_policy_does_not_let_happen_do_not_count() -> None:
    policy = Policy(attempts_per_code=1, failures_in_a_row=2)
    happened = history(ADDED, CHANGED, CODE, *[FAILED] * 5, MINUTE, CODE, VERIFIED)

    assert refused(happened, policy) == [(sequence, CodeUsedUp, False) for sequence in (5, 6, 7, 8)]


def test_what_is_no_command_happens_all_the_same() -> None:
    happened = history(
        *(ADDED, InitialisationCodeAdded(), UserLocked(), UnknownEvent("user.human.avatar.added", b"")),
        *(PhoneChanged(phone=PREMIUM), CODE, UserRemoved(), CHANGED, CODE),
    )

    assert refused(happened, RECOMMENDED) == [(5, PhoneKindRefused, False)]


@pytest.mark.parametrize(
    "events",
    [
        [CHANGED, VERIFIED],
        [REMOVED],
        [ADDED, REMOVED],
        [ADDED, CHANGED, VERIFIED, SECOND, CHANGED, VERIFIED],
        [ADDED, ADDED],
        [ADDED, UserRemoved(), ADDED, CHANGED, VERIFIED],
        [ADDED, CODE, VERIFIED],
    ],
)
def test_what_the_rules_refuse_whatever_the_policy_has_happened_all_the_same(events: list[Event | timedelta]) -> None:
    assert refused(history(*events), RECOMMENDED) == []


def test_a_code_asked_for_too_soon_follows_where_its_number_was_refused() -> None:
    happened = history(ADDED, PhoneChanged(phone=PREMIUM), CODE, SECOND, CODE)

    assert refused(happened, RECOMMENDED) == [(2, PhoneKindRefused, False), (4, PhoneNotFound, True)]


def test_how_codes_look_is_not_judged() -> None:
    assert refused(history(ADDED, CHANGED, CODE, VERIFIED), Policy(code=CodeFormat(length=20))) == []


def test_the_policy_is_in_force_from_one_moment_until_before_another() -> None:
    happened = history(*(ADDED, MINUTE, CHANGED, CODE, SECOND, CODE, SECOND, CODE, SECOND, CODE))
    since, until = AT + MINUTE + SECOND, AT + MINUTE + 3 * SECOND

    told = [(one.sequence, one.refusal) for one in what_if(happened, RECOMMENDED, since=since, until=until)]

    assert told == [(4, CodeAskedTooSoon), (5, CodeAskedTooSoon)]


def test_what_was_stored_before_the_policy_was_in_force_stays_as_it_was() -> None:
    happened = history(ADDED, PhoneChanged(phone=PREMIUM), CODE, 11 * MINUTE, VERIFIED)

    told = list(what_if(happened, RECOMMENDED, since=AT + MINUTE))

    assert [(one.kind, one.refusal) for one in told] == [(CommandKind.VERIFY_PHONE, None)]


def test_a_judged_command_says_whom_when_and_about_which_number() -> None:
    happened = history(ADDED, MINUTE, PhoneChanged(phone=PREMIUM), CODE, SECOND, VERIFIED, user_id="ada")

    change, proof = list(what_if(happened, RECOMMENDED))[1:]

    assert (change.user_id, change.sequence, change.created_at, change.phone) == ("ada", 2, AT + MINUTE, PREMIUM)
    assert (proof.sequence, proof.created_at, proof.phone) == (4, AT + MINUTE + SECOND, PREMIUM)
    assert PREMIUM.e164 not in repr(change)
