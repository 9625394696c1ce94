"""Values, events and histories of every kind, drawn by Hypothesis: numbers, codes, events, and what is made of them."""

from __future__ import annotations

import base64
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, get_args

import phonenumbers
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from phonenumbers import PhoneNumberFormat, PhoneNumberType, ValidationResult

from humanuser.errors import DomainError
from humanuser.events import (
    Event,
    Fact,
    GeneratorInfo,
    HumanUserAdded,
    HumanUserSelfRegistered,
    PhoneChanged,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerified,
    ProfileChanged,
    Recorded,
    UnknownEvent,
)
from humanuser.human_user import HumanUser
from humanuser.phone_number import PhoneNumber
from humanuser.policy import PhoneKind, Policy
from humanuser.testing.histories import AT
from humanuser.verification_code import CodeFormat, SealedCode, VerificationCode

USER = "user1"
"""To whom all histories happen."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision with what it is told, to be made about any user."""

    method: Callable[..., list[Event]]
    told: Mapping[str, object]
    timed: bool
    """Whether it asks for the time and the policy."""

    def __call__(self, user: HumanUser, *, now: datetime, policy: Policy) -> list[Event]:
        """What *user* decides. Raises what the decision refuses."""
        circumstances = {"now": now, "policy": policy} if self.timed else {}
        return self.method(user, **self.told, **circumstances)


_NASTY = (
    *"\0\t\n+-+().:;*#/",
    "\N{NO-BREAK SPACE}",
    "\N{RIGHT-TO-LEFT MARK}",
    "\N{RIGHT-TO-LEFT OVERRIDE}",
    "\N{ZERO WIDTH SPACE}",
    "\N{FULLWIDTH PLUS SIGN}",
    "\ud800",
)
_DIGITS_OF_THE_WORLD = (
    "\N{ARABIC-INDIC DIGIT FOUR}",
    "\N{EXTENDED ARABIC-INDIC DIGIT FOUR}",
    "\N{DEVANAGARI DIGIT ONE}",
    "\N{FULLWIDTH DIGIT SEVEN}",
    "\N{MATHEMATICAL DOUBLE-STRUCK DIGIT NINE}",
    "\N{SUPERSCRIPT TWO}",
    "\N{VULGAR FRACTION ONE HALF}",
)
_EXTENSIONS = (";ext=5", " ext. 5", "x5", "#5", ",5", ";phone-context=example.com", ";isub=1")


def phone_numbers() -> SearchStrategy[PhoneNumber]:
    """Valid numbers of every region and every kind."""
    return st.builds(_valid_variation, _examples(), st.text(string.digits, max_size=5)).map(PhoneNumber)


def typed_phones(number: PhoneNumber | None = None) -> SearchStrategy[str]:
    """What a person might type for *number*, or for any valid number: spaces, dashes, dots, brackets, ``tel:``."""
    numbers = phone_numbers() if number is None else st.just(number)
    return numbers.flatmap(_spellings)


def possible_phones() -> SearchStrategy[str]:
    """Global numbers, valid or not, that their country could have, of kinds that get SMS."""
    return st.builds(_variation, _examples(), st.text(string.digits, max_size=9)).filter(_may_get_sms)


def impossible_phones() -> SearchStrategy[str]:
    """Global numbers that are shorter or longer than any of their country."""
    too_short = st.builds("+{}{}".format, _country_codes(), st.text("123456789", min_size=2, max_size=4))
    too_long = st.builds("{}{}".format, _examples(), st.text(string.digits, min_size=3, max_size=5))
    readable = len("+") + 17  # characters that the library reads in any country
    return (too_short | too_long).map(lambda text: text[:readable]).filter(_is_impossible)


def phone_texts() -> SearchStrategy[str]:
    """Anything at all in place of a number: digits of other scripts, marks of direction, NUL, extensions, letters."""
    pieces = st.one_of(
        st.sampled_from([*_NASTY, *_DIGITS_OF_THE_WORLD, *_EXTENSIONS, "tel:", "00"]),
        st.text(string.digits, max_size=15),
        st.text(string.ascii_letters, max_size=8),
        st.text(max_size=5),
    )
    return st.lists(pieces, max_size=6).map("".join) | st.builds("{}{}{}".format, pieces, typed_phones(), pieces)


def codes(code_format: CodeFormat | None = None) -> SearchStrategy[VerificationCode]:
    """Codes of *code_format*, or of either ready-made policy."""
    formats = [code_format] if code_format else [Policy.recommended().code, Policy.zitadel().code]
    texts = [st.text(one.alphabet, min_size=one.length, max_size=one.length) for one in formats]
    return st.one_of(texts).map(VerificationCode)


def sealed_codes() -> SearchStrategy[SealedCode]:
    """Codes as ours or another vault may have sealed them; no key opens them."""
    return st.builds(
        SealedCode,
        crypto_type=st.sampled_from([0, 0, 0, 1, -1]),
        algorithm=st.sampled_from(["aes", "AES-256-GCM"]) | st.text(),
        key_id=st.sampled_from(["key1", "userKey"]) | st.text(),
        crypted=st.binary(max_size=40).map(base64.b64encode).map(bytes.decode) | st.text(),
    )


