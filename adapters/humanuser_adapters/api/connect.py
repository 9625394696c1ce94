"""The Connect protocol, unary: a message as JSON or in protobuf's bytes, and HTTP's own status.

(https://connectrpc.com/docs/protocol)
"""

from __future__ import annotations

import base64
import re
from functools import partial

from starlette.types import Receive

from humanuser_adapters.api.asgi import Reply, read_body
from humanuser_adapters.api.dispatch import Dispatcher, Headers
from humanuser_adapters.api.methods import Method
from humanuser_adapters.api.rest import json_reply
from humanuser_adapters.api.status import HTTP_STATUS, CallError, Code

_JSON = "application/json"
CONTENT_TYPES = (_JSON, "application/proto")


async def respond(
    dispatcher: Dispatcher, method: Method, headers: Headers, receive: Receive, content_type: str
) -> Reply:
    """The reply to a call of *method*."""
    try:
        body = await read_body(receive)
        _refuse_unknown_protocol(headers)
        seconds = _read_timeout(headers.get("connect-timeout-ms"))
        answer = dispatcher.answer_json if content_type == _JSON else dispatcher.answer_bytes
        work = partial(answer, method, headers, body)
        return Reply(200, await dispatcher.run(method, work, seconds=seconds), content_type)
    except CallError as error:
        return _refused(error)


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


def _refused(error: CallError) -> Reply:
    status: dict[str, object] = {"code": error.code.name.lower(), "message": str(error)}
    if error.details:
        status["details"] = [
            {
                "type": detail.DESCRIPTOR.full_name,
                "value": base64.b64encode(detail.SerializeToString()).decode().rstrip("="),
            }
            for detail in error.details
        ]
    seconds = error.retry_after_seconds
    return json_reply(status, HTTP_STATUS[error.code], {} if seconds is None else {"Retry-After": str(seconds)})
