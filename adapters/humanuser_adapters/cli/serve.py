"""``humanuser serve``."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool

from humanuser import Authenticator
from humanuser_adapters.api import PhoneService, http_app
from humanuser_adapters.application import Application
from humanuser_adapters.auth import DevelopmentToken, TokenFile
from humanuser_adapters.cli.session import (
    DatabaseOption,
    Exit,
    JsonOption,
    err,
    errors_told,
    fail,
    opened,
    read_settings,
)
from humanuser_adapters.cli.twilio_status import twilio_routes
from humanuser_adapters.settings import Settings, SmsChoice

GRACE_SECONDS = 10
"""How long calls in flight may take to finish when the server is told to stop."""


def serve(
    database: DatabaseOption = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one. [default: 8080]")] = None,
    sms: Annotated[SmsChoice | None, typer.Option(help="Where an SMS goes. [default: none]")] = None,
    sms_file: Annotated[Path | None, typer.Option(help="The file of --sms file. [default: sms.jsonl]")] = None,
    token_file: Annotated[Path | None, typer.Option(help="Who may call; see `token add`.", show_default=False)] = None,
    development: Annotated[bool, typer.Option("--development", help="Print a token that may do everything.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve the API, and send SMS."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = read_settings(database=database, host=host, port=port, sms=sms, sms_file=sms_file, token_file=token_file)
    with errors_told():
        authenticator = _authenticator(settings, development=development)
    with opened(settings, make=True) as application, listener_of(settings) as listener:
        _announce(listener, authenticator, as_json=as_json)
        config = uvicorn.Config(
            _app(application, authenticator, settings),
            http="h11",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn stops, then hands the signal on
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _authenticator(settings: Settings, *, development: bool) -> Authenticator:
    if development:
        return DevelopmentToken()
    if settings.token_file is None:
        fail(Exit.USAGE, "nobody could call: name a --token-file, or start with --development")
    return TokenFile(settings.token_file)


def listener_of(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        fail(Exit.UNAVAILABLE, f"cannot listen on {settings.host}:{settings.port}: {error.strerror}")
    # asyncio sets this only on sockets made for TCP by name, and without it an answer may wait 40 ms for an ACK
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _announce(listener: socket.socket, authenticator: Authenticator, *, as_json: bool) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    token = authenticator.token if isinstance(authenticator, DevelopmentToken) else None
    if as_json:
        typer.echo(json.dumps({"url": url, **({"token": token} if token else {})}))
    else:
        err.print(f"serving {url}, to read about at {url}/docs", highlight=False)
        if token:
            err.print(f"development token: {token}", highlight=False, soft_wrap=True)


def _app(application: Application, authenticator: Authenticator, settings: Settings) -> Starlette:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        application.start()
        try:
            yield
        finally:
            await run_in_threadpool(application.stop)

    service = PhoneService(application.commands, application.find_user, application.new_user_id)
    routes = twilio_routes(settings, application.sms_reported)
    return http_app(service, authenticator, readiness=application.problems, lifespan=lifespan, routes=routes)
