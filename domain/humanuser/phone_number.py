"""Phone numbers, and what it takes to become one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType, ValidationResult
from pydantic_core import core_schema

from humanuser.clean_text import require_str
from humanuser.errors import (
    PhoneCountryRefused,
    PhoneEmpty,
    PhoneHasExtension,
    PhoneInvalid,
    PhoneKindRefused,
    PhoneNotGlobal,
    PhoneNotPossible,
    PhoneTooLong,
)

if TYPE_CHECKING:
    from humanuser.policy import PhoneRules

LONGEST = 50  # characters, as the API page says

# RFC 3966, global-number-digits; spaces are how people write the visual separators.
_GLOBAL_NUMBER = re.compile(r"(?:tel:)?\+[-0-9 ().]*[0-9][-0-9 ().]*", re.IGNORECASE)
_EXTENSION = re.compile(r"[0-9 ]\s*(?:;\s*ext=|;|,|#|x|ext)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A phone number as it is stored.

    ``parse_phone_number`` makes one in E.164, such as ``+41791234567``. History may hold others: the past is
    never refused. Printed, only its last two digits show; the whole number is in ``e164``.
    """

    e164: str

    @property
    def masked(self) -> str:
        """The number for logs and errors: all but the last two digits hidden."""
        return "*" * max(len(self.e164) - 2, 0) + self.e164[-2:]

    def __str__(self) -> str:
        return self.masked

    def __repr__(self) -> str:
        return f"PhoneNumber({self.masked!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:  # pydantic's hook
        """In JSON, a number is its text."""
        text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema(strict=True))
        return core_schema.json_or_python_schema(
            json_schema=text,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), text]),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda number: number.e164),
        )


@lru_cache(maxsize=1024)  # parsing costs as much as reading an event, and people send the same form twice
def parse_phone_number(text: str, rules: PhoneRules) -> PhoneNumber:
    """The number that *text* stands for, in E.164.

    Raises ``PhoneEmpty``, or ``PhoneInvalid`` or one of its kinds; ``TypeError`` if it is not a string.
    """
    require_str("phone", text)
    if not text:
        raise PhoneEmpty
    if rules.global_only:
        _refuse_unless_global(text)
    try:
        number = phonenumbers.parse(text, rules.default_region)
    except phonenumbers.NumberParseException as error:
        raise PhoneInvalid from error
    kind = phonenumbers.number_type(number)
    if kind in rules.refused_types:
        raise PhoneKindRefused
    if rules.possible_only and kind == PhoneNumberType.UNKNOWN and not _is_possible(number):
        raise PhoneNotPossible
    if rules.allowed_countries is not None and number.country_code not in rules.allowed_countries:
        raise PhoneCountryRefused
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    if rules.global_only and not _reads_as_itself(e164, text):
        raise PhoneInvalid
    return PhoneNumber(e164)


def _is_possible(number: phonenumbers.PhoneNumber) -> bool:
    """Whether its country has numbers of this length; a number of a known kind is always possible."""
    return bool(phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE)


def _reads_as_itself(e164: str, text: str) -> bool:
    """Whether *e164*, read again, is the same number; out of a *text* with two trunk prefixes it would not be."""
    nothing_was_dropped = re.sub("[^0-9]", "", text) == e164[1:]
    return nothing_was_dropped or phonenumbers.format_number(phonenumbers.parse(e164), PhoneNumberFormat.E164) == e164


def _refuse_unless_global(text: str) -> None:
    if len(text) > LONGEST:
        raise PhoneTooLong
    if _GLOBAL_NUMBER.fullmatch(text.strip(" ")):
        return
    if _EXTENSION.search(text):
        raise PhoneHasExtension
    if re.fullmatch(r"[-0-9 ().]+", text):
        raise PhoneNotGlobal
    raise PhoneInvalid
