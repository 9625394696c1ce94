"""Everything that HTTP/1.1 carries as one ASGI app, to be served or mounted: REST, gRPC-Web, Connect, and pages.

The methods are answered past the framework: what it takes to find one of them is more than all the rest of a call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from humanuser import Authenticator
from humanuser_adapters.api import rest, rpc
from humanuser_adapters.api.asgi import Reply, headers_of
from humanuser_adapters.api.dispatch import Dispatcher, Headers
from humanuser_adapters.api.openapi import document, page
from humanuser_adapters.api.request_id import REQUEST_ID, request_named
from humanuser_adapters.api.service import PhoneService
from humanuser_adapters.api.status import CallError, Code
from humanuser_adapters.log_fields import log_of

log = log_of(__name__)

Readiness = Callable[[], dict[str, str]]
"""What keeps the server from being ready, by part; empty: it is ready."""


def http_app(
    service: PhoneService,
    authenticator: Authenticator,
    *,
    readiness: Readiness = dict,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
    routes: Sequence[BaseRoute] = (),
) -> HttpApp:
    """The ASGI app. It may be mounted under any path; a *lifespan* runs around an app that is served, not mounted.

    *routes* are more to serve beside those of the API.
    """
    pages = Starlette(
        lifespan=lifespan,
        routes=[
            Route("/healthz", _healthz),
            Route("/readyz", _readyz(readiness)),
            Route("/openapi.json", _openapi),
            Route("/docs", _docs),
            *routes,
        ],
        exception_handlers={HTTPException: _not_routed, CallError: _refused},
    )
    pages.router.redirect_slashes = False
    return HttpApp(Dispatcher(service, authenticator), pages)


class HttpApp:
    """Answers calls of the methods, and leaves everything else to *pages*."""

    def __init__(self, dispatcher: Dispatcher, pages: Starlette) -> None:
        self._dispatcher = dispatcher
        self._pages = pages
        self._from_other_origins = CORSMiddleware(
            self._answer_rpc,
            allow_origins=["*"],  # calls carry no cookies, but a token that a page has to have already
            allow_methods=["POST"],
            allow_headers=_HEADERS,
            expose_headers=["grpc-status", "grpc-message", "grpc-status-details-bin", "retry-after", REQUEST_ID],
            max_age=7200,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        headers = headers_of(scope)
        with request_named(headers.get(REQUEST_ID)) as request_id:
            await self._answer(scope, headers, receive, _naming(request_id, send))

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        path = _path(scope)
        if path in rpc.RPC_METHODS:
            await self._from_other_origins(scope, receive, send)
        elif routed := rest.route(path):
            reply = await rest.respond(self._dispatcher, scope["method"], *routed, headers, receive)
            await reply.send(send)
        else:
            await self._pages(scope, receive, send)

    async def _answer_rpc(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = rpc.RPC_METHODS[_path(scope)]
        reply = await rpc.respond(self._dispatcher, scope["method"], method, headers_of(scope), receive)
        await reply.send(send)


_HEADERS = [
    *("Accept", "Accept-Language", "Authorization", "Content-Type", "Origin", "Idempotency-Key"),
    *("x-zitadel-orgid", "x-user-agent", "x-grpc-web", "grpc-timeout", REQUEST_ID),
    *("connect-protocol-version", "connect-timeout-ms"),
]
"""Those that a page of another origin may send."""


def _path(scope: Scope) -> str:
    """The path below the one under which the app is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _naming(request_id: str, send: Send) -> Send:
    """*send*, with the *request_id* in the headers of the answer."""

    async def send_named(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (REQUEST_ID.encode(), request_id.encode())]
        await send(message)

    return send_named


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok")


def _readyz(readiness: Readiness) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        problems = await run_in_threadpool(readiness)
        if problems:  # the log has all of it: an address may be in it, and anybody may ask
            log.warning("not ready: %s", problems)
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        return JSONResponse({"ready": not problems, "problems": sorted(problems)}, status)

    return endpoint


async def _openapi(request: Request) -> Response:
    return JSONResponse(document(request.scope.get("root_path", "")))


async def _docs(request: Request) -> Response:
    return HTMLResponse(
        page(document(request.scope.get("root_path", ""))),
        headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
    )


async def _not_routed(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette's handlers are typed for any exception
    status = HTTPStatus(error.status_code)
    code = Code.UNIMPLEMENTED if status is HTTPStatus.METHOD_NOT_ALLOWED else Code.NOT_FOUND
    headers = {name: ", ".join(sorted(value.split(", "))) for name, value in (error.headers or {}).items()}  # Allow
    return _response(rest.status_reply(code, status, headers))


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, CallError)  # noqa: S101 - as above
    return _response(rest.refused(error))


def _response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, reply.headers, reply.content_type)
