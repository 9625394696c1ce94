"""What records of the log say besides their message: which request they belong to, and which user they are about."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any

_FIELDS: ContextVar[Mapping[str, str]] = ContextVar("humanuser_log_fields", default=MappingProxyType({}))


def fields() -> Mapping[str, str]:
    """The fields of the work at hand."""
    return _FIELDS.get()


def note(**more: str) -> Token[Mapping[str, str]]:
    """Have everything that is logged from now on in this context carry *more* fields."""
    return _FIELDS.set({**_FIELDS.get(), **more})


@contextmanager
def about(**more: str) -> Iterator[None]:
    """Have everything that is logged in the block carry *more* fields."""
    token = note(**more)
    try:
        yield
    finally:
        _FIELDS.reset(token)


def log_of(name: str) -> Log:
    """The log of the module *name*."""
    return Log(logging.getLogger(name))


class Log(logging.LoggerAdapter[logging.Logger]):
    """A log whose records carry the fields of the work at hand, as attributes that every handler can read."""

    def process(
        self,
        msg: Any,  # Any: as in the library
        kwargs: MutableMapping[str, Any],  # as above
    ) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**fields(), **(kwargs.get("extra") or {})}
        return msg, kwargs


__all__ = ["about"]
