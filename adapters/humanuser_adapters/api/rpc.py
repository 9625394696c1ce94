"""RPC over HTTP/1.1: the coding that a request's content type names, gRPC-Web or Connect, also from other origins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from humanuser_adapters.api import connect, grpc_web
from humanuser_adapters.api.dispatch import Dispatcher
from humanuser_adapters.api.methods import METHODS, Method

_FROM_ANY_PAGE = Middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_methods=["POST"],
    allow_headers=[
        *("Accept", "Accept-Language", "Authorization", "Content-Type", "Origin", "Idempotency-Key"),
        *("x-zitadel-orgid", "x-user-agent", "x-grpc-web", "grpc-timeout"),
        *("connect-protocol-version", "connect-timeout-ms"),
    ],
    expose_headers=["grpc-status", "grpc-message", "grpc-status-details-bin", "retry-after"],
    max_age=7200,
)
"""Calls carry no cookies, but a token that a page has to have already."""


def rpc_routes(dispatcher: Dispatcher) -> Sequence[Route]:
    """A route for each method."""
    return [
        Route(method.rpc_path, _endpoint(method, dispatcher), methods=["POST", "OPTIONS"], middleware=[_FROM_ANY_PAGE])
        for method in METHODS
    ]


def _endpoint(method: Method, dispatcher: Dispatcher) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type in grpc_web.CONTENT_TYPES:
            return await grpc_web.respond(dispatcher, method, request, content_type)
        if content_type in connect.CONTENT_TYPES:
            return await connect.respond(dispatcher, method, request, content_type)
        known = ", ".join([*grpc_web.CONTENT_TYPES, *connect.CONTENT_TYPES])
        return Response(status_code=HTTPStatus.UNSUPPORTED_MEDIA_TYPE, headers={"Accept-Post": known})

    return endpoint
