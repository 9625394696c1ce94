"""Web servers on loopback that do as they are told, the wrong things above all."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from humanuser_adapters.sms import Endpoint

SHORT = timedelta(seconds=0.6)
"""A time-out for tests of those who keep others waiting."""


@dataclass(frozen=True)
class Request:
    """What a client wrote."""

    method: str
    target: str
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes

    @property
    def json(self) -> Any:  # Any: whatever was sent
        return json.loads(self.body)


Behaviour = Callable[[Request, socket.socket], None]
"""What a server does with a connection after it read a request from it; closing it comes by itself."""


@dataclass
class WebServer:
    """Takes one request a connection, remembers it, and behaves."""

    behaviour: Behaviour
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"

    def endpoint(self, path: str = "", **more: Any) -> Endpoint:
        """How to talk to it."""
        return Endpoint(self.url + path, **{"allow_http": True, "allow_private": True, **more})

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(10)
            spoken = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
            with spoken:
                request = _read(spoken)
                if request is not None:
                    self.requests.append(request)
                    self.behaviour(request, spoken)


@contextmanager
def served(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """A server for as long as the block runs."""
    server = WebServer(behaviour, tls)
    try:
        yield server
    finally:
        server.close()


def answers(status: int, body: bytes | object = b"", **headers: str) -> Behaviour:
    """It answers; a body that is not bytes as JSON. ``retry_after="5"`` is a header."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return writes(head(status, Content_Length=str(len(content)), **headers) + content)


def head(status: int, **headers: str) -> bytes:
    """The beginning of an answer."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def writes(data: bytes) -> Behaviour:
    """It writes just that, and closes."""

    def behave(_: Request, connection: socket.socket) -> None:
        connection.sendall(data)

    return behave


def writes_slowly(data: bytes, *, first: bytes = b"") -> Behaviour:
    """It writes *first* at once and then a byte every 20 ms: a slow loris."""

    def behave(_: Request, connection: socket.socket) -> None:
        connection.sendall(first)
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    return behave


def keeps_silent(_: Request, connection: socket.socket) -> None:
    """It reads and never answers."""
    with suppress(OSError):
        connection.recv(1)


def resets_after(data: bytes = b"") -> Behaviour:
    """It writes *data*, and then breaks the connection off."""

    def behave(_: Request, connection: socket.socket) -> None:
        connection.sendall(data)
        time.sleep(0.05)  # or the reset may overtake what was written
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return behave


def in_turn(behaviours: Sequence[Behaviour]) -> Behaviour:
    """It behaves otherwise each time."""
    rest = iter(behaviours)

    def behave(request: Request, connection: socket.socket) -> None:
        next(rest)(request, connection)

    return behave


def unused_port() -> int:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _read(connection: socket.socket) -> Request | None:
    """A whole request; None: the client went away."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return None
        data += more
    first, _, body = data.partition(b"\r\n\r\n")
    line, *rest = first.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}
    while len(body) < int(headers.get("content-length", 0)):
        if not (more := connection.recv(65536)):
            return None
        body += more
    method, target, _ = line.split(" ")
    return Request(method, target, headers, body)