def codes_added() -> SearchStrategy[PhoneVerificationCodeAdded]:
    """New codes: ours, a verification service's; short-lived, everlasting, dead from the start."""
    return st.builds(
        PhoneVerificationCodeAdded,
        code=st.none() | sealed_codes(),
        expiry=_expiries(),
        code_returned=st.booleans(),
        generator_id=_texts(),
        trigger_origin=_texts(),
    )


def profiles(kind: type[HumanUserAdded] = HumanUserAdded) -> SearchStrategy[HumanUserAdded]:
    """Users who come to be, with a phone or without."""
    return st.builds(
        kind,
        user_name=_texts(),
        first_name=_texts(),
        last_name=_texts(),
        nick_name=_texts(),
        display_name=_texts(),
        preferred_language=st.sampled_from(["und", "de", "ar"]) | st.text(),
        gender=st.integers(),
        email=_texts(),
        phone=st.none() | _stored_numbers(),
    )


def events() -> SearchStrategy[Event]:
    """Whatever can have happened to a user, with whatever in it."""
    return st.one_of(
        profiles(),
        profiles(HumanUserSelfRegistered),
        st.builds(ProfileChanged, preferred_language=st.none() | _texts()),
        st.builds(PhoneChanged, phone=_stored_numbers()),
        codes_added(),
        st.builds(
            PhoneVerificationCodeSent, generator_info=st.builds(GeneratorInfo, id=_texts(), verification_id=_texts())
        ),
        *map(st.just, _events_without_fields()),
        st.builds(UnknownEvent, _unknown_types(), st.binary(max_size=20)),
    )


def moments() -> SearchStrategy[datetime]:
    """Moments around ``AT``, before it and after, and some that are far away."""
    far = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - as it wants
    return _pauses().map(AT.__add__) | _pauses().map(AT.__sub__) | far


def histories(
    *, first: SearchStrategy[Event] | None = None, min_size: int = 0, max_size: int = 12
) -> SearchStrategy[list[Recorded]]:
    """Histories in any order, legal or not, with clocks that jump; they begin with *first*, if it is given."""
    later = st.lists(_happened(events()), min_size=min_size, max_size=max_size)
    if first is None:
        return later.map(_record)
    return st.builds(lambda one, others: _record([one, *others]), _happened(first), later)


def legal_histories(policy: Policy | None = None, *, max_commands: int = 10) -> SearchStrategy[list[Recorded]]:
    """Histories that the rules allow under *policy*, or under either ready-made one: each event was decided."""
    policies = [policy] if policy else [Policy.recommended(), Policy.zitadel()]
    command = st.tuples(_pauses(), _creators(), decisions())
    begin = st.tuples(st.just(timedelta(0)), _creators(), _additions())
    return st.builds(_decided, st.sampled_from(policies), begin, st.lists(command, max_size=max_commands))


def decisions() -> SearchStrategy[Decision]:
    """Any decision about a user. Numbers and codes come again, so that those that are the same meet."""
    number = st.sampled_from(_example_numbers()[:3]).map(PhoneNumber) | phone_numbers()
    code = st.sampled_from(["123456", "ABC123"]).map(VerificationCode)
    new_code = codes_added()
    sent = st.just(PhoneVerificationCodeSent())
    return st.one_of(
        _additions(),
        _decision(HumanUser.change_phone, phone=number, code=new_code, timed=True),
        _decision(HumanUser.set_verified_phone, phone=number),
        _decision(HumanUser.verify_phone, given=code, pending=code | st.none(), timed=True),
        _decision(HumanUser.add_code, code=new_code, timed=True),
        _decision(HumanUser.replace_code, code=new_code, timed=True),
        _decision(HumanUser.record_code_sent, sent=sent, code_sequence=st.integers(1, 9)),
        _decision(_record_newest_code_sent, sent=sent),
        _decision(HumanUser.remove_phone),
    )


def _examples() -> SearchStrategy[str]:
    return st.sampled_from(_example_numbers())


@cache
def _example_numbers() -> tuple[str, ...]:
    """The example numbers of every region and every kind, in E.164."""
    numbers = {
        phonenumbers.format_number(number, PhoneNumberFormat.E164)
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in PhoneNumberType.values()
        if (number := phonenumbers.example_number_for_type(region, kind))
    }
    return tuple(sorted(numbers))


def _country_codes() -> SearchStrategy[int]:
    return st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE))


def _variation(number: str, ending: str) -> str:
    """*number* with another *ending*, as long as before, of the same country."""
    kept = max(len(number) - len(ending), len("+123"))
    return number[:kept] + ending[: len(number) - kept]


def _valid_variation(number: str, ending: str) -> str:
    varied = _variation(number, ending)
    parsed = phonenumbers.parse(varied)
    is_itself = varied == phonenumbers.format_number(parsed, PhoneNumberFormat.E164)  # and not a trunk prefix longer
    return varied if is_itself and phonenumbers.is_valid_number(parsed) else number


