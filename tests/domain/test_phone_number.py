"""What becomes a phone number under the recommended policy and under ZITADEL's."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from humanuser import (
    DomainError,
    PhoneCountryRefused,
    PhoneEmpty,
    PhoneHasExtension,
    PhoneInvalid,
    PhoneKind,
    PhoneKindRefused,
    PhoneNotGlobal,
    PhoneNotPossible,
    PhoneNumber,
    PhoneRules,
    PhoneTooLong,
    Policy,
    parse_phone_number,
)

RECOMMENDED = Policy.recommended().phone
ZITADEL = Policy.zitadel().phone
RIGHT_TO_LEFT_MARK = "\N{RIGHT-TO-LEFT MARK}"


@pytest.mark.parametrize(
    ("text", "e164"),
    [
        ("+41791234567", "+41791234567"),
        ("tel:+41791234567", "+41791234567"),
        ("TEL:+41-79-123.45.67", "+41791234567"),
        ("+41 (0)79 123 45 67", "+41791234567"),
        (" +41 79 123 45 67 ", "+41791234567"),
        ("+390236618300", "+390236618300"),
        ("+15005550006", "+15005550006"),
        ("+14155552671", "+14155552671"),
    ],
)
def test_a_global_number_is_stored_in_e164(text: str, e164: str) -> None:
    assert parse_phone_number(text, RECOMMENDED).e164 == e164


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", PhoneEmpty),
        ("+41791234567".ljust(51), PhoneTooLong),
        ("PhoneNumber", PhoneInvalid),
        ("0791234567", PhoneNotGlobal),
        ("0041791234567", PhoneNotGlobal),
        ("(079) 123-45.67", PhoneNotGlobal),
        ("+41791234567;ext=5", PhoneHasExtension),
        ("+41791234567 ext. 5", PhoneHasExtension),
        ("+41791234567x5", PhoneHasExtension),
        ("+41791234567#5", PhoneHasExtension),
        ("+41791234567;phone-context=example.com", PhoneHasExtension),
        ("+4112", PhoneNotPossible),
        ("+4179123456789012", PhoneNotPossible),
        ("+41", PhoneInvalid),
        ("+", PhoneInvalid),
        ("++41791234567", PhoneInvalid),
        ("+99912345678", PhoneInvalid),
        ("+41/791234567", PhoneInvalid),
        ("+1800FLOWERS", PhoneInvalid),
        ("＋41791234567", PhoneInvalid),
        ("+٤١٧٩١٢٣٤٥٦٧", PhoneInvalid),
        ("+41791234567\n", PhoneInvalid),
        ("+41791234567\0", PhoneInvalid),
        (RIGHT_TO_LEFT_MARK + "+41791234567", PhoneInvalid),
        ("+4179123\ud8004567", PhoneInvalid),
    ],
)
def test_what_is_not_a_global_number_is_refused(text: str, refusal: type[DomainError]) -> None:
    with pytest.raises(DomainError) as refused:
        parse_phone_number(text, RECOMMENDED)

    assert type(refused.value) is refusal


def test_fifty_characters_are_not_too_many() -> None:
    assert parse_phone_number("+41791234567".ljust(50), RECOMMENDED).e164 == "+41791234567"


@pytest.mark.parametrize("kind", PhoneKind)
def test_a_kind_that_gets_no_sms_is_refused(kind: PhoneKind) -> None:
    examples = [
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        for region in phonenumbers.SUPPORTED_REGIONS
        if (number := phonenumbers.example_number_for_type(region, kind.type))
        and phonenumbers.number_type(number) == kind.type
    ]

    for text in examples:
        with pytest.raises(PhoneKindRefused):
            parse_phone_number(text, RECOMMENDED)

    assert examples


def test_only_countries_on_the_list_are_served_where_there_is_one() -> None:
    rules = PhoneRules(allowed_countries=frozenset({41}))

    assert parse_phone_number("+41791234567", rules) == PhoneNumber("+41791234567")
    with pytest.raises(PhoneCountryRefused):
        parse_phone_number("+4915123456789", rules)


@pytest.mark.parametrize(
    ("text", "e164"),
    [
        ("0711234567", "+41711234567"),
        ("0041711234567", "+41711234567"),
        ("071 123 45 67", "+41711234567"),
        ("+4171 123 45 67", "+41711234567"),
        ("004371 123 45 67", "+43711234567"),
        ("+4112", "+4112"),
        ("12", "+4112"),
        ("14155552671", "+4114155552671"),
        ("+41 00 000 00 00", "+41000000000"),
        ("+4179 123 45 67abc", "+41791234567222"),
        ("+41791234567 ext. 5", "+41791234567"),
        ("＋41791234567", "+41791234567"),
        ("+1-800-FLOWERS", "+18003569377"),
        ("abc+41791234567", "+41791234567"),
        ("+4179123456789012345", "+4179123456789012345"),
    ],
)
def test_zitadels_policy_reads_what_zitadel_reads(text: str, e164: str) -> None:
    assert parse_phone_number(text, ZITADEL).e164 == e164


@pytest.mark.parametrize(
    "text", ["PhoneNumber", "+411", "+41", "+", "0", "1", "+99912345678", "+41791234567890123456789"]
)
def test_zitadels_policy_refuses_what_cannot_be_parsed(text: str) -> None:
    with pytest.raises(PhoneInvalid):
        parse_phone_number(text, ZITADEL)


@given(st.text(alphabet=st.sampled_from("0123456789+-() .;x*e\0\n\u200f٤＋tel:")))
def test_whatever_is_typed_is_refused_or_has_one_spelling(text: str) -> None:
    for rules in (RECOMMENDED, ZITADEL):
        try:
            number = parse_phone_number(text, rules)
        except DomainError:
            continue
        assert number.e164.startswith("+")
        assert number.e164[1:].isdecimal()
        assert number.e164.isascii()
        assert parse_phone_number(number.e164, rules) == number


def test_a_printed_number_shows_its_last_two_digits_only() -> None:
    number = PhoneNumber("+41791234567")

    for printed in (str(number), repr(number), f"{number}", number.masked):
        assert "67" in printed
        assert "45" not in printed


@pytest.mark.parametrize("text", ["", "7", "67"])
def test_a_short_number_is_masked_without_an_error(text: str) -> None:
    assert PhoneNumber(text).masked == text
