"""Events as JSON. The registry is closed: a stored name chooses among the classes here and nothing else."""

from __future__ import annotations

from typing import get_args

from pydantic import ValidationError

from humanuser import Event, Fact, UnknownEvent

_FACTS: tuple[type[Fact], ...] = tuple(fact for fact in get_args(Event) if issubclass(fact, Fact))

REGISTRY: dict[str, type[Fact]] = {name: fact for fact in _FACTS for name in (fact.type, *fact.legacy_types)}
"""From the stored name, today's or an older one, to the class."""

_READERS = {name: fact.__pydantic_validator__.validate_json for name, fact in REGISTRY.items()}
_BARE: dict[str, Event] = {name: fact() for name, fact in REGISTRY.items() if not fact.model_fields}  # type: ignore[misc]  # mypy takes it for the union
"""What says nothing beyond its name is the same every time."""


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
    if not payload and stored_type in _BARE:
        return _BARE[stored_type]
    read = _READERS.get(stored_type)
    if read is None:
        return UnknownEvent(stored_type, payload.encode() if isinstance(payload, str) else payload or b"")
    try:
        event: Event = read(payload or "{}")
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        where = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'payload'}: {problem['msg']}" for problem in problems
        )
        raise ValueError(f"{stored_type}: {where}") from None
    return event
