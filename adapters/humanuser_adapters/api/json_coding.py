"""Messages as JSON: read as ZITADEL's gateway reads protobuf's JSON, which forgives some things and not others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, NoReturn, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from humanuser_adapters.api.rules import Field, Kind
from humanuser_adapters.api.status import CallError, Code

AnyMessage = TypeVar("AnyMessage", bound=Message)

_WHITE_SPACE = " \t\r\n"
_INT32 = 2**31
_TYPE_NAMES = {
    FieldDescriptor.TYPE_STRING: "text",
    FieldDescriptor.TYPE_BOOL: "true or false",
    FieldDescriptor.TYPE_MESSAGE: "object",
    FieldDescriptor.TYPE_ENUM: "name or number of the enumeration",
}
"""The types that fields of requests have."""
_LONG = 1000  # digits; Python refuses to read an integer of many more, though it is well-formed


class _Object(list[tuple[str, Any]]):
    """A JSON object with all its members, also those that are named twice."""

    __slots__ = ()


def decode(body: bytes, kind: type[AnyMessage], **overriding: str) -> AnyMessage:
    """The message in *body*; an empty body is an empty message, *overriding* fields win over the body's.

    Unknown members are ignored, what follows the first value is not read, ``null`` leaves a field unset. Raises
    ``CallError`` (InvalidArgument) for what is not well-formed UTF-8 and JSON, a field that is there twice and a wrong
    type.
    """
    members = _parse(body)
    if not isinstance(members, _Object):
        raise _malformed("the body is not an object")
    return kind(**_fields(members, kind.DESCRIPTOR) | overriding)


def encode(message: Message) -> bytes:
    """The message as JSON: camelCase, empty fields left out, 64-bit integers as texts."""
    return json.dumps(json_format.MessageToDict(message), ensure_ascii=False, separators=(",", ":")).encode()


def _parse(body: bytes) -> object:
    try:
        text = body.decode().lstrip(_WHITE_SPACE)
        if not text:
            return _Object()
        value, _ = _DECODER.raw_decode(text)
        if r"\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # an escaped half of a character has no UTF-8
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else "not well-formed"
        raise _malformed(f"the body is {reason}") from None
    return value


def _fields(members: _Object, kind: Kind, within: str = "") -> dict[str, Any]:
    """The members that *kind* knows, under the names of its fields."""
    names = _names(kind)
    seen: set[str] = set()
    fields: dict[str, Any] = {}
    for member, value in members:
        if (field := names.get(member)) is None:
            continue
        if field.name in seen:
            raise _malformed(f"field {member} is there twice")
        seen.add(field.name)
        if value is not None:
            if choice := field.containing_oneof:
                if choice.full_name in seen:
                    raise _malformed(f"field {member} excludes another that is there")
                seen.add(choice.full_name)
            fields[field.name] = _value(value, field, f"{within}{field.name}")
    return fields


@cache
def _names(kind: Kind) -> Mapping[str, Field]:
    return {name: field for field in kind.fields for name in (field.name, field.json_name)}


def _value(value: Any, field: Field, where: str) -> Any:  # what JSON and messages can hold
    match field.type, value:
        case FieldDescriptor.TYPE_STRING, str():
            return value
        case FieldDescriptor.TYPE_BOOL, bool():
            return value
        case FieldDescriptor.TYPE_MESSAGE, _Object():
            return _fields(value, field.message_type, f"{where}.")
        case FieldDescriptor.TYPE_ENUM, str() if value in field.enum_type.values_by_name:
            return value
        case FieldDescriptor.TYPE_ENUM, int() if not isinstance(value, bool) and -_INT32 <= value < _INT32:
            return value
    raise _malformed(f"invalid value for field {where}: it is no {_TYPE_NAMES[field.type]}")


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < _LONG else float(digits)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_int=_integer, parse_constant=_refuse)


def _malformed(reason: str) -> CallError:
    return CallError(Code.INVALID_ARGUMENT, f"malformed request: {reason}")
