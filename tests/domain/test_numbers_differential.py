"""A second opinion on numbers: ours against ``phonenumbers`` itself, over every region and every kind of number."""

from __future__ import annotations

from collections.abc import Callable

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from humanuser import (
    DomainError,
    PhoneCountryRefused,
    PhoneHasExtension,
    PhoneInvalid,
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
SWISS_ONLY = PhoneRules(allowed_countries=frozenset({41}))
REFUSED_TYPES = {  # stated again, on purpose
    PhoneNumberType.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE,
    PhoneNumberType.SHARED_COST,
    PhoneNumberType.PAGER,
    PhoneNumberType.UAN,
    PhoneNumberType.VOICEMAIL,
}
FULLWIDTH = str.maketrans("+0123456789", "＋０１２３４５６７８９")
GLOBAL_FORMATS = [PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966]

Number = phonenumbers.PhoneNumber
Verdict = PhoneNumber | type[DomainError] | None
"""A number, a refusal, or nothing to say."""

EXAMPLES: list[Number] = [
    example
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    for kind in PhoneNumberType.values()
    if (example := phonenumbers.example_number_for_type(region, kind))
]


def e164(number: Number) -> str:
    return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))


def ours(text: str, rules: PhoneRules) -> Verdict:
    try:
        return parse_phone_number(text, rules)
    except DomainError as refusal:
        return type(refusal)


def theirs(text: str) -> Verdict:
    """What ZITADEL takes *text* for: whatever the library makes of it in Switzerland."""
    try:
        return PhoneNumber(e164(phonenumbers.parse(text, "CH")))
    except phonenumbers.NumberParseException:
        return PhoneInvalid


def same(number: Number) -> Verdict:
    return PhoneNumber(e164(number))


def same_if_it_gets_sms(number: Number) -> Verdict:
    return PhoneKindRefused if phonenumbers.number_type(number) in REFUSED_TYPES else same(number)


def refused_as(refusal: type[DomainError]) -> Callable[[Number], Verdict]:
    return lambda _: refusal


def lengthened(number: Number) -> str:
    """*number* with zeros behind, up to the most digits that the library reads."""
    return f"+{number.country_code}{e164(number).removeprefix(f'+{number.country_code}').ljust(17, '0')}"


def shortened(number: Number) -> str:
    return f"+{number.country_code}12"


def disagreements(
    write: Callable[[Number], str], expected: Callable[[Number], Verdict], rules: PhoneRules
) -> dict[str, tuple[Verdict, Verdict]]:
    """What was said about each text, and what was expected, where they differ."""
    verdicts = {(text := write(number)): (ours(text, rules), expected(number)) for number in EXAMPLES}
    return {text: said for text, said in verdicts.items() if said[0] != said[1]}


def test_there_are_examples_of_every_kind_from_everywhere() -> None:
    kinds = {phonenumbers.number_type(number) for number in EXAMPLES}

    assert len(EXAMPLES) > 1000
    assert {number.country_code for number in EXAMPLES} == set(phonenumbers.COUNTRY_CODE_TO_REGION_CODE) - set(
        phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS
    )
    assert kinds > REFUSED_TYPES | {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE}


@pytest.mark.parametrize("form", GLOBAL_FORMATS, ids=PhoneNumberFormat.to_string)
def test_a_global_number_is_what_the_library_says_it_is(form: int) -> None:
    def write(number: Number) -> str:
        return str(phonenumbers.format_number(number, form))

    assert disagreements(write, same_if_it_gets_sms, RECOMMENDED) == {}
    assert disagreements(write, same, ZITADEL) == {}


def test_a_national_number_is_not_global_and_is_swiss_for_zitadel() -> None:
    def write(number: Number) -> str:
        return str(phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL))

    assert disagreements(write, refused_as(PhoneNotGlobal), RECOMMENDED) == {}
    assert disagreements(write, lambda number: theirs(write(number)), ZITADEL) == {}


