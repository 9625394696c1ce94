"""gRPC-Web: gRPC's frames in a body of HTTP/1.1, with what would be trailers in the last of them.

(https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md)
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from functools import partial
from urllib.parse import quote

from starlette.types import Receive

from humanuser_adapters.api.asgi import Reply, read_body
from humanuser_adapters.api.dispatch import Dispatcher, Headers
from humanuser_adapters.api.methods import Method
from humanuser_adapters.api.status import CallError, Code

_TEXT = "application/grpc-web-text"
CONTENT_TYPES = ("application/grpc-web", "application/grpc-web+proto", _TEXT, f"{_TEXT}+proto")
_HEAD = struct.Struct(">BI")  # flags and length of a frame
_TRAILERS = 0x80
_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


async def respond(
    dispatcher: Dispatcher, method: Method, headers: Headers, receive: Receive, content_type: str
) -> Reply:
    """The reply to a call of *method*; its status is always 200."""
    frames = b""
    error: CallError | None = None
    try:
        body = await read_body(receive)
        seconds = read_timeout(headers.get("grpc-timeout"))
        work = partial(_answer, dispatcher, method, headers, body, content_type)
        frames = await dispatcher.run(method, work, seconds=seconds)
    except CallError as refused:
        error = refused
    frames += _frame(_TRAILERS, "".join(f"{name}: {value}\r\n" for name, value in trailers_of(error)).encode())
    return Reply(200, base64.b64encode(frames) if _is_text(content_type) else frames, content_type)


def read_timeout(header: str | None) -> float | None:
    """The seconds of a ``grpc-timeout``; None: there is no limit. Raises ``CallError``."""
    if header is None:
        return None
    if not re.fullmatch("[0-9]{1,8}[HMSmun]", header):
        raise CallError(Code.INVALID_ARGUMENT, "malformed request: grpc-timeout is no time")
    return int(header[:-1]) * _SECONDS[header[-1]]


def trailers_of(error: CallError | None) -> list[tuple[str, str]]:
    """How a call ended; None: well."""
    if error is None:
        return [("grpc-status", "0")]
    trailers = [("grpc-status", str(int(error.code))), ("grpc-message", _percent_encoded(str(error)))]
    if error.details:
        status = base64.b64encode(error.status.SerializeToString()).decode().rstrip("=")
        trailers.append(("grpc-status-details-bin", status))
    return trailers


def _answer(dispatcher: Dispatcher, method: Method, headers: Headers, body: bytes, content_type: str) -> bytes:
    dispatcher.refuse_strangers(method, headers, body)
    frames = _decoded_text(body) if _is_text(content_type) else body
    return _frame(0, dispatcher.answer_bytes(method, headers, _message_in(frames)))


def _message_in(frames: bytes) -> bytes:
    """The one message of a unary call."""
    if len(frames) < _HEAD.size:
        raise CallError(Code.INVALID_ARGUMENT, "malformed request: there is no message")
    flags, length = _HEAD.unpack_from(frames)
    if flags & 1:
        raise CallError(Code.UNIMPLEMENTED, "compressed messages are not read")
    if flags or len(frames) != _HEAD.size + length:
        raise CallError(Code.INVALID_ARGUMENT, "malformed request: there is not one message")
    return frames[_HEAD.size :]


def _frame(flags: int, message: bytes) -> bytes:
    return _HEAD.pack(flags, len(message)) + message


def _is_text(content_type: str) -> bool:
    return content_type.startswith(_TEXT)


def _decoded_text(body: bytes) -> bytes:
    """Base64, also of several pieces that were padded each by itself."""
    try:
        return b"".join(base64.b64decode(piece, validate=True) for piece in re.findall(rb"[^=]+=*|=+", body))
    except binascii.Error:
        raise CallError(Code.INVALID_ARGUMENT, "malformed request: the body is not base64") from None


def _percent_encoded(message: str) -> str:
    printable = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
    return quote(message, safe=printable)
