"""Small values: texts, codes, callers, policies, refusals."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import humanuser
from humanuser import (
    EVERY_ORGANIZATION,
    Caller,
    CodeLimit,
    CodeOwner,
    CommandIdReused,
    DomainError,
    PhoneVerificationCodeAdded,
    Policy,
    SealedCode,
    Sms,
    UnknownEvent,
    VerificationCode,
    is_clean_text,
)
from humanuser.phone_number import PhoneNumber


@pytest.mark.parametrize(
    "text",
    ["a", "x" * 200, "Ada Lovelace", "Zoë", "名前", "می\N{ZERO WIDTH NON-JOINER}خواهم", "👩\N{ZERO WIDTH JOINER}🚀"],
)
def test_names_of_people_are_clean(text: str) -> None:
    assert is_clean_text(text)


@pytest.mark.parametrize(
    "text",
    ["", "x" * 201, "a\0b", "a\nb", "\x7f", "\x85", "a\u2028b", "\u200fa", "\u202ea", "\u2066a", "\ufeffa", "\ud800"],
)
def test_what_hides_or_turns_text_around_is_not_clean(text: str) -> None:
    assert not is_clean_text(text)


@given(st.text(), st.text())
def test_a_code_matches_itself_alone(one: str, other: str) -> None:
    assert VerificationCode(one).matches(VerificationCode(one))
    assert VerificationCode(one).matches(VerificationCode(other)) == (one == other)


def test_secrets_have_no_readable_form() -> None:
    sealed = SealedCode(crypto_type=0, algorithm="aes", key_id="key", crypted="SECRET")
    sms = Sms(message_id="1", to=PhoneNumber("+41791234567"), text="SECRET", expires_at=None)

    for value in (VerificationCode("SECRET"), sealed, PhoneVerificationCodeAdded(code=sealed), sms):
        assert "SECRET" not in f"{value} {value!r}"
    assert "SECRET" not in repr(UnknownEvent("user.x", b"SECRET"))
    assert "+4179" not in repr(sms)


def test_a_caller_has_a_part_where_permissions_are_even_if_there_are_none() -> None:
    caller = Caller("user1", "org1", {"org1": frozenset(), "org2": frozenset({"user.read"})})

    assert caller.permissions_in("org1") == frozenset()
    assert caller.permissions_in("org2") == frozenset({"user.read"})
    assert caller.permissions_in("org3") is None


def test_what_holds_everywhere_is_added_to_what_holds_in_one_organization() -> None:
    caller = Caller("user1", "org1", {EVERY_ORGANIZATION: frozenset({"user.read"}), "org2": frozenset({"user.write"})})

    assert caller.permissions_in("org2") == frozenset({"user.read", "user.write"})
    assert caller.permissions_in("org3") == frozenset({"user.read"})


def test_the_recommended_policy_has_the_numbers_of_its_sources() -> None:
    policy = Policy.recommended()

    assert policy == Policy()
    assert (policy.code.length, policy.code.alphabet, policy.code_lifetime) == (6, "0123456789", timedelta(minutes=10))
    assert (policy.attempts_per_code, policy.failures_in_a_row) == (5, 100)
    assert policy.pause_between_codes == timedelta(seconds=60)
    assert [(limit.count, limit.within) for limit in policy.code_limits] == [
        (5, timedelta(minutes=10)),
        (10, timedelta(hours=1)),
        (20, timedelta(days=1)),
    ]


def test_zitadels_policy_is_without_limits() -> None:
    policy = Policy.zitadel()

    assert (policy.code.length, len(policy.code.alphabet), policy.code_lifetime) == (6, 36, timedelta(hours=1))
    assert (policy.attempts_per_code, policy.failures_in_a_row, policy.pause_between_codes) == (None, None, None)
    assert policy.code_limits == ()
    assert (policy.phone.default_region, policy.phone.refused_kinds) == ("CH", frozenset())


def test_a_policy_survives_json() -> None:
    for policy in (Policy.recommended(), Policy.zitadel()):
        assert Policy.model_validate_json(policy.model_dump_json()) == policy


@pytest.mark.parametrize(
    "text",
    [
        '{"attempts_per_code": 0}',
        '{"code_lifetime": "PT0S"}',
        '{"code": {"length": 3}}',
        '{"code": {"alphabet": "0"}}',
        '{"no_such_rule": 1}',
        '{"phone": {"refused_kinds": ["mobile"]}}',
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate_json(text)


def test_no_limit_counts_further_than_a_user_remembers() -> None:
    with pytest.raises(ValidationError):
        CodeLimit(count=101, within=timedelta(days=1))


def test_every_refusal_has_a_message_of_its_own() -> None:
    refusals = [value for name in humanuser.__all__ if _is_refusal(value := getattr(humanuser, name))]

    assert len(refusals) > 20
    for refusal in refusals:
        assert "message" in vars(refusal)
        assert str(refusal("ada") if refusal is CommandIdReused else refusal()) == refusal.message
        assert not refusal.message.endswith(".")


def test_a_code_belongs_to_a_user_of_an_instance() -> None:
    assert CodeOwner("instance1", "user1") != CodeOwner("instance2", "user1")


def _is_refusal(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, DomainError)
