"""The read models follow the events as ZITADEL's projections do."""

from __future__ import annotations

from datetime import timedelta
from functools import reduce

import pytest

from humanuser import (
    Details,
    Event,
    HumanUserAdded,
    HumanUserSelfRegistered,
    PhoneChanged,
    PhoneNumber,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    UnknownEvent,
    UserLocked,
    UserRemoved,
)
from humanuser.testing import AT, history
from humanuser_projections import UserPhone, user_details, user_phone

OLD = PhoneNumber("+41791234567")
NEW = PhoneNumber("+41791234568")
ADDED = HumanUserAdded(user_name="ada")
SECOND = timedelta(seconds=1)


def details_after(*events: Event) -> Details | None:
    spaced = [item for event in events for item in (event, SECOND)]
    return reduce(user_details, history(*spaced), None)


def phone_after(*events: Event) -> UserPhone | None:
    return reduce(user_phone, history(*events), None)


@pytest.mark.parametrize(
    "event",
    [
        PhoneChanged(phone=NEW),
        PhoneVerified(),
        PhoneRemoved(),
        UserLocked(),
        UnknownEvent("user.human.profile.changed", b"{}"),
    ],
)
def test_details_tell_the_last_event_that_shows(event: Event) -> None:
    details = details_after(ADDED, event)

    assert details == Details(sequence=2, creation_date=AT, change_date=AT + SECOND, resource_owner="org1")


@pytest.mark.parametrize(
    "event", [PhoneVerificationCodeAdded(), PhoneVerificationCodeSent(), PhoneVerificationFailed()]
)
def test_details_do_not_tell_events_about_codes(event: Event) -> None:
    assert details_after(ADDED, PhoneChanged(phone=NEW), event) == details_after(ADDED, PhoneChanged(phone=NEW))


def test_a_user_begins_when_added() -> None:
    assert details_after(ADDED) == details_after(HumanUserSelfRegistered(user_name="ada"))
    assert details_after(ADDED) == Details(sequence=1, creation_date=AT, change_date=AT, resource_owner="org1")


def test_what_happens_to_nobody_makes_no_user() -> None:
    events: list[Event] = [
        PhoneChanged(phone=NEW),
        PhoneVerified(),
        PhoneRemoved(),
        PhoneVerificationFailed(),
        UserRemoved(),
    ]

    assert details_after(*events) is None
    assert phone_after(*events) is None


def test_a_removed_user_is_gone() -> None:
    assert details_after(ADDED, UserRemoved()) is None
    assert phone_after(ADDED, UserRemoved()) is None


@pytest.mark.parametrize(
    ("events", "phone"),
    [
        ([ADDED], UserPhone()),
        ([HumanUserAdded(user_name="ada", phone=OLD)], UserPhone(OLD)),
        ([ADDED, PhoneChanged(phone=OLD)], UserPhone(OLD)),
        ([ADDED, PhoneChanged(phone=OLD), PhoneVerified()], UserPhone(OLD, True, OLD)),
        ([ADDED, PhoneChanged(phone=OLD), PhoneVerified(), PhoneChanged(phone=NEW)], UserPhone(NEW, False, OLD)),
        ([ADDED, PhoneChanged(phone=OLD), PhoneVerified(), PhoneRemoved()], UserPhone()),
        ([ADDED, PhoneVerified()], UserPhone()),
        ([ADDED, PhoneChanged(phone=OLD), PhoneVerificationCodeAdded(), UserLocked()], UserPhone(OLD)),
    ],
)
def test_the_phone_follows_the_events(events: list[Event], phone: UserPhone) -> None:
    assert phone_after(*events) == phone
