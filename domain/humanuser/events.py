"""What has happened to a human user. Every class here is stored under its ``type``, for ever."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from humanuser.phone_number import PhoneNumber
from humanuser.utc import as_utc
from humanuser.verification_code import SealedCode

OmitEmpty = Field(exclude_if=operator.not_)
"""Marks a field that is not stored when it is empty, as ZITADEL stores it."""


class _Payload(BaseModel):
    """Fields as ZITADEL names them. Those that are stored and that we do not know are ignored."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Fact(_Payload):
    """Something that happened."""

    type: ClassVar[str]
    legacy_types: ClassVar[tuple[str, ...]] = ()
    """Names under which older releases of ZITADEL stored the same fact."""


def _none_if_empty(value: object) -> object:
    return value or None


class HumanUserAdded(Fact):
    """There is a user, who is a person; the phone, if there is one, is not verified."""

    type = "user.human.added"
    legacy_types = ("user.added",)

    user_name: str
    first_name: Annotated[str, OmitEmpty] = ""
    last_name: Annotated[str, OmitEmpty] = ""
    nick_name: Annotated[str, OmitEmpty] = ""
    display_name: Annotated[str, OmitEmpty] = ""
    preferred_language: str = "und"
    gender: Annotated[int, OmitEmpty] = 0
    email: Annotated[str, OmitEmpty] = ""
    phone: Annotated[PhoneNumber | None, BeforeValidator(_none_if_empty), OmitEmpty] = None


class HumanUserSelfRegistered(HumanUserAdded):
    """There is a user, a person who registered without an administrator."""

    type = "user.human.selfregistered"
    legacy_types = ("user.selfregistered",)


class ProfileChanged(Fact):
    """The user has another name or language; what is not given stays."""

    type = "user.human.profile.changed"
    legacy_types = ("user.profile.changed",)

    preferred_language: Annotated[str | None, BeforeValidator(_none_if_empty), OmitEmpty] = None


class PhoneChanged(Fact):
    """The user has another phone number, which nobody has verified yet."""

    type = "user.human.phone.changed"
    legacy_types = ("user.phone.changed",)

    phone: PhoneNumber


class PhoneVerificationCodeAdded(Fact):
    """A code is to prove the user's phone number; older codes are worth nothing any more."""

    type = "user.human.phone.code.added"
    legacy_types = ("user.phone.code.added",)

    code: Annotated[SealedCode | None, OmitEmpty] = None
    """None if somebody else, such as a verification service, knows the code."""
    expiry: Annotated[int, OmitEmpty] = 0
    """Nanoseconds from the event's time; 0 never expires."""
    code_returned: Annotated[bool, Field(alias="code_returned", exclude_if=operator.not_)] = False
    """The caller was given the code, so no SMS goes out."""
    generator_id: Annotated[str, OmitEmpty] = ""
    trigger_origin: Annotated[str, OmitEmpty] = ""

    @property
    def lifetime(self) -> timedelta | None:
        """How long the code lives; None: it does not expire."""
        if not self.expiry:
            return None
        return timedelta(microseconds=max(-(2**63), min(self.expiry, 2**63)) // 1000)


class GeneratorInfo(_Payload):
    """Which verification service sent a code, if one did."""

    id: Annotated[str, OmitEmpty] = ""
    verification_id: Annotated[str, OmitEmpty] = ""


class PhoneVerificationCodeSent(Fact):
    """A provider accepted the SMS with the newest code."""

    type = "user.human.phone.code.sent"
    legacy_types = ("user.phone.code.sent",)

    generator_info: GeneratorInfo = GeneratorInfo()


class PhoneVerified(Fact):
    """The user's phone number is proven."""

    type = "user.human.phone.verified"
    legacy_types = ("user.phone.verified",)


class PhoneVerificationFailed(Fact):
    """Somebody gave a code that did not prove the phone number."""

    type = "user.human.phone.verification.failed"
    legacy_types = ("user.phone.verification.failed",)


class PhoneRemoved(Fact):
    """The user has no phone number."""

    type = "user.human.phone.removed"
    legacy_types = ("user.phone.removed",)


class InitialisationCodeAdded(Fact):
    """The user has yet to take up the account."""

    type = "user.human.initialization.code.added"
    legacy_types = ("user.initialization.code.added",)


class UserInitialised(Fact):
    """The user has taken up the account."""

    type = "user.human.initialization.check.succeeded"
    legacy_types = ("user.initialization.check.succeeded",)


class UserLocked(Fact):
    """The user cannot sign in until unlocked."""

    type = "user.locked"


class UserUnlocked(Fact):
    """The user can sign in again."""

    type = "user.unlocked"


class UserDeactivated(Fact):
    """An administrator has put the user out of use."""

    type = "user.deactivated"


class UserReactivated(Fact):
    """An administrator has put the user back into use."""

    type = "user.reactivated"


class UserRemoved(Fact):
    """There is no such user any more."""

    type = "user.removed"


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """Something we have no word for. It is kept as it was stored, and counts in the sequence."""

    type: str
    payload: bytes = field(repr=False)


Event = (
    HumanUserAdded
    | HumanUserSelfRegistered
    | ProfileChanged
    | PhoneChanged
    | PhoneVerificationCodeAdded
    | PhoneVerificationCodeSent
    | PhoneVerified
    | PhoneVerificationFailed
    | PhoneRemoved
    | InitialisationCodeAdded
    | UserInitialised
    | UserLocked
    | UserUnlocked
    | UserDeactivated
    | UserReactivated
    | UserRemoved
    | UnknownEvent
)
"""Everything that can have happened to a user."""


class _Envelope(NamedTuple):
    instance_id: str
    user_id: str
    sequence: int
    created_at: datetime
    creator: str
    resource_owner: str
    event: Event
    revision: int
    position: int
    imported: bool


class Recorded(_Envelope):
    """An event in its envelope: to whom, in which order, when and by whom.

    ``created_at`` is aware, in UTC, and the same for all events of a command. ``sequence`` is the place in the user's
    history, ``position`` that in the whole log, both from 1. ``creator`` is the id of the user or service that caused
    the event, ``resource_owner`` that of the organization which the user belongs to. ``revision`` is the version of the
    aggregate type; ZITADEL's user is at 2. What is ``imported`` happened elsewhere and was brought here since; nobody
    is told of it any more.

    It is a tuple, because a replay makes one for every event: ``_make`` takes the columns as they come.
    """

    __slots__ = ()

    def __new__(
        cls,
        *,
        instance_id: str,
        user_id: str,
        sequence: int,
        created_at: datetime,
        creator: str,
        resource_owner: str,
        event: Event,
        revision: int = 2,
        position: int = 0,
        imported: bool = False,
    ) -> Self:
        """All by name: some could be swapped. Raises ``ValueError`` if *created_at* has no time zone."""
        created_at = as_utc(created_at)
        return cls._make(
            (instance_id, user_id, sequence, created_at, creator, resource_owner, event, revision, position, imported)
        )

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]:  # Any: as the pickle protocol has it
        """What pickle and copy give to ``__new__``."""
        return (), self._asdict()
