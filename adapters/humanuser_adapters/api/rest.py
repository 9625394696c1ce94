"""The API as JSON over HTTP, on the paths of ZITADEL's gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from google.protobuf import json_format
from starlette.types import Receive

from humanuser_adapters.api.asgi import Reply, read_body
from humanuser_adapters.api.dispatch import Dispatcher, Headers
from humanuser_adapters.api.methods import METHODS
from humanuser_adapters.api.status import HTTP_STATUS, CallError, Code

_JSON = "application/json"
_METHODS = {(method.path, method.verb): method for method in METHODS}
_METHODS |= {(path, "HEAD"): method for (path, verb), method in _METHODS.items() if verb == "GET"}
_FIELD = re.compile("{([a-z_]+)}")
_ROUTES = re.compile(
    "|".join(f"({_FIELD.sub('([^/]+)', path)})" for path in dict.fromkeys(path for path, _ in _METHODS))
)
"""All paths in one expression: a group for each, and in it one for each of its fields."""


def _numbered() -> Iterator[tuple[int, tuple[str, list[str]]]]:
    number = 1
    for path in dict.fromkeys(path for path, _ in _METHODS):
        fields = _FIELD.findall(path)
        yield number, (path, fields)
        number += 1 + len(fields)


_PATHS = dict(_numbered())
"""The path of each group, and the names of its fields."""


def route(path: str) -> tuple[str, Mapping[str, str]] | None:
    """The method's path, with names of fields in braces, that *path* is, and those fields; None: there is none."""
    found = _ROUTES.fullmatch(path)
    if found is None or found.lastindex is None:
        return None
    template, names = _PATHS[found.lastindex]  # the group that closes last is the one around the others
    return template, dict(zip(names, found.groups()[found.lastindex :], strict=False))


async def respond(
    dispatcher: Dispatcher, verb: str, path: str, fields: Mapping[str, str], headers: Headers, receive: Receive
) -> Reply:
    """The reply to *verb* on *path*, with the *fields* that were in it."""
    method = _METHODS.get((path, verb))
    if method is None:
        allowed = ", ".join(sorted(verb for known, verb in _METHODS if known == path))
        return status_reply(Code.UNIMPLEMENTED, HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": allowed})
    try:
        body = b"" if method.verb in {"GET", "DELETE"} else await read_body(receive)
        return Reply(
            200, await dispatcher.run(method, lambda: dispatcher.answer_json(method, headers, body, **fields)), _JSON
        )
    except CallError as error:
        return refused(error)


def refused(error: CallError) -> Reply:
    """The ``google.rpc.Status`` of a refused call."""
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.code is Code.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = str(error)
    return json_reply(json_format.MessageToDict(error.status), HTTP_STATUS[error.code], headers)


def status_reply(code: Code, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> Reply:
    """What is no call at all, in the words of *status*."""
    return json_reply({"code": code, "message": status.phrase}, status, headers or {})


def json_reply(content: Any, status: int, headers: Mapping[str, str]) -> Reply:  # Any: whatever JSON holds
    """*content* as JSON."""
    return Reply(status, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), _JSON, headers)
