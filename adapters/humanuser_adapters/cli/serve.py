"""``humanuser serve``."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from pathlib import Path
from typing import Annotated

import typer

from humanuser import Authenticator
from humanuser_adapters.auth import DevelopmentToken, TokenFile
from humanuser_adapters.cli.metrics import metrics_served, prometheus_of
from humanuser_adapters.cli.session import (
    DatabaseOption,
    Exit,
    JsonOption,
    err,
    errors_told,
    fail,
    opened,
    read_settings,
    warn_of_readers,
)
from humanuser_adapters.log_formats import JsonLines, TextLines
from humanuser_adapters.settings import LogFormat, Settings, SmsChoice
from humanuser_adapters.telemetry import Telemetry, exits_installed


def serve(
    database: DatabaseOption = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one. [default: 8080]")] = None,
    sms: Annotated[SmsChoice | None, typer.Option(help="Where an SMS goes. [default: none]")] = None,
    sms_file: Annotated[Path | None, typer.Option(help="The file of --sms file. [default: sms.jsonl]")] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="A port of its own for gRPC. [default: the same]", show_default=False)
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="A PEM file; with it, TLS.", show_default=False)] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The PEM file of its key.", show_default=False)] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="A port for Prometheus; 0 takes a free one. [default: none]", show_default=False)
    ] = None,
    log_format: Annotated[LogFormat | None, typer.Option(help="How the log is written. [default: text]")] = None,
    token_file: Annotated[Path | None, typer.Option(help="Who may call; see `token add`.", show_default=False)] = None,
    development: Annotated[bool, typer.Option("--development", help="Print a token that may do everything.")] = False,
    as_json: JsonOption = False,
) -> None:
    try:  # only who serves waits for what a server imports
        from humanuser_adapters.cli.server import listener_of, run, server_of  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        fail(Exit.USAGE, f"{missing}; serve needs: pip install 'humanuser[cli]'")
    settings = read_settings(
        database=database,
        host=host,
        port=port,
        grpc_port=grpc_port,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        sms=sms,
        sms_file=sms_file,
        metrics_port=metrics_port,
        log_format=log_format,
        token_file=token_file,
    )
    _begin_to_log(settings)
    with errors_told():
        authenticator = _authenticator(settings, development=development)
    prometheus = prometheus_of(settings)
    telemetry = Telemetry(*exits_installed(), *([prometheus] if prometheus else []))
    with (
        opened(settings, make=True, needs_keys=True, telemetry=telemetry) as application,
        listener_of(settings) as listener,
    ):
        with errors_told():
            server = server_of(application, authenticator, settings)
        with metrics_served(prometheus, settings) as on_port:
            _announce(listener, on_port, authenticator, settings, as_json=as_json)
            with contextlib.suppress(KeyboardInterrupt):  # uvicorn stops, then hands the signal on
                run(server, listener)


def _begin_to_log(settings: Settings) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if settings.log_format is LogFormat.JSON else TextLines())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])


def _authenticator(settings: Settings, *, development: bool) -> Authenticator:
    if development:
        return DevelopmentToken()
    if settings.token_file is None:
        fail(Exit.USAGE, "nobody could call: name a --token-file, or start with --development")
    warn_of_readers(settings.token_file)
    return TokenFile(settings.token_file)


def _announce(
    listener: socket.socket,
    metrics_port: int | None,
    authenticator: Authenticator,
    settings: Settings,
    *,
    as_json: bool,
) -> None:
    host, port = listener.getsockname()[:2]
    url = _url(host, port, settings)
    token = authenticator.token if isinstance(authenticator, DevelopmentToken) else None
    metrics = None if metrics_port is None else f"{_url(host, metrics_port, settings)}/metrics"
    if as_json:
        told = {"url": url, "token": token, "metrics": metrics}
        typer.echo(json.dumps({name: value for name, value in told.items() if value}))
        return
    err.print(f"serving {url}, to read about at {url}/docs", highlight=False)
    if metrics:
        err.print(f"metrics for Prometheus: {metrics}", highlight=False)
    if token:
        err.print(f"development token: {token}", highlight=False, soft_wrap=True)


def _url(host: str, port: int, settings: Settings) -> str:
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
