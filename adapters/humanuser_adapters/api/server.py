"""Serves every wire of the API: on one port, or gRPC on one of its own."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import grpc
import uvicorn
from starlette.types import ASGIApp

from humanuser import Authenticator
from humanuser_adapters.api.grpc_server import GrpcServer
from humanuser_adapters.api.http1 import Http1
from humanuser_adapters.api.http_app import Readiness
from humanuser_adapters.api.one_port import OnePort
from humanuser_adapters.api.service import PhoneService

BACKLOG = 256
"""Connections that wait to be taken. Where no more files may be open, asyncio logs as many errors a second."""
GRACE_SECONDS = 10
"""How long calls in flight may take to finish when the server is told to stop."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What proves a server, as PEM files."""

    chain: Path
    key: Path


class ApiServer(uvicorn.Server):
    """Serves *app* and, with the same methods, gRPC."""

    def __init__(
        self,
        app: ASGIApp,
        service: PhoneService,
        authenticator: Authenticator,
        *,
        certificate: Certificate | None = None,
        grpc_address: str | None = None,
        readiness: Readiness = dict,
    ) -> None:
        """With a *certificate* it speaks TLS only. *grpc_address*, such as ``127.0.0.1:8081``, is gRPC's own.
        *readiness* is for gRPC's health service.

        Raises ``ValueError`` if the *certificate* cannot be used.
        """
        self._place = tempfile.TemporaryDirectory(prefix="humanuser-")  # closed to others
        self._grpc_socket = f"{self._place.name}/grpc"
        self._methods = service, authenticator
        self._readiness = readiness
        self._certificate = certificate
        self._grpc_address = grpc_address
        self._grpc: GrpcServer | None = None
        super().__init__(self._config(app))

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal ends it. Calls in flight have ``GRACE_SECONDS`` to finish.

        Raises ``OSError`` if gRPC's own address cannot be had.
        """
        with self._place:
            super().run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._grpc = GrpcServer(*self._methods, readiness=self._readiness)
        if self._grpc_address is None:
            self._grpc.listen(f"unix:{self._grpc_socket}")
        else:
            self._listen(self._grpc, self._grpc_address)
        await self._grpc.start()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        assert self._grpc is not None  # noqa: S101 - who stops has started
        await asyncio.gather(self._grpc.stop(GRACE_SECONDS), super().shutdown(sockets))

    def _config(self, app: ASGIApp) -> uvicorn.Config:
        one_port = cast(type[Any], partial(OnePort, self._grpc_socket))  # Any: uvicorn wants a class, and calls it
        config = uvicorn.Config(
            app,
            http=Http1 if self._grpc_address else one_port,
            ws="none",
            backlog=BACKLOG,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            ssl_certfile=self._certificate.chain if self._certificate else None,
            ssl_keyfile=self._certificate.key if self._certificate else None,
        )
        try:
            config.load()
        except OSError as error:
            raise ValueError(f"TLS cannot be spoken with {self._certificate}: {error}") from error
        if config.ssl:
            # who can do both is mostly a browser, and gets HTTP/1.1; most clients of gRPC offer h2 alone
            config.ssl.set_alpn_protocols(["http/1.1", *([] if self._grpc_address else ["h2"])])
        return config

    def _listen(self, grpc_server: GrpcServer, address: str) -> None:
        try:
            grpc_server.listen(address, self._credentials())
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address} for gRPC") from error

    def _credentials(self) -> grpc.ServerCredentials | None:
        if self._certificate is None:
            return None
        pair = (self._certificate.key.read_bytes(), self._certificate.chain.read_bytes())
        return grpc.ssl_server_credentials([pair])


__all__ = ["ApiServer", "Certificate"]
