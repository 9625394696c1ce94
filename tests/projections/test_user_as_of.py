"""A user as of any moment is what the history made of them until then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanuser import (
    Details,
    Event,
    HumanUser,
    HumanUserAdded,
    PhoneChanged,
    PhoneNumber,
    PhoneVerificationCodeAdded,
    PhoneVerified,
    Recorded,
    UserRemoved,
)
from humanuser.testing import AT, histories, history, legal_histories, moments
from humanuser_projections import UserAsOf, UserPhone, history_until, user_as_of, user_details, user_phone

OLD = PhoneNumber("+41791234567")
NEW = PhoneNumber("+41791234568")
HOUR = timedelta(hours=1)
MOMENT = timedelta.resolution
ADDED = HumanUserAdded(user_name="ada", phone=OLD)
LIFE: list[Event | timedelta] = [
    ADDED,
    HOUR,
    PhoneVerified(),
    HOUR,
    PhoneChanged(phone=NEW),
    PhoneVerificationCodeAdded(),
    HOUR,
    UserRemoved(),
]

ANY_HISTORY = histories() | legal_histories()


def step_by_step(recorded: Sequence[Recorded]) -> UserAsOf | None:
    """The user after *recorded*, one event after the other."""
    user, details, phone = HumanUser(), None, None
    for one in recorded:
        user, details, phone = user.evolve(one), user_details(details, one), user_phone(phone, one)
    return UserAsOf(user, details, phone) if details and phone else None


def how_many_had_happened(recorded: Sequence[Recorded], at: datetime) -> int:
    """The obvious answer: count until one is later."""
    count = 0
    while count < len(recorded) and not recorded[count].created_at > at:
        count += 1
    return count


@pytest.mark.parametrize(
    ("at", "phone"),
    [
        (AT, UserPhone(OLD)),
        (AT + HOUR - MOMENT, UserPhone(OLD)),
        (AT + HOUR, UserPhone(OLD, True, OLD)),
        (AT + 2 * HOUR - MOMENT, UserPhone(OLD, True, OLD)),
        (AT + 2 * HOUR, UserPhone(NEW, False, OLD)),
        (AT + 3 * HOUR - MOMENT, UserPhone(NEW, False, OLD)),
    ],
)
def test_a_user_is_what_had_happened_by_a_time(at: datetime, phone: UserPhone) -> None:
    then = user_as_of(history(*LIFE), at=at)

    assert then is not None
    assert then.phone == phone
    assert (then.user.phone, then.user.phone_verified) == (phone.phone, phone.verified)


@pytest.mark.parametrize("at", [AT - MOMENT, AT + 3 * HOUR, AT + 4 * HOUR])
def test_there_is_nobody_before_the_user_was_added_and_after_the_removal(at: datetime) -> None:
    assert user_as_of(history(*LIFE), at=at) is None


def test_a_user_is_what_had_happened_by_a_sequence() -> None:
    then = user_as_of(history(*LIFE), sequence=4)

    assert then is not None
    assert then.details == Details(sequence=3, creation_date=AT, change_date=AT + 2 * HOUR, resource_owner="org1")
    assert then.user.sequence == 4
    assert then.user.pending_code is not None
    assert user_as_of(history(*LIFE), sequence=0) is None
    assert user_as_of(history(*LIFE), sequence=5) is None


def test_a_user_without_a_moment_is_the_one_there_is_now() -> None:
    assert user_as_of([]) is None
    assert user_as_of(history(*LIFE)) is None
    assert user_as_of(history(*LIFE[:-1])) == user_as_of(history(*LIFE), at=AT + 3 * HOUR - MOMENT)


def test_the_earlier_of_a_time_and_a_sequence_counts() -> None:
    assert history_until(history(*LIFE), at=AT + HOUR, sequence=4) == history(*LIFE)[:2]
    assert history_until(history(*LIFE), at=AT + 3 * HOUR, sequence=1) == history(*LIFE)[:1]


def test_a_history_ends_before_the_first_later_event_although_the_clock_was_set_back_behind_it() -> None:
    jumping = history(ADDED, HOUR, PhoneVerified(), -2 * HOUR, PhoneChanged(phone=NEW))

    assert history_until(jumping, at=AT) == jumping[:1]
    assert history_until(jumping, at=AT + HOUR) == jumping


@given(ANY_HISTORY, st.integers(0, 13))
def test_a_user_as_of_a_sequence_is_the_replay_of_so_many_events(recorded: list[Recorded], sequence: int) -> None:
    then = user_as_of(iter(recorded), sequence=sequence)

    replayed = HumanUser.replay(recorded[:sequence])
    assert then == step_by_step(recorded[:sequence])
    assert (then is not None) == replayed.exists
    assert then is None or then.user == replayed


@given(ANY_HISTORY, st.lists(moments(), min_size=1, max_size=5))
def test_a_user_as_of_a_time_is_what_counting_says(recorded: list[Recorded], questions: list[datetime]) -> None:
    for at in (*questions, *(one.created_at for one in recorded)):
        then = user_as_of(iter(recorded), at=at)

        assert then == step_by_step(recorded[: how_many_had_happened(recorded, at)])


@given(ANY_HISTORY, moments(), moments())
def test_a_later_moment_takes_nothing_back(recorded: list[Recorded], one: datetime, other: datetime) -> None:
    earlier, later = (history_until(recorded, at=at) for at in sorted([one, other]))

    assert later[: len(earlier)] == earlier
