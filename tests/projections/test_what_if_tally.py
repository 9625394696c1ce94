"""What would have been refused is counted over all users, in little memory however many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanuser import (
    CodeAskedTooSoon,
    Event,
    HumanUserAdded,
    PhoneChanged,
    PhoneKindRefused,
    PhoneNumber,
    PhoneVerificationCodeAdded,
    PhoneVerified,
    Policy,
)
from humanuser.testing import AT, history, moments
from humanuser_projections import CommandKind, RefusalTimeline, WhatIfTally, what_if
from humanuser_projections.refusal_timeline import MOST_SPANS, WIDTHS

ADDED = HumanUserAdded(user_name="ada")
SWISS = PhoneChanged(phone=PhoneNumber("+41791234567"))
PREMIUM = PhoneChanged(phone=PhoneNumber("+41900123456"))
CODE = PhoneVerificationCodeAdded()
HOUR, DAY, WEEK = WIDTHS[:3]
MIDNIGHT = datetime(2026, 5, 10, tzinfo=UTC)


def tally_of(*users: str, most_examples: int = 10) -> WhatIfTally:
    """Of users who had a premium number, who asked for a code too soon, or who did all right."""
    lives: dict[str, list[Event | timedelta]] = {
        "premium": [PREMIUM, CODE, PhoneVerified()],
        "hasty": [SWISS, CODE, timedelta(seconds=1), CODE, PhoneVerified()],
        "right": [SWISS, CODE, PhoneVerified()],
    }
    tally = WhatIfTally(most_examples=most_examples)
    for number, user in enumerate(users):
        happened = history(ADDED, *lives[user], user_id=f"{user}{number}")
        tally.add_user(what_if(happened, Policy.recommended()))
    return tally


def timeline_of(*moments: datetime) -> RefusalTimeline:
    timeline = RefusalTimeline()
    for moment in moments:
        timeline.add(PhoneKindRefused, moment)
    return timeline


def test_users_commands_and_refusals_are_counted() -> None:
    tally = tally_of("premium", "hasty", "hasty", "right")

    assert (tally.users, tally.users_refused) == (4, 3)
    assert tally.commands == {
        CommandKind.ADD_USER: 4,
        CommandKind.CHANGE_PHONE: 4,
        CommandKind.ASK_FOR_CODE: 2,
        CommandKind.VERIFY_PHONE: 4,
    }
    assert tally.refused == {CommandKind.CHANGE_PHONE: 1, CommandKind.ASK_FOR_CODE: 2}
    assert tally.refusals == {PhoneKindRefused: 1, CodeAskedTooSoon: 2}


def test_what_follows_from_a_refusal_is_counted_apart() -> None:
    tally = tally_of("premium", "hasty", "right")

    assert tally.following == {CommandKind.VERIFY_PHONE: 2}
    assert tally.timeline.counts(PhoneKindRefused) == [1]


def test_of_nobody_there_is_nothing_to_tell() -> None:
    tally = tally_of()

    assert (tally.users, tally.commands, tally.refusals, tally.examples) == (0, Counter(), Counter(), [])
    assert (tally.timeline.begins, tally.timeline.counts(PhoneKindRefused)) == ([], [])


def test_the_first_refusals_are_kept_as_examples() -> None:
    tally = tally_of("right", "premium", "hasty", "premium", most_examples=2)

    assert [(one.user_id, one.refusal) for one in tally.examples] == [
        ("premium1", PhoneKindRefused),
        ("hasty2", CodeAskedTooSoon),
    ]


def test_a_short_time_is_told_by_the_hour() -> None:
    timeline = timeline_of(AT, AT + timedelta(minutes=59), AT + timedelta(hours=2))

    assert (timeline.width, timeline.begins) == (HOUR, [AT, AT + HOUR, AT + 2 * HOUR])
    assert timeline.counts(PhoneKindRefused) == [2, 0, 1]


@pytest.mark.parametrize(
    ("lasted", "width"),
    [
        (47 * HOUR, HOUR),
        (48 * HOUR, DAY),
        (47 * DAY, DAY),
        (48 * DAY, WEEK),
        (timedelta(weeks=47), WEEK),
        (timedelta(weeks=49), timedelta(weeks=4)),
        (timedelta(weeks=4 * 49), timedelta(weeks=52)),
        (timedelta(weeks=52 * 50), timedelta(weeks=104)),
        (timedelta(weeks=52 * 100), timedelta(weeks=208)),
    ],
)
def test_a_longer_time_is_told_in_wider_spans(lasted: timedelta, width: timedelta) -> None:
    timeline = timeline_of(MIDNIGHT, MIDNIGHT + lasted)

    assert timeline.width == width
    assert [timeline.counts(PhoneKindRefused)[place] for place in (0, -1)] == [1, 1]


def test_days_begin_at_midnight_and_weeks_on_mondays() -> None:
    assert timeline_of(AT, AT + 20 * DAY).begins[0] == MIDNIGHT
    assert timeline_of(AT, AT + 100 * DAY).begins[0] == datetime(2026, 5, 4, tzinfo=UTC)


def test_each_refusal_has_counts_of_its_own() -> None:
    timeline = timeline_of(AT, AT + HOUR)
    timeline.add(CodeAskedTooSoon, AT - HOUR)

    assert timeline.counts(PhoneKindRefused) == [0, 1, 1]
    assert timeline.counts(CodeAskedTooSoon) == [1, 0, 0]


@given(st.lists(moments(), min_size=1))
def test_whatever_the_order_nothing_is_lost_and_there_are_few_spans(happened: Sequence[datetime]) -> None:
    timeline = timeline_of(*happened)

    begins, counts = timeline.begins, timeline.counts(PhoneKindRefused)
    expected = Counter(max(begin for begin in begins if begin <= moment) for moment in happened)
    assert dict(zip(begins, counts, strict=True)) == {begin: expected[begin] for begin in begins}
    assert begins[0] <= min(happened)
    assert max(happened) < begins[-1] + timeline.width
    assert len(begins) <= MOST_SPANS


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_ends_of_the_calendar_are_counted_too(moment: datetime) -> None:
    timeline = timeline_of(AT, moment)

    assert sum(timeline.counts(PhoneKindRefused)) == 2
    assert min(timeline.begins) <= min(AT, moment)
