"""The Connect protocol, unary: a message as JSON or in protobuf's bytes, and HTTP's own status.

(https://connectrpc.com/docs/protocol)
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from humanuser_adapters.api.dispatch import Dispatcher, Headers, answered
from humanuser_adapters.api.json_coding import decode, encode
from humanuser_adapters.api.methods import Method
from humanuser_adapters.api.rest import read_body
from humanuser_adapters.api.status import HTTP_STATUS, CallError, Code

_JSON = "application/json"
CONTENT_TYPES = (_JSON, "application/proto")


async def respond(dispatcher: Dispatcher, method: Method, request: Request, content_type: str) -> Response:
    """The response to a call of *method*."""
    try:
        body = await read_body(request)
        _refuse_unknown_protocol(request.headers)
        seconds = _read_timeout(request.headers.get("connect-timeout-ms"))
        answer = await answered(
            lambda: _answer(dispatcher, method, request.headers, body, is_json=content_type == _JSON), seconds=seconds
        )
    except CallError as error:
        return _refused(error)
    return Response(answer, media_type=content_type)


def _answer(dispatcher: Dispatcher, method: Method, headers: Headers, body: bytes, *, is_json: bool) -> bytes:
    if is_json:
        return encode(dispatcher.answer(method, headers, decode(body, method.request)))
    return dispatcher.answer_bytes(method, headers, body)


def _refuse_unknown_protocol(headers: Headers) -> None:
    if headers.get("connect-protocol-version", "1") != "1":
        raise CallError(Code.INVALID_ARGUMENT, "connect-protocol-version must be 1")
    if headers.get("content-encoding", "identity") != "identity":
        raise CallError(Code.UNIMPLEMENTED, "compressed messages are not read")


def _read_timeout(header: str | None) -> float | None:
    if header is None:
        return None
    if not re.fullmatch("[0-9]{1,10}", header):
        raise CallError(Code.INVALID_ARGUMENT, "malformed request: connect-timeout-ms is no time")
    return int(header) / 1000


def _refused(error: CallError) -> Response:
    status: dict[str, object] = {"code": error.code.name.lower(), "message": str(error)}
    if error.details:
        status["details"] = [
            {
                "type": detail.DESCRIPTOR.full_name,
                "value": base64.b64encode(detail.SerializeToString()).decode().rstrip("="),
            }
            for detail in error.details
        ]
    headers: Mapping[str, str] = {}
    if error.retry_after_seconds is not None:
        headers = {"Retry-After": str(error.retry_after_seconds)}
    return Response(json.dumps(status, ensure_ascii=False), HTTP_STATUS[error.code], headers=headers, media_type=_JSON)
