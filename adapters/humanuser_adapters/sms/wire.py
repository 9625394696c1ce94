"""A connection to an address that was checked, and all that is read and written on it, under one deadline."""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import Future
from threading import Thread
from typing import Any

from humanuser_adapters.sms.public_address import is_public

Address = tuple[socket.AddressFamily, Any]
"""A family, and an address in the form of that family."""


class AddressNotAllowed(Exception):
    """A name has no address but ones that must not be called."""


class Deadline:
    """The end of the time that an exchange may take as a whole."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than none. Raises ``TimeoutError`` when it is over."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def connect(
    host: str, port: int, deadline: Deadline, *, tls: ssl.SSLContext | None, allow_private: bool
) -> socket.socket:
    """A connection to *host*, which proved its name if *tls*.

    The name is looked up once and the connection goes to what was checked, so an answer that changes in between
    (DNS rebinding) changes nothing. Raises ``AddressNotAllowed``, ``OSError``.
    """
    addresses = [found for found in _resolve(host, port, deadline) if allow_private or is_public(found[1][0])]
    failure: OSError | None = None
    for number, address in enumerate(addresses):
        try:
            return _dial(address, host, deadline, tls, share=len(addresses) - number)
        except OSError as error:
            failure = error
    raise failure or AddressNotAllowed


class Wire(io.RawIOBase):
    """A connected socket as ``http.client`` uses one.

    Every read and write has what is left of the deadline, however little comes at once, and no more than *limit*
    bytes are read. Raises ``ConnectionError`` for more.
    """

    def __init__(self, connected: socket.socket, deadline: Deadline, *, limit: int) -> None:
        super().__init__()
        self._socket = connected
        self._deadline = deadline
        self._readable_bytes = limit
        self.written = False
        """Whether a part of the request may have left."""

    def sendall(self, data: bytes) -> None:
        """Write all of *data*."""
        rest = memoryview(data)
        while rest:
            self._socket.settimeout(self._deadline.left())
            self.written = True
            rest = rest[self._socket.send(rest) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What comes back."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # Any: the library's type for buffers is private
        if self._readable_bytes == 0:
            raise ConnectionError("the answer has no end")
        self._socket.settimeout(self._deadline.left())
        count = self._socket.recv_into(buffer, min(len(buffer), self._readable_bytes))
        self._readable_bytes -= count
        return count

    def close(self) -> None:
        """Nothing: who opened the socket closes it, and ``http.client`` closes before it has read."""


def _resolve(host: str, port: int, deadline: Deadline) -> Sequence[Address]:
    """Every address of *host*. The system's resolver knows no time-out, so it is left behind when time is up."""
    found: Future[Sequence[Address]] = Future()

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.set_result([(family, address) for family, _, _, _, address in answers])
        except OSError as error:
            found.set_exception(error)

    Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    return found.result(deadline.left())


def _dial(address: Address, host: str, deadline: Deadline, tls: ssl.SSLContext | None, *, share: int) -> socket.socket:
    """A connection to *address* in a *share*-th of the time, so that a dead address leaves time for the next."""
    family, place = address
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.settimeout(deadline.left() / share)
        connected.connect(place)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.settimeout(deadline.left() / share)
        return tls.wrap_socket(connected, server_hostname=host) if tls else connected
    except BaseException:
        connected.close()
        raise
