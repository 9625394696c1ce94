"""The numbers behind the rules: which phones, which codes, how often."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Self

from phonenumbers import PhoneNumberType
from pydantic import BaseModel, ConfigDict, Field

from humanuser.verification_code import CodeFormat

REMEMBERED_CODES = 100
"""How many of the newest codes a user's state remembers; no limit can count further."""

Count = Annotated[int, Field(ge=1)]
Span = Annotated[timedelta, Field(gt=timedelta(0))]


class PhoneKind(StrEnum):
    """Kinds of numbers that a policy can refuse, as the metadata of libphonenumber tells them."""

    PREMIUM_RATE = "premium_rate"
    SHARED_COST = "shared_cost"
    TOLL_FREE = "toll_free"
    PAGER = "pager"
    VOICEMAIL = "voicemail"
    UAN = "uan"

    @property
    def type(self) -> int:
        """The kind's number in ``phonenumbers``."""
        return int(getattr(PhoneNumberType, self.name))


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PhoneRules(_Value):
    """Which texts become phone numbers."""

    global_only: bool = True
    """Only a global number of RFC 3966: ``+…`` or ``tel:+…``, at most 50 characters, no extension."""
    possible_only: bool = True
    """Only a length that exists in the number's country."""
    default_region: str | None = None
    """The region (ISO 3166, such as ``CH``) of numbers without a country code; of use when not *global_only*."""
    refused_kinds: frozenset[PhoneKind] = frozenset(PhoneKind)
    allowed_countries: frozenset[int] | None = None
    """Country codes, such as 41; None allows all."""

    @cached_property
    def refused_types(self) -> frozenset[int]:
        """The refused kinds as ``phonenumbers`` numbers them."""
        return frozenset(kind.type for kind in self.refused_kinds)


class CodeLimit(_Value):
    """At most *count* codes for one user in any span of *within*."""

    count: int = Field(ge=1, le=REMEMBERED_CODES)
    within: Span


class Policy(_Value):
    """All numbers that the rules ask for. ``None`` means: no limit.

    Sources: NIST SP 800-63B (10 minutes; 100 failures, not reset by a new code), OWASP ASVS 5 (6.5, 6.6), and the
    common practice of verification services (5 attempts, 60 seconds between codes, 5 codes in 10 minutes).
    """

    phone: PhoneRules = PhoneRules()
    code: CodeFormat = CodeFormat()
    code_lifetime: Span = timedelta(minutes=10)
    attempts_per_code: Count | None = 5
    failures_in_a_row: Count | None = 100
    """After so many failures with one number no code proves it: an administrator sets it verified, or removes it."""
    pause_between_codes: Span | None = timedelta(seconds=60)
    """Between a code and the next one for the same number."""
    code_limits: tuple[CodeLimit, ...] = (
        CodeLimit(count=5, within=timedelta(minutes=10)),
        CodeLimit(count=10, within=timedelta(hours=1)),
        CodeLimit(count=20, within=timedelta(days=1)),
    )

    @cached_property
    def code_expiry_nanoseconds(self) -> int:
        """The lifetime of a code as its event holds it."""
        return self.code_lifetime // timedelta(microseconds=1) * 1000

    @classmethod
    def recommended(cls) -> Self:
        """The default."""
        return cls()

    @classmethod
    def zitadel(cls) -> Self:
        """What a ZITADEL server does: region CH, all kinds of numbers, 6 of A-Z0-9 for an hour, no limits."""
        return cls(
            phone=PhoneRules(global_only=False, possible_only=False, default_region="CH", refused_kinds=frozenset()),
            code=CodeFormat(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"),
            code_lifetime=timedelta(hours=1),
            attempts_per_code=None,
            failures_in_a_row=None,
            pause_between_codes=None,
            code_limits=(),
        )