def _may_get_sms(text: str) -> bool:
    number = phonenumbers.parse(text)
    refused = {kind.type for kind in PhoneKind}
    length = phonenumbers.is_possible_number_with_reason(number)
    possible = length == ValidationResult.IS_POSSIBLE and phonenumbers.number_type(number) not in refused
    return possible and _reads_as_itself(number)


def _reads_as_itself(number: phonenumbers.PhoneNumber) -> bool:
    """Whether its E.164, read again, is the same number; with a zero too many, for a trunk prefix, it is not."""
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return bool(phonenumbers.format_number(phonenumbers.parse(e164), phonenumbers.PhoneNumberFormat.E164) == e164)


def _is_impossible(text: str) -> bool:
    return not phonenumbers.is_possible_number(phonenumbers.parse(text))


def _spellings(number: PhoneNumber) -> SearchStrategy[str]:
    return st.builds(
        _spelling,
        st.just(number.e164),
        prefix=st.sampled_from(["", " ", "tel:", "TEL:"]),
        separator=st.sampled_from(["", " ", "-", "."]),
        group=st.integers(2, 5),
        bracketed=st.booleans(),
    )


def _spelling(number: str, *, prefix: str, separator: str, group: int, bracketed: bool) -> str:
    """*number* behind *prefix*, in groups of so many digits, of which the first may be in brackets."""
    country_code = f"+{phonenumbers.parse(number).country_code}"
    digits = number.removeprefix(country_code)
    first, *others = [digits[start : start + group] for start in range(0, len(digits), group)]
    return prefix + separator.join([country_code, f"({first})" if bracketed else first, *others])


def _stored_numbers() -> SearchStrategy[PhoneNumber]:
    """Numbers as history holds them: some were never parsed by our rules."""
    return phone_numbers() | st.text(min_size=1, max_size=10).map(PhoneNumber)


def _texts() -> SearchStrategy[str]:
    return st.text(max_size=4)


def _expiries() -> SearchStrategy[int]:
    """Nanoseconds: the usual, the extreme, any."""
    return (
        st.sampled_from([600_000_000_000, 3_600_000_000_000])
        | st.sampled_from([0, 1, -1, 2**63, -(2**63), 10**40])
        | st.integers()
    )


def _events_without_fields() -> list[Event]:
    return [fact() for fact in get_args(Event) if issubclass(fact, Fact) and not fact.model_fields]


def _unknown_types() -> SearchStrategy[str]:
    facts = [fact for fact in get_args(Event) if issubclass(fact, Fact)]
    known = {name for fact in facts for name in (fact.type, *fact.legacy_types)}
    return st.sampled_from(["user.machine.added", "user.human.avatar.added"]) | st.text().filter(
        lambda name: name not in known
    )


def _creators() -> SearchStrategy[str]:
    """The user, or an administrator."""
    return st.sampled_from([USER, "admin"])


def _pauses() -> SearchStrategy[timedelta]:
    usual = [timedelta(0), timedelta(seconds=1), timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1)]
    return st.sampled_from(usual) | st.timedeltas(timedelta(0), timedelta(days=2))


def _happened(of: SearchStrategy[Event]) -> SearchStrategy[tuple[Event, datetime, str]]:
    return st.tuples(of, moments(), _creators())


def _record(happened: Iterable[tuple[Event, datetime, str]]) -> list[Recorded]:
    return [_recorded(sequence, *one) for sequence, one in enumerate(happened, 1)]


def _recorded(sequence: int, event: Event, at: datetime, creator: str) -> Recorded:
    return Recorded(
        instance_id="default",
        user_id=USER,
        sequence=sequence,
        created_at=at,
        creator=creator,
        resource_owner="org1",
        event=event,
        position=sequence,
    )


def _additions() -> SearchStrategy[Decision]:
    profile = st.builds(HumanUserAdded, user_name=st.just("ada"), phone=st.none() | phone_numbers())
    return _decision(HumanUser.add, profile=profile, proof=codes_added() | st.just(PhoneVerified()))


def _record_newest_code_sent(user: HumanUser, sent: PhoneVerificationCodeSent) -> list[Event]:
    newest = user.pending_code.sequence if user.pending_code else user.sequence
    return user.record_code_sent(sent, code_sequence=newest)


def _decision(
    method: Callable[..., list[Event]], *, timed: bool = False, **told: SearchStrategy[Any]
) -> SearchStrategy[Decision]:
    """*method* of a user, told what is drawn. Any: its arguments are of many kinds."""
    return st.fixed_dictionaries(told).map(lambda drawn: Decision(method, drawn, timed))


def _decided(
    policy: Policy, begin: tuple[timedelta, str, Decision], commands: Sequence[tuple[timedelta, str, Decision]]
) -> list[Recorded]:
    """What was recorded of the commands; those that the rules refuse change nothing."""
    now, user, recorded = AT, HumanUser(), list[Recorded]()
    for pause, creator, decision in [begin, *commands]:
        now += pause
        with suppress(DomainError):
            for event in decision(user, now=now, policy=policy):
                recorded.append(_recorded(len(recorded) + 1, event, now, creator))
                user = user.evolve(recorded[-1])
    return recorded
