"""HTTP/1.1 and gRPC on one port: who begins as HTTP/2 begins is led on to the gRPC server, on its socket."""

from __future__ import annotations

import asyncio
from typing import Any

from humanuser_adapters.api.http1 import Http1

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client of HTTP/2 says first. (RFC 9113, 3.4)"""


class OnePort(Http1):
    """A connection of uvicorn's that may turn out to be gRPC's."""

    def __init__(self, grpc_socket: str, *args: Any, **kwargs: Any) -> None:  # Any: as in the library
        super().__init__(*args, **kwargs)
        self._grpc_socket = grpc_socket
        self._first: bytes | None = b""
        """What was read so far, while that could be either; None: it is decided."""
        self._tunnel: _Tunnel | None = None
        self._opening: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.send(data)
        elif self._first is None:
            super().data_received(data)
        else:
            self._decide(self._first + data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._tunnel is not None:
            self._tunnel.close()

    def pause_writing(self) -> None:
        if self._tunnel is not None:
            self._tunnel.pause()
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._tunnel is not None:
            self._tunnel.resume()
        super().resume_writing()

    def shutdown(self) -> None:
        if self._tunnel is None:  # else the gRPC server ends it, when its calls have ended
            super().shutdown()

    def _decide(self, first: bytes) -> None:
        self._first = first
        if first.startswith(PREFACE):
            self._first = None
            self.end_limit()
            self._tunnel = _Tunnel(self.transport)
            self._tunnel.send(first)
            self._opening = self.loop.create_task(self._tunnel.open(self._grpc_socket))
        elif not PREFACE.startswith(first):
            self._first = None
            super().data_received(first)


class _Tunnel(asyncio.Protocol):
    """The way between a client and the gRPC server; who sends faster than the other reads has to wait."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client
        self._server: asyncio.Transport | None = None
        self._waiting = bytearray()

    async def open(self, path: str) -> None:
        """Connect to the server, and send it what came meanwhile."""
        self._client.pause_reading()
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self, path)
        except OSError:
            self._client.close()

    def send(self, data: bytes) -> None:
        """Pass on what the client says."""
        if self._server is None:
            self._waiting += data
        else:
            self._server.write(data)

    def pause(self) -> None:
        """Let the server wait, for the client is slow."""
        if self._server is not None:
            self._server.pause_reading()

    def resume(self) -> None:
        """Let the server go on."""
        if self._server is not None:
            self._server.resume_reading()

    def close(self) -> None:
        """The client is gone."""
        if self._server is not None:
            self._server.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream it always is
        self._server = transport
        if self._client.is_closing():
            transport.close()
            return
        transport.write(bytes(self._waiting))
        self._client.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._client.close()

    def pause_writing(self) -> None:
        self._client.pause_reading()

    def resume_writing(self) -> None:
        self._client.resume_reading()
