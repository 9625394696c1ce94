"""The API as JSON over HTTP, on the paths of ZITADEL's gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from google.protobuf import json_format
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from humanuser_adapters.api.dispatch import LARGEST_MESSAGE, Dispatcher, answered
from humanuser_adapters.api.json_coding import decode, encode
from humanuser_adapters.api.methods import METHODS, Method
from humanuser_adapters.api.status import HTTP_STATUS, CallError, Code

_DRAINED = 4 * LARGEST_MESSAGE  # so much is read and thrown away, so that the client gets to read why


def rest_routes(dispatcher: Dispatcher) -> Sequence[Route]:
    """A route for each method."""
    return [Route(method.path, _endpoint(method, dispatcher), methods=[method.verb]) for method in METHODS]


async def read_body(request: Request) -> bytes:
    """The whole body. Raises ``CallError`` if there are more than ``LARGEST_MESSAGE`` bytes."""
    body = bytearray()
    length = 0
    async for chunk in request.stream():
        length += len(chunk)
        if length <= LARGEST_MESSAGE:
            body += chunk
        elif length > _DRAINED:
            break
    if length > LARGEST_MESSAGE:
        raise CallError(Code.RESOURCE_EXHAUSTED, f"the body has more than {LARGEST_MESSAGE} bytes")
    return bytes(body)


async def not_routed(request: Request, error: Exception) -> Response:
    """The answer to a path or a verb that there is not."""
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette's handlers are typed for any exception
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": _verbs_of_path(request)}
        return JSONResponse({"code": Code.UNIMPLEMENTED, "message": error.detail}, error.status_code, headers=headers)
    return JSONResponse({"code": Code.NOT_FOUND, "message": error.detail}, error.status_code)


async def refused(_: Request, error: Exception) -> Response:
    """The ``google.rpc.Status`` of a ``CallError``."""
    assert isinstance(error, CallError)  # noqa: S101 - as above
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.code is Code.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = str(error)
    return JSONResponse(json_format.MessageToDict(error.status), HTTP_STATUS[error.code], headers=headers)


def _endpoint(method: Method, dispatcher: Dispatcher) -> Callable[[Request], Awaitable[Response]]:
    def answer(request: Request, body: bytes) -> bytes:
        message = decode(body, method.request, **request.path_params)
        return encode(dispatcher.answer(method, request.headers, message))

    async def endpoint(request: Request) -> Response:
        body = b"" if method.verb in {"GET", "DELETE"} else await read_body(request)
        return Response(await answered(lambda: answer(request, body)), media_type="application/json")

    return endpoint


def _verbs_of_path(request: Request) -> str:
    """Of all its routes; Starlette's own error names those of the first one alone."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is Match.PARTIAL]
    return ", ".join(sorted({verb for route in matching for verb in route.methods}))
