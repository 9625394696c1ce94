"""A history is told in plain words: what each event did, and why the phone is verified now or not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanuser import (
    Event,
    HumanUser,
    HumanUserAdded,
    HumanUserSelfRegistered,
    InitialisationCodeAdded,
    PhoneChanged,
    PhoneNumber,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    Policy,
    ProfileChanged,
    Recorded,
    SealedCode,
    UnknownEvent,
    UserDeactivated,
    UserInitialised,
    UserLocked,
    UserReactivated,
    UserRemoved,
    UserUnlocked,
)
from humanuser.testing import AT, histories, history, legal_histories, moments, phone_numbers
from humanuser_projections import Explanation, Step, explain

Happened = Event | timedelta

OLD, NEW, THIRD = PhoneNumber("+41791234567"), PhoneNumber("+41791234589"), PhoneNumber("+41791234501")
M_OLD, M_NEW, M_THIRD = "**********67", "**********89", "**********01"
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
SEALED = SealedCode(crypto_type=0, algorithm="aes", key_id="the key", crypted="c2VhbGVk")
NANOSECONDS = 1_000_000_000
CODE = PhoneVerificationCodeAdded(code=SEALED, expiry=600 * NANOSECONDS)
RETURNED = PhoneVerificationCodeAdded(code=SEALED, expiry=600 * NANOSECONDS, code_returned=True)
EVERLASTING = PhoneVerificationCodeAdded(code=SEALED)
STILLBORN = PhoneVerificationCodeAdded(code=SEALED, expiry=-1)
ADDED = HumanUserAdded(user_name="ada")
ADDED_WITH_PHONE = HumanUserAdded(user_name="ada", phone=OLD)
ASKED: list[Event] = [ADDED_WITH_PHONE, CODE]
PROVEN: list[Event] = [ADDED_WITH_PHONE, PhoneVerified()]
CHANGED: list[Event] = [*PROVEN, PhoneChanged(phone=NEW)]
FAILED = PhoneVerificationFailed()
UNTIL = "until 2026-05-10 12:10:00 UTC"
EXPIRED = "expired at 2026-05-10 12:10:00 UTC"
RETURNED_SO = "it was returned to the caller, so no SMS goes out"
SET = "admin set it at 2026-05-10 12:00:00 UTC, and nobody has asked for a code since"
PROVED = "proved it with the code of step 2, or vouched for it"
PENDING = f"the code of step 4 is pending {UNTIL}"
STAYS = f"; the last proven number {M_OLD} stays in use until the new one is proven"

EXAMPLES: list[tuple[Sequence[Happened], str]] = [
    ([ADDED], "added the user, without a phone"),
    ([ADDED_WITH_PHONE], f"added the user, with the number {M_OLD}, which is yet to be proven"),
    ([HumanUserSelfRegistered(user_name="ada")], "registered, without a phone"),
    ([ADDED, PhoneChanged(phone=NEW)], f"set {M_NEW}"),
    ([ADDED_WITH_PHONE, PhoneChanged(phone=NEW)], f"changed the number from {M_OLD} to {M_NEW}"),
    (CHANGED, f"changed the number from {M_OLD} to {M_NEW}{STAYS}"),
    (
        [*ASKED, PhoneChanged(phone=NEW)],
        f"changed the number from {M_OLD} to {M_NEW}; the code of step 2 proves nothing any more",
    ),
    (ASKED, f"asked for a code for {M_OLD}, valid for 10 minutes, {UNTIL}"),
    (
        [ADDED_WITH_PHONE, RETURNED],
        f"asked for a code for {M_OLD}, valid for 10 minutes, {UNTIL}; {RETURNED_SO}",
    ),
    ([ADDED_WITH_PHONE, EVERLASTING], f"asked for a code for {M_OLD}, which does not expire"),
    ([ADDED_WITH_PHONE, STILLBORN], f"asked for a code for {M_OLD}, expired from the start"),
    ([ADDED, EVERLASTING], "asked for a code though there was no number, which does not expire"),
    (
        [*ASKED, EVERLASTING],
        f"asked for a code for {M_OLD}, which does not expire; the code of step 2 proves nothing any more",
    ),
    ([*ASKED, PhoneVerificationCodeSent()], f"sent the SMS with the code of step 2 to {M_OLD}"),
    ([ADDED, CODE, PhoneVerificationCodeSent()], "sent the SMS with the code of step 2"),
    ([*PROVEN, PhoneVerificationCodeSent()], "sent an SMS with a code that proved nothing any more"),
    (PROVEN, f"vouched for {M_OLD}"),
    ([*CHANGED, PhoneVerified()], f"vouched for {M_NEW}; it takes the place of {M_OLD}"),
    ([*PROVEN, PhoneVerified()], f"vouched for {M_OLD}"),
    ([ADDED, PhoneVerified()], "vouched for the number, though there was none"),
    ([*ASKED, PhoneVerified()], f"proved {M_OLD} with the code of step 2, or vouched for it"),
    ([*ASKED, 10 * MINUTE, PhoneVerified()], f"vouched for {M_OLD}"),
    ([ADDED_WITH_PHONE, PhoneRemoved()], f"removed {M_OLD}"),
    ([*PROVEN, PhoneRemoved()], f"removed {M_OLD}"),
    ([*CHANGED, PhoneRemoved()], f"removed {M_NEW}; the last proven number {M_OLD} is gone, too"),
    ([*ASKED, PhoneRemoved()], f"removed {M_OLD}; the code of step 2 proves nothing any more"),
    ([ADDED, PhoneRemoved()], "removed the number, though there was none"),
    ([*ASKED, FAILED], "gave a code that was refused: it was wrong; failure 1 with the code of step 2"),
    ([ADDED, InitialisationCodeAdded()], "asked the user to take up the account"),
    ([ADDED, UserInitialised()], "took up the account"),
    ([ADDED, ProfileChanged(preferred_language="de")], "changed the profile"),
    ([ADDED, UserLocked()], "locked the user"),
    ([ADDED, UserUnlocked()], "unlocked the user"),
    ([ADDED, UserDeactivated()], "put the user out of use"),
    ([ADDED, UserReactivated()], "put the user back into use"),
    ([ADDED, UserRemoved()], "removed the user, with all numbers and codes"),
    ([ADDED, UnknownEvent("user.xyz", b"{}")], "unknown event kept: 'user.xyz'"),
    ([ADDED, UnknownEvent("\x1b[2J\u202e", b"")], r"unknown event kept: '\x1b[2J\u202e'"),
]

ANY_HISTORY = histories() | legal_histories()
ANY_POLICY = st.sampled_from([None, Policy.recommended(), Policy.zitadel()])


def told(*happened: Happened, policy: Policy | None = None, creator: str = "admin") -> str:
    """The words of the last event."""
    return explain(history(*happened, creator=creator), now=AT, policy=policy).steps[-1].words


def concluded(*happened: Happened, after: timedelta = MINUTE, policy: Policy | None = None) -> str:
    """What it comes to *after* a while."""
    return explain(history(*happened), now=AT + after, policy=policy).conclusion


def everything_said(explanation: Explanation) -> str:
    return "\n".join([explanation.conclusion, *(step.words for step in explanation.steps), repr(explanation)])


@pytest.mark.parametrize(("happened", "words"), EXAMPLES)
def test_an_event_is_told_in_plain_words(happened: Sequence[Happened], words: str) -> None:
    assert told(*happened) == words


def test_there_is_an_example_of_every_event() -> None:
    assert {type(happened[-1]) for happened, _ in EXAMPLES} == set(get_args(Event))


@pytest.mark.parametrize(
    ("happened", "words"),
    [
        ([FAILED], "none was pending"),
        ([CODE, FAILED], "it was wrong; failure 1 with the code of step 2"),
        ([CODE, FAILED, FAILED], "it was wrong; failure 2 with the code of step 2"),
        ([CODE, FAILED, CODE, FAILED], "it was wrong or an older one; failure 1 with the code of step 4"),
        ([EVERLASTING, 999 * MINUTE, FAILED], "it was wrong; failure 1 with the code of step 2"),
        ([STILLBORN, FAILED], "the code of step 2 was expired from the start; failure 1 with the code of step 2"),
        (
            [CODE, 13 * MINUTE, FAILED],
            f"the code of step 2 {EXPIRED}, 3 minutes before; failure 1 with the code of step 2",
        ),
        (
            [CODE, -10 * MINUTE, FAILED],
            "the code of step 2 is from the future: a clock was set back; failure 1 with the code of step 2",
        ),
    ],
)
def test_a_failure_is_told_with_its_reason(happened: Sequence[Happened], words: str) -> None:
    assert told(ADDED_WITH_PHONE, *happened) == f"gave a code that was refused: {words}"


@pytest.mark.parametrize(("policy", "count"), [(Policy.recommended(), "2 of 5"), (Policy.zitadel(), "2"), (None, "2")])
def test_failures_are_counted_against_the_limit_there_is(policy: Policy | None, count: str) -> None:
    assert f"failure {count} with" in told(*ASKED, FAILED, FAILED, policy=policy)
    assert concluded(*ASKED, FAILED, FAILED, policy=policy).endswith(f"; failed attempts: {count}")


@pytest.mark.parametrize(
    ("expiry", "span"),
    [
        (NANOSECONDS // 2, "less than a second"),
        (NANOSECONDS, "1 second"),
        (90 * NANOSECONDS, "1 minute 30 seconds"),
        (3600 * NANOSECONDS, "1 hour"),
        (90061 * NANOSECONDS, "1 day 1 hour"),
        (2 * 86400 * NANOSECONDS, "2 days"),
    ],
)
def test_a_lifetime_is_told_in_its_two_largest_units(expiry: int, span: str) -> None:
    assert f", valid for {span}, until " in told(ADDED_WITH_PHONE, PhoneVerificationCodeAdded(expiry=expiry))


def test_users_with_a_living_code_are_taken_to_have_given_it() -> None:
    assert told(*ASKED, PhoneVerified(), creator="user1") == f"proved {M_OLD} with the code of step 2"
    assert told(*PROVEN, creator="user1") == f"vouched for {M_OLD}"


@pytest.mark.parametrize("before", [[], [ADDED, UserRemoved()]], ids=["nobody", "removed"])
def test_what_happens_to_nobody_is_told_as_such(before: Sequence[Happened]) -> None:
    assert told(*before, UserLocked()) == "locked the user; there was no such user"
    assert told(*before, ADDED) == "added the user, without a phone"


def test_a_step_says_who_did_it_and_when() -> None:
    explanation = explain(history(ADDED, MINUTE, UserLocked(), creator="bob"), now=AT)

    assert explanation.steps == [
        Step(sequence=1, at=AT, creator="bob", words="added the user, without a phone"),
        Step(sequence=2, at=AT + MINUTE, creator="bob", words="locked the user"),
    ]


@pytest.mark.parametrize(
    ("happened", "conclusion"),
    [
        ([], "there is no such user: nobody added one"),
        ([PhoneChanged(phone=NEW), UserLocked()], "there is no such user: nobody added one"),
        (
            [*PROVEN, MINUTE, UserRemoved(), MINUTE, PhoneChanged(phone=NEW)],
            "there is no such user any more: admin removed the user at 2026-05-10 12:01:00 UTC",
        ),
        ([ADDED], "there is no phone: the user never had one"),
        ([PhoneChanged(phone=NEW), ADDED], "there is no phone: the user never had one"),
        ([ADDED, PhoneRemoved()], "there is no phone: the user never had one"),
        ([*PROVEN, UserRemoved(), ADDED], "there is no phone: the user never had one"),
        (
            [*PROVEN, MINUTE, PhoneRemoved(), MINUTE, PhoneRemoved(), PhoneVerified()],
            "there is no phone: admin removed it at 2026-05-10 12:01:00 UTC",
        ),
        (
            [ADDED_WITH_PHONE, MINUTE, PhoneVerified(), MINUTE, PhoneVerified(), UserLocked()],
            f"{M_OLD} is verified: admin vouched for it at 2026-05-10 12:01:00 UTC",
        ),
        (
            [*ASKED, MINUTE, PhoneVerified()],
            f"{M_OLD} is verified: admin {PROVED} at 2026-05-10 12:01:00 UTC",
        ),
        ([ADDED_WITH_PHONE, MINUTE, UserLocked()], f"{M_OLD} is not verified: {SET}"),
        (
            [*ASKED, MINUTE, PhoneChanged(phone=NEW)],
            f"{M_NEW} is not verified: admin set it at 2026-05-10 12:01:00 UTC, and nobody has asked for a code since",
        ),
        (CHANGED, f"{M_NEW} is not verified: {SET}{STAYS}"),
        (ASKED, f"{M_OLD} is not verified: the code of step 2 is pending {UNTIL}; its SMS was not sent yet"),
        (
            [*CHANGED, CODE, PhoneVerificationCodeSent(), FAILED],
            f"{M_NEW} is not verified: {PENDING}; its SMS was sent; failed attempts: 1{STAYS}",
        ),
        (
            [ADDED_WITH_PHONE, RETURNED],
            f"{M_OLD} is not verified: the code of step 2 is pending {UNTIL}; it was returned to the caller",
        ),
        (
            [ADDED_WITH_PHONE, EVERLASTING],
            f"{M_OLD} is not verified: the code of step 2 is pending; its SMS was not sent yet",
        ),
    ],
)
def test_the_conclusion_says_whether_the_phone_is_verified_and_why(
    happened: Sequence[Happened], conclusion: str
) -> None:
    assert concluded(*happened) == conclusion


@pytest.mark.parametrize(
    ("code", "after", "why"),
    [
        (CODE, 10 * MINUTE - SECOND, f"is pending {UNTIL}"),
        (CODE, 10 * MINUTE, f"{EXPIRED}, less than a second before"),
        (CODE, 90 * MINUTE, f"{EXPIRED}, 1 hour 20 minutes before"),
        (CODE, -10 * MINUTE, "is from the future: a clock was set back"),
        (STILLBORN, MINUTE, "was expired from the start"),
    ],
)
def test_the_conclusion_says_what_became_of_the_code(
    code: PhoneVerificationCodeAdded, after: timedelta, why: str
) -> None:
    assert concluded(ADDED_WITH_PHONE, code, after=after) == (
        f"{M_OLD} is not verified: the code of step 2 {why}; its SMS was not sent yet"
    )


def test_nobody_has_a_phone_whatever_happens_to_them() -> None:
    explanation = explain(history(*PROVEN, UserRemoved(), PhoneChanged(phone=NEW), PhoneVerified()), now=AT)

    assert (explanation.phone, explanation.verified) == (None, False)


def test_the_conclusion_says_when_a_limit_is_reached() -> None:
    policy = Policy(attempts_per_code=2, failures_in_a_row=3)
    three_in_a_row = [*ASKED, FAILED, FAILED, CODE, FAILED]

    assert concluded(*ASKED, FAILED, policy=policy).endswith("; failed attempts: 1 of 2")
    assert concluded(*ASKED, FAILED, FAILED, policy=policy) == (
        f"{M_OLD} is not verified: the code of step 2 is used up, and a new one is needed; failed attempts: 2 of 2"
    )
    assert concluded(*three_in_a_row, policy=policy) == (
        f"{M_OLD} is not verified: 3 attempts failed in a row, so that no code helps, only somebody who vouches"
    )
    assert "is pending" in concluded(*three_in_a_row)


def test_numbers_are_masked_unless_they_are_to_be_revealed() -> None:
    recorded = history(*CHANGED, CODE, PhoneVerificationCodeSent(), PhoneVerified(), PhoneChanged(phone=THIRD))
    numbers = {OLD: M_OLD, NEW: M_NEW, THIRD: M_THIRD}

    masked = explain(recorded, now=AT)
    whole = explain(recorded, now=AT, reveal=True)

    for number, stars in numbers.items():
        assert number.e164 not in everything_said(masked)
        assert stars in everything_said(masked)
    words = "\n".join([whole.conclusion, *(step.words for step in whole.steps)])
    assert all(number.e164 in words for number in numbers)
    assert "**" not in words


@given(ANY_HISTORY, moments(), ANY_POLICY, st.booleans())
def test_every_history_can_be_explained(
    recorded: list[Recorded], now: datetime, policy: Policy | None, reveal: bool
) -> None:
    explanation = explain(iter(recorded), now=now, policy=policy, reveal=reveal)

    assert [(step.sequence, step.at, step.creator) for step in explanation.steps] == [
        (one.sequence, one.created_at, one.creator) for one in recorded
    ]
    assert all(step.words for step in explanation.steps)
    assert explanation.conclusion


@given(ANY_HISTORY, moments(), ANY_POLICY)
def test_the_conclusion_agrees_with_the_replay(recorded: list[Recorded], now: datetime, policy: Policy | None) -> None:
    user = HumanUser.replay(recorded)

    explanation = explain(recorded, now=now, policy=policy)

    assert explanation.phone == (user.phone if user.exists else None)
    assert explanation.verified == (user.exists and user.phone_verified)
    assert (" is verified: " in explanation.conclusion) == explanation.verified
    assert explanation.conclusion.startswith("there is no such user") != user.exists
    assert explanation.conclusion.startswith("there is no phone") == (user.exists and user.phone is None)


@given(ANY_HISTORY, st.lists(phone_numbers(), min_size=12, max_size=12), moments())
def test_no_explanation_shows_a_number_or_a_code(
    recorded: list[Recorded], numbers: list[PhoneNumber], now: datetime
) -> None:
    secret = SealedCode(crypto_type=0, algorithm="AlgorithmOfTheSeal", key_id="KeyOfTheSeal", crypted="CodeInTheSeal")
    full = [
        one._replace(event=_with(one.event, number, secret)) for one, number in zip(recorded, numbers * 4, strict=False)
    ]

    said = everything_said(explain(full, now=now, policy=Policy()))

    assert "OfTheSeal" not in said
    assert "InTheSeal" not in said
    assert not [number for number in numbers if number.e164 in said]


def _with(event: Event, number: PhoneNumber, secret: SealedCode) -> Event:
    """*event* about this number and this code, if it is about any."""
    match event:
        case PhoneChanged():
            return PhoneChanged(phone=number)
        case HumanUserAdded():
            return event.model_copy(update={"phone": event.phone and number})
        case PhoneVerificationCodeAdded():
            return event.model_copy(update={"code": secret})
        case _:
            return event
