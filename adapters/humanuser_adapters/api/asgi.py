"""Requests and replies of HTTP, as ASGI carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

from humanuser_adapters.api.status import CallError, Code

LARGEST_MESSAGE = 4 * 1024 * 1024
"""In bytes."""
_DRAINED = 4 * LARGEST_MESSAGE  # so much is read and thrown away, so that the client gets to read why


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back."""

    status: int
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = [(b"content-length", b"%d" % len(self.body)), (b"content-type", self.content_type.encode("latin-1"))]
        for name, value in self.headers.items():
            headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def headers_of(scope: Scope) -> Mapping[str, str]:
    """The headers of a request by name in lower case; of those that come twice the first one."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


async def read_body(receive: Receive) -> bytes:
    """The whole body. Raises ``CallError`` if it is larger than ``LARGEST_MESSAGE``, or the client leaves half-way."""
    body = bytearray()
    length = 0
    more = True
    while more and length <= _DRAINED:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallError(Code.INVALID_ARGUMENT, "malformed request: the body ends half-way")
        chunk = message.get("body", b"")
        more = message.get("more_body", False)
        length += len(chunk)
        if length <= LARGEST_MESSAGE:
            body += chunk
    if length > LARGEST_MESSAGE:
        raise CallError(Code.RESOURCE_EXHAUSTED, f"the body has more than {LARGEST_MESSAGE} bytes")
    return bytes(body)
