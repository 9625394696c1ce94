"""What fields may hold: the rules of the ``.proto`` files, in ZITADEL's words where it has the rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from google.protobuf.message import Message

from humanuser import is_clean_text
from humanuser_adapters.api.protos.rules_pb2 import Text, only_true, required, text
from humanuser_adapters.api.status import CallError, Code

Kind = Any
"""The descriptor of a message. Any: the library has two classes of them, with nothing in common."""
Field = Any
"""The descriptor of a field. Any: as above."""


def refuse_broken_rules(message: Message) -> None:
    """Raise the ``CallError`` of the first field of *message* that breaks its rule."""
    if found := _problem_of(message):
        raise CallError(Code.INVALID_ARGUMENT, found)


def text_rule(field: Field) -> Text | None:
    """The rule of a text field, if it has one."""
    options = field.GetOptions()
    rule: Text | None = options.Extensions[text] if options.HasExtension(text) else None
    return rule


def name_of(kind: Kind) -> str:
    """The name of a message without its package; those around it come first."""
    around = kind.containing_type
    return f"{name_of(around)}_{kind.name}" if around else str(kind.name)


def _problem_of(message: Message) -> str | None:
    for field, check in _checks(message.DESCRIPTOR):
        if found := check(message, getattr(message, field.name)):
            return f"invalid {name_of(message.DESCRIPTOR)}.{_camel(field)}: {found}"
    return None


Check = Callable[[Message, Any], str | None]
"""What is wrong with a field of a message, which has that value."""


@cache
def _checks(kind: Kind) -> Sequence[tuple[Field, Check]]:
    """The fields that have a rule."""
    return [(field, check) for field in kind.fields if (check := _check(field))]


def _check(field: Field) -> Check | None:
    name, options, rule = field.name, field.GetOptions(), text_rule(field)
    if field.message_type:
        is_required = options.Extensions[required]
        return lambda message, value: _embedded(value) if is_required or message.HasField(name) else None
    if rule:
        return lambda _, value: _problem_of_text(value, rule)
    if field.enum_type:
        known = field.enum_type.values_by_number
        return lambda _, value: None if value in known else "value must be one of the defined enum values"
    if options.Extensions[only_true]:
        return lambda message, value: "value must equal true" if message.HasField(name) and not value else None
    return None


def _embedded(message: Message) -> str | None:
    inner = _problem_of(message)
    return inner and f"embedded message failed validation | caused by: {inner}"


def _problem_of_text(value: str, rule: Text) -> str | None:
    if not rule.shortest <= len(value) <= rule.longest:
        if rule.shortest:
            return f"value length must be between {rule.shortest} and {rule.longest} runes, inclusive"
        return f"value length must be at most {rule.longest} runes"
    if value and not is_clean_text(value, longest=rule.longest):
        return "value must not contain control characters or marks of text direction"
    return None


def _camel(field: Field) -> str:
    return f"{field.json_name[0].upper()}{field.json_name[1:]}"
