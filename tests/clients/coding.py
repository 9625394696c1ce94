"""Calls and what came of them as JSON, in which programs in other languages take and give them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from humanuser_adapters.api.methods import Method
from humanuser_adapters.api.protos.object_pb2 import ErrorDetail
from wires import Outcome

Json = dict[str, Any]
"""An object of JSON. Any: whatever it holds."""

_TYPES = "type.googleapis.com/"


def call_of(method: Method, request: Message, headers: Mapping[str, str]) -> Json:
    """A call; the token is apart from the headers, for clients have a place of its own for it."""
    token = headers.get("authorization", "").removeprefix("Bearer ")
    return {
        "service": method.service,
        "method": method.name,
        "request": json_format.MessageToDict(request),
        "token": token,
        "headers": {name: value for name, value in headers.items() if name != "authorization"},
    }


def outcome_of(method: Method, text: str) -> Outcome:
    """What a program wrote about a call; an error's details it decoded itself, or gives as ``google.rpc.Status``."""
    ended: Json = json.loads(text)
    if ended["code"] == 0:
        return Outcome(0, answer=json_format.ParseDict(ended["answer"], method.response()))
    details = ended["details"] if "details" in ended else _details_in(base64.b64decode(ended.get("status", "")))
    return Outcome(ended["code"], ended["message"], tuple(details))


def outcome_of_connect_error(error: Json) -> Outcome:
    """The error of the Connect protocol. (https://connectrpc.com/docs/protocol)"""
    code = next(code for code in grpc.StatusCode if code.name.lower() == error["code"])
    packed = [(one["type"], base64.b64decode(f"{one['value']}==")) for one in error.get("details", ())]
    return Outcome(code.value[0], error["message"], tuple(_known(packed)))


def _details_in(status: bytes) -> Iterable[Json]:
    return _known((one.type_url.removeprefix(_TYPES), one.value) for one in Status.FromString(status).details)


def _known(packed: Iterable[tuple[str, bytes]]) -> Iterable[Json]:
    """ZITADEL's own details."""
    for kind, value in packed:
        if kind == ErrorDetail.DESCRIPTOR.full_name:
            yield json_format.MessageToDict(ErrorDetail.FromString(value))
