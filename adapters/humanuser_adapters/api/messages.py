"""Requests and responses, with ZITADEL's names. Their JSON is protobuf's: camelCase, empty fields left out."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from humanuser import LONGEST_TEXT, Details, HumanUserAdded, is_clean_text
from humanuser_adapters.api.status import CallError, Code
from humanuser_projections import UserPhone

OmitEmpty = Field(exclude_if=operator.not_)


@dataclass(frozen=True, slots=True)
class Text:
    """The rule of a text field: so many characters, none of them a control character or a mark of direction."""

    shortest: int = 0
    longest: int = LONGEST_TEXT

    def problem(self, value: str) -> str | None:
        """What is wrong with *value*, in the words of ZITADEL's validation where it has the rule."""
        if not self.shortest <= len(value) <= self.longest:
            if self.shortest:
                return f"value length must be between {self.shortest} and {self.longest} runes, inclusive"
            return f"value length must be at most {self.longest} runes"
        if value and not is_clean_text(value, longest=self.longest):
            return "value must not contain control characters or marks of text direction"
        return None

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "minLength": self.shortest, "maxLength": self.longest}


class Message(BaseModel):
    """A protobuf message, as far as JSON shows it."""

    model_config = ConfigDict(
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    def check(self) -> None:
        """Raise the ``CallError`` of the first field that breaks its rule."""
        if problem := self.problem(type(self).__name__):
            raise CallError(Code.INVALID_ARGUMENT, problem)

    def problem(self, message_name: str) -> str | None:
        """What is wrong with the first field that breaks its rule, if one does."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            where = f"invalid {message_name}.{to_camel(name)[0].upper()}{to_camel(name)[1:]}"
            if isinstance(value, Message):
                if problem := value.problem(f"{message_name}_{type(value).__name__}"):
                    return f"{where}: embedded message failed validation | caused by: {problem}"
            elif problem := next(
                (rule.problem(value) for rule in field.metadata if isinstance(rule, Text) and value is not None), None
            ):
                return f"{where}: {problem}"
        return None


Id = Annotated[str, Text(1)]
Phone = Annotated[str, Text(1, 50), Field(description="A global number of RFC 3966.", examples=["+41791234567"])]


class UserRequest(Message):
    """A request about one user, who is named in the path."""

    user_id: Id = ""


class GetHumanPhoneRequest(UserRequest):
    """Asks for a user's phone."""


class UpdateHumanPhoneRequest(UserRequest):
    """A user's new phone."""

    phone: Phone = ""
    is_phone_verified: bool = False


class RemoveHumanPhoneRequest(UserRequest):
    """Asks for a user to have no phone."""


class ResendHumanPhoneVerificationRequest(UserRequest):
    """Asks for a new code."""


GENDERS = ("GENDER_UNSPECIFIED", "GENDER_FEMALE", "GENDER_MALE", "GENDER_DIVERSE")


def _gender(value: object) -> object:
    return GENDERS.index(value) if isinstance(value, str) and value in GENDERS else value


class Profile(Message):
    """A person's names."""

    first_name: Annotated[str, Text(1)] = ""
    last_name: Annotated[str, Text(1)] = ""
    nick_name: Annotated[str, Text()] = ""
    display_name: Annotated[str, Text()] = ""
    preferred_language: Annotated[str, Text(0, 10)] = ""
    gender: Annotated[
        int, BeforeValidator(_gender), Field(ge=0, lt=len(GENDERS)), WithJsonSchema({"type": "string", "enum": GENDERS})
    ] = 0


class Email(Message):
    """A mail address, kept as it is."""

    email: Annotated[str, Text()] = ""


class AddedPhone(Message):
    """The phone that a new user has."""

    phone: Phone = ""
    is_phone_verified: bool = False


class AddHumanUserRequest(Message):
    """A new user."""

    user_name: Annotated[str, Text(1)] = ""
    profile: Profile = Profile()
    email: Email = Email()
    phone: AddedPhone | None = None

    def to_event(self) -> HumanUserAdded:
        """What is to be stored of the user, but for the phone."""
        return HumanUserAdded(
            user_name=self.user_name,
            first_name=self.profile.first_name,
            last_name=self.profile.last_name,
            nick_name=self.profile.nick_name,
            display_name=self.profile.display_name or f"{self.profile.first_name} {self.profile.last_name}",
            preferred_language=self.profile.preferred_language or "und",
            gender=self.profile.gender,
            email=self.email.email,
        )


class GetMyPhoneRequest(Message):
    """Asks for the caller's phone."""


class SetMyPhoneRequest(Message):
    """The caller's new phone."""

    phone: Phone = ""


class VerifyMyPhoneRequest(Message):
    """The code that proves the caller's phone."""

    code: Annotated[str, Text(1)] = ""


class ResendMyPhoneVerificationRequest(Message):
    """Asks for a new code for the caller."""


class RemoveMyPhoneRequest(Message):
    """Asks for the caller to have no phone."""


def _rfc3339(moment: datetime) -> str:
    """UTC with 0, 3 or 6 digits of a second, as protobuf writes timestamps."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text.removesuffix("000").removesuffix(".000") + "Z"


Timestamp = Annotated[datetime, PlainSerializer(_rfc3339), WithJsonSchema({"type": "string", "format": "date-time"})]
Uint64 = Annotated[int, PlainSerializer(str), WithJsonSchema({"type": "string", "format": "uint64"})]


class ObjectDetails(Message):
    """Where the user's history stands."""

    sequence: Uint64
    creation_date: Timestamp
    change_date: Timestamp
    resource_owner: str

    @classmethod
    def of(cls, details: Details) -> Self:
        """*details* as the API shows them."""
        return cls(
            sequence=details.sequence,
            creation_date=details.creation_date,
            change_date=details.change_date,
            resource_owner=details.resource_owner,
        )


class DetailsResponse(Message):
    """What a command answers."""

    details: ObjectDetails


class AddHumanUserResponse(DetailsResponse):
    """The new user's id."""

    user_id: str


class ShownPhone(Message):
    """A user's phone."""

    phone: Annotated[str, OmitEmpty] = ""
    is_phone_verified: Annotated[bool, OmitEmpty] = False

    @classmethod
    def of(cls, phone: UserPhone) -> Self:
        """*phone* as the API shows it."""
        return cls(phone=phone.phone.e164 if phone.phone else "", is_phone_verified=phone.verified)


class PhoneResponse(DetailsResponse):
    """A user's phone; without fields if there is none."""

    phone: ShownPhone


def json_of(message: Message) -> dict[str, Any]:
    """The message as it goes over the wire."""
    return message.model_dump(mode="json")
