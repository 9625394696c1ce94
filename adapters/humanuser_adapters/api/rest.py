"""The API as JSON over HTTP: one ASGI app, to be served or mounted."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Match, Route

from humanuser import Authenticator, CodeUnreadable, StoreUnavailable, UnreadableEvent
from humanuser_adapters.api.access import authenticate, authorize
from humanuser_adapters.api.json_body import decode
from humanuser_adapters.api.messages import json_of
from humanuser_adapters.api.methods import METHODS, Method
from humanuser_adapters.api.openapi import document, page
from humanuser_adapters.api.service import PhoneService
from humanuser_adapters.api.status import HTTP_STATUS, CallError, Code

log = logging.getLogger(__name__)

LARGEST_BODY = 4 * 1024 * 1024
_DRAINED = 4 * LARGEST_BODY  # so much is read and thrown away, so that the client gets to read why

Readiness = Callable[[], dict[str, str]]
"""What keeps the server from being ready, by part; empty: it is ready."""


def rest_app(
    service: PhoneService,
    authenticator: Authenticator,
    *,
    readiness: Readiness = dict,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
    routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """The ASGI app. It may be mounted under any path; a *lifespan* runs around an app that is served, not mounted.

    *routes* are more to serve beside those of the API.
    """
    app = Starlette(
        lifespan=lifespan,
        routes=[
            *(
                Route(method.path, _endpoint(method, service, authenticator), methods=[method.verb])
                for method in METHODS
            ),
            Route("/healthz", _healthz),
            Route("/readyz", _readyz(readiness)),
            Route("/openapi.json", _openapi),
            Route("/docs", _docs),
            *routes,
        ],
        exception_handlers={
            HTTPException: _not_routed,
            CallError: _refused,
            StoreUnavailable: _failed(Code.UNAVAILABLE, "The store is not available now"),
            UnreadableEvent: _failed(Code.DATA_LOSS, "The history of this user cannot be read"),
            CodeUnreadable: _failed(Code.INTERNAL, "The code cannot be checked now"),
            Exception: _failed(Code.INTERNAL, "An internal error occurred"),
        },
    )
    app.router.redirect_slashes = False
    return app


def _endpoint(
    method: Method, service: PhoneService, authenticator: Authenticator
) -> Callable[[Request], Awaitable[Response]]:
    def answer(request: Request, body: bytes) -> Response:
        message = decode(body, method.request, **request.path_params)
        headers = request.headers
        caller = authenticate(authenticator, headers.get("authorization"))
        call = authorize(
            caller,
            method,
            organization=headers.get("x-zitadel-orgid"),
            command_key=headers.get("idempotency-key"),
        )
        message.check()
        return JSONResponse(json_of(method.handle(service, call, message)))

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(answer, request, await read_body(request))

    return endpoint


async def read_body(request: Request) -> bytes:
    """The whole body. Raises ``CallError`` if there are more than ``LARGEST_BODY`` bytes."""
    if request.method in ("GET", "DELETE"):
        return b""
    body = bytearray()
    length = 0
    async for chunk in request.stream():
        length += len(chunk)
        if length <= LARGEST_BODY:
            body += chunk
        elif length > _DRAINED:
            break
    if length > LARGEST_BODY:
        raise CallError(Code.RESOURCE_EXHAUSTED, f"the body has more than {LARGEST_BODY} bytes")
    return bytes(body)


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok")


def _readyz(readiness: Readiness) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        problems = await run_in_threadpool(readiness)
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        return JSONResponse({"ready": not problems, "problems": problems}, status)

    return endpoint


async def _openapi(request: Request) -> Response:
    return JSONResponse(document(request.scope.get("root_path", "")))


async def _docs(request: Request) -> Response:
    return HTMLResponse(
        page(document(request.scope.get("root_path", ""))),
        headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
    )


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, CallError)  # noqa: S101 - Starlette's handlers are typed for any exception
    return _error_response(error)


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": _verbs_of_path(request)}
        return JSONResponse({"code": Code.UNIMPLEMENTED, "message": error.detail}, error.status_code, headers=headers)
    return JSONResponse({"code": Code.NOT_FOUND, "message": error.detail}, error.status_code)


def _verbs_of_path(request: Request) -> str:
    """Of all its routes; Starlette's own error names those of the first one alone."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is Match.PARTIAL]
    return ", ".join(sorted({verb for route in matching for verb in route.methods}))


def _failed(code: Code, text: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        log.error("%s %s: %s", request.method, request.url.path, error)
        return _error_response(CallError(code, text))

    return handle


def _error_response(error: CallError) -> Response:
    headers: dict[str, str] = {}
    details: list[dict[str, Any]] = []
    if error.error_id:
        detail_type = "type.googleapis.com/zitadel.v1.ErrorDetail"
        details.append({"@type": detail_type, "id": error.error_id, "message": error.text})
    if error.retry_after is not None:
        seconds = str(max(1, math.ceil(error.retry_after.total_seconds())))
        headers["Retry-After"] = seconds
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds}s"})
    if error.code is Code.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = str(error)
    status = {"code": error.code, "message": str(error), **({"details": details} if details else {})}
    return JSONResponse(status, HTTP_STATUS[error.code], headers=headers)
