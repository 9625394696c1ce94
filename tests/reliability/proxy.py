"""Stands between a client and PostgreSQL, and loses what it is told to lose."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHUNK = 65536


class Proxy:
    """Passes bytes on; of requests that hold *marker* it loses some, and of others the answer."""

    def __init__(self, upstream: Path, marker: bytes, *, lost_requests: float, lost_answers: float, seed: int) -> None:
        """*upstream* is the server's socket; the rates are shares of the requests with *marker*."""
        self.requests_lost = self.answers_lost = 0
        self._upstream = str(upstream)
        self._marker = marker
        self._rates = lost_requests, lost_answers
        self._chance = random.Random(seed)  # noqa: S311 - the same for the same seed
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where PostgreSQL seems to be."""
        port = self._listener.getsockname()[1]
        return f"postgresql://postgres:unused@127.0.0.1:{port}/postgres?sslmode=disable&gssencmode=disable"

    def close(self) -> None:
        """Let nobody in any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._upstream)
                swallowing = threading.Event()
                for work in (self._pass_requests, self._pass_answers):
                    threading.Thread(target=work, args=(client, server, swallowing), daemon=True).start()

    def _pass_requests(self, client: socket.socket, server: socket.socket, swallowing: threading.Event) -> None:
        lost_requests, lost_answers = self._rates
        with _closing(client, server):
            while data := client.recv(CHUNK):
                if self._marker in data:
                    chance = self._chance.random()
                    if chance < lost_requests:
                        self.requests_lost += 1
                        return
                    if chance < lost_requests + lost_answers:
                        swallowing.set()
                server.sendall(data)

    def _pass_answers(self, client: socket.socket, server: socket.socket, swallowing: threading.Event) -> None:
        with _closing(client, server):
            while data := server.recv(CHUNK):
                if swallowing.is_set():  # a statement is answered after it was committed
                    self.answers_lost += 1
                    return
                client.sendall(data)


@contextmanager
def _closing(*sockets: socket.socket) -> Iterator[None]:
    """Both are closed at the end, whichever of the two threads comes to it."""
    try:
        with suppress(OSError):
            yield
    finally:
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
