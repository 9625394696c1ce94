"""HTTP/1.1 by uvicorn, save that a request must arrive in time, and that garbage breaks nothing but its own call."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 30
"""How long a request may take to arrive, so that nobody holds a connection by saying little. (Between two requests
uvicorn waits 5 seconds.)"""


class Http1(H11Protocol):
    """A connection of uvicorn's."""

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limit = self.loop.call_later(REQUEST_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state not in {h11.IDLE, h11.SEND_BODY}:
            self.end_limit()
        elif self._limit is None:
            self._limit = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end_limit()
        super().connection_lost(exc)

    def end_limit(self) -> None:
        """The request has arrived."""
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, unless the answer to it has begun.

        uvicorn forgets that there may be a call, which must not answer too, or has answered; it says so in tracebacks.
        """
        call: Any = self.cycle  # Any: before the first one it is None, which its type does not say
        if call is not None and not call.response_complete:
            call.disconnected = True
            call.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.transport.close()
