"""Request bodies, read as protobuf's JSON is read."""

from __future__ import annotations

import json
from types import UnionType
from typing import Any, NoReturn, TypeVar, get_args

from pydantic import ValidationError

from humanuser_adapters.api.messages import Message
from humanuser_adapters.api.status import CallError, Code

AnyMessage = TypeVar("AnyMessage", bound=Message)

_WHITE_SPACE = " \t\r\n"
_LONG = 1000  # digits; Python refuses to read an integer of many more, though it is well-formed


class _Object(list[tuple[str, Any]]):
    """A JSON object with all its members, also those that are named twice."""


def decode(body: bytes, kind: type[AnyMessage], **overriding: str) -> AnyMessage:
    """The message in *body*; an empty body is an empty message, *overriding* fields win over the body's.

    Unknown members are ignored, what follows the first value is not read, ``null`` leaves a field unset. Raises
    ``CallError`` (InvalidArgument) for what is not well-formed UTF-8 and JSON, a field that is there twice and a wrong
    type.
    """
    members = _parse(body)
    if not isinstance(members, _Object):
        raise _malformed("the body is not an object")
    fields = _fields(members, kind)
    try:
        return kind.model_validate(fields).model_copy(update=overriding)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _malformed(f"invalid value for field {where}: {first['msg']}") from None


def _parse(body: bytes) -> object:
    try:
        text = body.decode().lstrip(_WHITE_SPACE)
        if not text:
            return _Object()
        decoder = json.JSONDecoder(object_pairs_hook=_Object, parse_int=_integer, parse_constant=_refuse)
        value, _ = decoder.raw_decode(text)
        if r"\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # an escaped half of a character has no UTF-8
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else "not well-formed"
        raise _malformed(f"the body is {reason}") from None
    return value


def _fields(members: _Object, kind: type[Message]) -> dict[str, Any]:
    """The members that *kind* knows, under the names of its fields."""
    names = {name: name for name in kind.model_fields} | {
        field.alias: name for name, field in kind.model_fields.items() if field.alias
    }
    fields: dict[str, Any] = {}
    for member, value in members:
        name = names.get(member)
        if name is None:
            continue
        if name in fields:
            raise _malformed(f"field {member} is there twice")
        fields[name] = _value(value, kind.model_fields[name].annotation)
    return {name: value for name, value in fields.items() if value is not None}


def _value(value: Any, annotation: Any) -> Any:  # whatever JSON holds and whatever a field is declared as
    if isinstance(value, _Object):
        kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, Message):
                return _fields(value, kind)
    return value


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < _LONG else float(digits)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _malformed(reason: str) -> CallError:
    return CallError(Code.INVALID_ARGUMENT, f"malformed request: {reason}")
