"""The server of ``humanuser serve``, which takes long to import."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool

from humanuser import Authenticator
from humanuser_adapters.api import PhoneService, http_app
from humanuser_adapters.api.server import BACKLOG, ApiServer, Certificate
from humanuser_adapters.application import Application
from humanuser_adapters.cli.session import Exit, fail
from humanuser_adapters.cli.twilio_status import twilio_routes
from humanuser_adapters.settings import Settings


def listener_of(settings: Settings) -> socket.socket:
    """Where the server of *settings* listens; the process ends with `Exit.UNAVAILABLE` if it cannot."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        fail(Exit.UNAVAILABLE, f"cannot listen on {settings.host}:{settings.port}: {error.strerror}")
    # asyncio sets this only on sockets made for TCP by name, and without it an answer may wait 40 ms for an ACK
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def server_of(application: Application, authenticator: Authenticator, settings: Settings) -> ApiServer:
    """Every wire on one port; the workers of *application* are started and stopped with it."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        application.start()
        try:
            yield
        finally:
            await run_in_threadpool(application.stop)

    service = PhoneService(application.commands, application.find_user, application.new_user_id)
    routes = twilio_routes(settings, application.sms_reported)
    app = http_app(service, authenticator, readiness=application.problems, lifespan=lifespan, routes=routes)
    certificate = None
    if settings.tls_certificate and settings.tls_key:
        certificate = Certificate(settings.tls_certificate, settings.tls_key)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    grpc_address = None if settings.grpc_port is None else f"{host}:{settings.grpc_port}"
    return ApiServer(
        app,
        service,
        authenticator,
        certificate=certificate,
        grpc_address=grpc_address,
        readiness=application.problems,
    )


def run(server: ApiServer, listener: socket.socket) -> None:
    """Serve until a signal asks to stop; the process ends with `Exit.UNAVAILABLE` if it cannot begin."""
    try:
        server.run(sockets=[listener])
    except OSError as error:
        fail(Exit.UNAVAILABLE, str(error))
