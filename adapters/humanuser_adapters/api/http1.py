"""HTTP/1.1 by uvicorn, save that garbage in the middle of a call breaks nothing but that call."""

from __future__ import annotations

from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class Http1(H11Protocol):
    """A connection of uvicorn's."""

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