@pytest.mark.parametrize(
    ("write", "recommended", "zitadel"),
    [
        pytest.param(lambda number: f"  {e164(number)} ", same_if_it_gets_sms, same, id="spaces around"),
        pytest.param(lambda number: " ".join(e164(number)), same_if_it_gets_sms, same, id="spaces between"),
        pytest.param(lambda number: f"TEL:{e164(number)}", same_if_it_gets_sms, same, id="tel:"),
        pytest.param(lambda number: f"a{e164(number)}", refused_as(PhoneInvalid), same, id="junk before"),
        pytest.param(lambda number: f"{e164(number)}?", refused_as(PhoneInvalid), same, id="junk behind"),
        pytest.param(lambda number: f"{e164(number)}\0", refused_as(PhoneInvalid), same, id="NUL behind"),
        pytest.param(lambda number: f"+{e164(number)}", refused_as(PhoneInvalid), same, id="two plus"),
        pytest.param(lambda number: e164(number).translate(FULLWIDTH), refused_as(PhoneInvalid), same, id="full width"),
        pytest.param(lambda number: f"＋{e164(number)[1:]}", refused_as(PhoneInvalid), same, id="full-width plus"),
        pytest.param(
            lambda number: f"+{number.country_code}1",
            refused_as(PhoneInvalid),
            refused_as(PhoneInvalid),
            id="one digit",
        ),
        pytest.param(lambda number: f"{e164(number)};ext=5", refused_as(PhoneHasExtension), same, id=";ext="),
        pytest.param(lambda number: f"{e164(number)};isub=5", refused_as(PhoneHasExtension), same, id=";isub="),
        pytest.param(lambda number: f"{e164(number)} ext. 5", refused_as(PhoneHasExtension), same, id="ext."),
        pytest.param(lambda number: f"{e164(number)}x5", refused_as(PhoneHasExtension), same, id="x"),
        pytest.param(lambda number: f"00{e164(number)[1:]}", refused_as(PhoneNotGlobal), same, id="00"),
        pytest.param(lambda number: e164(number).ljust(51), refused_as(PhoneTooLong), same, id="51 characters"),
    ],
)
def test_a_number_with_something_about_it_is_refused_for_what_it_is_or_read_as_zitadel_reads_it(
    write: Callable[[Number], str], recommended: Callable[[Number], Verdict], zitadel: Callable[[Number], Verdict]
) -> None:
    assert disagreements(write, recommended, RECOMMENDED) == {}
    assert disagreements(write, zitadel, ZITADEL) == {}


def test_a_number_without_its_plus_is_not_global_and_is_swiss_for_zitadel() -> None:
    def write(number: Number) -> str:
        return e164(number)[1:]

    assert disagreements(write, refused_as(PhoneNotGlobal), RECOMMENDED) == {}
    assert disagreements(write, lambda number: theirs(write(number)), ZITADEL) == {}


@pytest.mark.parametrize("write", [lengthened, shortened])
def test_a_length_that_no_number_of_the_country_has_is_not_possible_but_zitadel_does_not_mind(
    write: Callable[[Number], str],
) -> None:
    def expected(number: Number) -> Verdict:
        may_be_that_long = number.country_code in {62, 81} and write is lengthened  # Indonesia and Japan
        return theirs(write(number)) if may_be_that_long else PhoneNotPossible

    assert disagreements(write, expected, RECOMMENDED) == {}
    assert disagreements(write, lambda number: theirs(write(number)), ZITADEL) == {}


def test_a_country_that_is_not_served_is_told_after_the_kind() -> None:
    def expected(number: Number) -> Verdict:
        verdict = same_if_it_gets_sms(number)
        return verdict if verdict is PhoneKindRefused or number.country_code == 41 else PhoneCountryRefused

    assert disagreements(e164, expected, SWISS_ONLY) == {}
