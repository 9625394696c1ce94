"""RPC over HTTP/1.1: the coding that a request's content type names, gRPC-Web or Connect."""

from __future__ import annotations

from http import HTTPStatus

from starlette.types import Receive

from humanuser_adapters.api import connect, grpc_web
from humanuser_adapters.api.asgi import Reply
from humanuser_adapters.api.dispatch import Dispatcher, Headers
from humanuser_adapters.api.methods import METHODS, Method
from humanuser_adapters.api.rest import status_reply
from humanuser_adapters.api.status import Code

RPC_METHODS = {method.rpc_path: method for method in METHODS}


async def respond(dispatcher: Dispatcher, verb: str, method: Method, headers: Headers, receive: Receive) -> Reply:
    """The reply to a call of *method*."""
    if verb != "POST":
        return status_reply(Code.UNIMPLEMENTED, HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "POST"})
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type in grpc_web.CONTENT_TYPES:
        return await grpc_web.respond(dispatcher, method, headers, receive, content_type)
    if content_type in connect.CONTENT_TYPES:
        return await connect.respond(dispatcher, method, headers, receive, content_type)
    known = ", ".join([*grpc_web.CONTENT_TYPES, *connect.CONTENT_TYPES])
    return status_reply(Code.INVALID_ARGUMENT, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"Accept-Post": known})
