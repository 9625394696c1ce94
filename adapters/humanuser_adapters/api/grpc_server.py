"""The API as gRPC, with health and reflection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from humanuser import Authenticator
from humanuser_adapters.api.asgi import LARGEST_MESSAGE
from humanuser_adapters.api.dispatch import Dispatcher
from humanuser_adapters.api.grpc_health import GrpcHealth
from humanuser_adapters.api.methods import METHODS, Method
from humanuser_adapters.api.request_id import REQUEST_ID, request_named
from humanuser_adapters.api.service import PhoneService
from humanuser_adapters.api.status import CallError

MOST_STREAMS = 1000
"""Calls at once on one connection; a client that has more waits with them."""
LARGEST_METADATA = 16 * 1024

SERVICES = tuple(dict.fromkeys(method.service for method in METHODS))

Behaviour = Callable[[bytes, grpc.aio.ServicerContext[bytes, bytes]], Awaitable[bytes]]


class GrpcServer:
    """Serves gRPC on the running event loop."""

    def __init__(
        self, service: PhoneService, authenticator: Authenticator, *, readiness: Callable[[], dict[str, str]] = dict
    ) -> None:
        """*readiness* returns what keeps the server from being ready, for gRPC's health service."""
        options = [
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_metadata_size", LARGEST_METADATA),
            ("grpc.max_concurrent_streams", MOST_STREAMS),
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.aio.server(options=options)
        self._health = GrpcHealth(SERVICES, readiness)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection([*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)
        self._server.add_generic_rpc_handlers(_handlers(Dispatcher(service, authenticator)))

    def listen(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on *address*, such as ``127.0.0.1:0`` or ``unix:/path``; the port. Raises ``RuntimeError``."""
        if credentials is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, credentials)

    async def start(self) -> None:
        """Begin to answer."""
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls; those in flight have *grace_seconds* to finish."""
        self._health.stop()
        await self._server.stop(grace_seconds)


def _handlers(dispatcher: Dispatcher) -> list[grpc.GenericRpcHandler]:
    return [
        grpc.method_handlers_generic_handler(
            service,
            {
                method.name: grpc.unary_unary_rpc_method_handler(_behaviour(method, dispatcher))
                for method in METHODS
                if method.service == service
            },
        )
        for service in SERVICES
    ]


def _behaviour(method: Method, dispatcher: Dispatcher) -> Behaviour:
    async def behave(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        headers = _headers_of(context)
        with request_named(headers.get(REQUEST_ID)) as request_id:
            await context.send_initial_metadata(((REQUEST_ID, request_id),))
            try:
                return await dispatcher.run(method, partial(dispatcher.answer_bytes, method, headers, request))
            except CallError as error:
                trailing = [("grpc-status-details-bin", error.status.SerializeToString())] if error.details else []
                await context.abort(_CODES[int(error.code)], str(error), tuple(trailing))

    return behave


def _headers_of(context: grpc.aio.ServicerContext[bytes, bytes]) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for name, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            headers.setdefault(name, value)
    return headers


_CODES = {code.value[0]: code for code in grpc.StatusCode}


__all__ = ["GrpcServer"]
