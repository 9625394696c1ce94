"""Events as JSON. The registry is closed: a stored name chooses among the classes here and nothing else."""

from __future__ import annotations

from typing import get_args

from pydantic import ValidationError

from humanuser import Event, Fact, UnknownEvent

_FACTS: tuple[type[Fact], ...] = tuple(fact for fact in get_args(Event) if issubclass(fact, Fact))

REGISTRY: dict[str, type[Fact]] = {name: fact for fact in _FACTS for name in (fact.type, *fact.legacy_types)}
"""From the stored name, today's or an older one, to the class."""


def payload_of(event: Event) -> bytes:
    """The payload under which *event* is stored; empty if it says nothing beyond its name."""
    if isinstance(event, UnknownEvent):
        return event.payload
    if not type(event).model_fields:
        return b""
    return event.__pydantic_serializer__.to_json(event)


def event_of(stored_type: str, payload: str | bytes | None) -> Event:
    """The event stored as *payload* under *stored_type*.

    Raises ``ValueError`` if the payload is not what the type needs; it tells the fields, not what they hold.
    """
    fact = REGISTRY.get(stored_type)
    if fact is None:
        return UnknownEvent(stored_type, payload.encode() if isinstance(payload, str) else payload or b"")
    try:
        event: Event = fact.__pydantic_validator__.validate_json(payload or "{}")
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        where = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'payload'}: {problem['msg']}" for problem in problems
        )
        raise ValueError(f"{stored_type}: {where}") from None
    return event
