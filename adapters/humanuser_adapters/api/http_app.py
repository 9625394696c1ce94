"""Everything that HTTP/1.1 carries as one ASGI app, to be served or mounted: REST, gRPC-Web, Connect, and pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from humanuser import Authenticator
from humanuser_adapters.api.dispatch import Dispatcher
from humanuser_adapters.api.openapi import document, page
from humanuser_adapters.api.rest import not_routed, refused, rest_routes
from humanuser_adapters.api.rpc import rpc_routes
from humanuser_adapters.api.service import PhoneService
from humanuser_adapters.api.status import CallError

Readiness = Callable[[], dict[str, str]]
"""What keeps the server from being ready, by part; empty: it is ready."""


def http_app(
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
    dispatcher = Dispatcher(service, authenticator)
    app = Starlette(
        lifespan=lifespan,
        routes=[
            *rest_routes(dispatcher),
            *rpc_routes(dispatcher),
            Route("/healthz", _healthz),
            Route("/readyz", _readyz(readiness)),
            Route("/openapi.json", _openapi),
            Route("/docs", _docs),
            *routes,
        ],
        exception_handlers={HTTPException: not_routed, CallError: refused},
    )
    app.router.redirect_slashes = False
    return app


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
