"""The same call by each wire of the API, and what came of it, told alike."""

from __future__ import annotations

import base64
import json
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, unquote

import grpc
import httpx2
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from fakes import eventually
from humanuser import Authenticator
from humanuser_adapters.api import PhoneService, http_app
from humanuser_adapters.api.methods import METHODS, Method
from humanuser_adapters.api.server import ApiServer, Certificate

BY_NAME = {method.name: method for method in METHODS}


@dataclass(frozen=True)
class Outcome:
    """How a call ended."""

    code: int
    message: str = ""
    details: tuple[Any, ...] = ()
    """Of an error, each as its JSON is."""
    answer: Message | None = None


class Wire(Protocol):
    """A way to make calls."""

    def call(self, method: Method, request: Message, headers: Mapping[str, str]) -> Outcome:
        """Make one call."""

    def close(self) -> None:
        """Make no more."""


class _Http:
    request_id: str | None = None
    """Of the last answer."""

    def __init__(self, address: str) -> None:
        no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it reads no certificates, which takes longer than many calls
        hooks = {"response": [self._remember]}
        self._client = httpx2.Client(base_url=f"http://{address}", verify=no_tls, trust_env=False, event_hooks=hooks)

    def _remember(self, answer: httpx2.Response) -> None:
        self.request_id = answer.headers.get("x-request-id")

    def close(self) -> None:
        self._client.close()


@contextmanager
def served(service: PhoneService, authenticator: Authenticator, **more: Any) -> Iterator[str]:
    """Where the API is, ``host:port``, while the block runs; *more* is as of ``running``."""
    with running(service, authenticator, **more) as server:
        yield address_of(server)


@contextmanager
def running(
    service: PhoneService,
    authenticator: Authenticator,
    *,
    certificate: Certificate | None = None,
    grpc_address: str | None = None,
    **more: Any,  # of ``http_app``
) -> Iterator[ApiServer]:
    """A server of the API while the block runs."""
    app = http_app(service, authenticator, **more)
    server = ApiServer(app, service, authenticator, certificate=certificate, grpc_address=grpc_address)
    server.config.port = 0
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert eventually(lambda: server.started)
        yield server
    finally:
        server.should_exit = True
        thread.join()


def address_of(server: ApiServer) -> str:
    """Where it listens, ``host:port``."""
    return f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


class Rest(_Http):
    """JSON on the paths of the gateway."""

    def call(self, method: Method, request: Message, headers: Mapping[str, str]) -> Outcome:
        fields = json_format.MessageToDict(request, preserving_proto_field_name=True)
        user_id = fields.pop("user_id", "") if "{user_id}" in method.path else ""
        path = method.path.replace("{user_id}", quote(user_id, safe=""))
        body = None if method.verb in {"GET", "DELETE"} else json.dumps(fields).encode()
        answer = self._client.request(method.verb, path, content=body, headers=headers)
        if answer.status_code == 200:
            return Outcome(0, answer=json_format.Parse(answer.content, method.response()))
        status = answer.json()
        return Outcome(status["code"], status["message"], tuple(status.get("details", ())))


class Connect(_Http):
    """The Connect protocol, with JSON or with protobuf's bytes."""

    def __init__(self, address: str, *, as_json: bool) -> None:
        super().__init__(address)
        self._as_json = as_json

    def call(self, method: Method, request: Message, headers: Mapping[str, str]) -> Outcome:
        body = json_format.MessageToJson(request).encode() if self._as_json else request.SerializeToString()
        kind = "application/json" if self._as_json else "application/proto"
        more = {"content-type": kind, "connect-protocol-version": "1", **headers}
        answer = self._client.post(method.rpc_path, content=body, headers=more)
        if answer.status_code != 200:
            error = answer.json()
            code = next(code for code in grpc.StatusCode if code.name.lower() == error["code"])
            details = tuple(_detail(one["type"], _unpadded(one["value"])) for one in error.get("details", ()))
            return Outcome(code.value[0], error["message"], details)
        assert answer.headers["content-type"] == kind
        if self._as_json:
            return Outcome(0, answer=json_format.Parse(answer.content, method.response()))
        return Outcome(0, answer=method.response.FromString(answer.content))


class GrpcWeb(_Http):
    """gRPC-Web, in bytes or as text."""

    def __init__(self, address: str, *, content_type: str) -> None:
        super().__init__(address)
        self._content_type = content_type
        self._is_text = "text" in content_type

    def call(self, method: Method, request: Message, headers: Mapping[str, str]) -> Outcome:
        message = request.SerializeToString()
        body = struct.pack(">BI", 0, len(message)) + message
        more = {"content-type": self._content_type, "x-grpc-web": "1", **headers}
        answer = self._client.post(
            method.rpc_path, content=base64.b64encode(body) if self._is_text else body, headers=more
        )
        assert (answer.status_code, answer.headers["content-type"]) == (200, self._content_type)
        frames = dict(_frames(base64.b64decode(answer.content) if self._is_text else answer.content))
        trailers = dict(line.split(": ", 1) for line in frames[0x80].decode().split("\r\n") if line)
        if trailers["grpc-status"] == "0":
            return Outcome(0, answer=method.response.FromString(frames[0]))
        details = _details(_unpadded(trailers.get("grpc-status-details-bin", "")))
        return Outcome(int(trailers["grpc-status"]), unquote(trailers["grpc-message"]), details)


class Grpc:
    """gRPC, by its own library."""

    request_id: str | None = None
    """Of the last answer."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        if credentials is None:
            self._channel = grpc.insecure_channel(address)
        else:
            self._channel = grpc.secure_channel(address, credentials)

    def call(self, method: Method, request: Message, headers: Mapping[str, str]) -> Outcome:
        stub: Any = self._channel.unary_unary(  # Any: its types are those of the messages
            method.rpc_path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=method.response.FromString,
        )
        ended: Any  # of the library, as above
        try:
            answer, ended = stub.with_call(request, metadata=tuple(headers.items()), timeout=30)
            return Outcome(0, answer=answer)
        except grpc.RpcError as error:
            ended = error  # it is a grpc.Call as well, which its types do not say
            packed = dict(ended.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            return Outcome(ended.code().value[0], ended.details() or "", _details(packed))
        finally:
            self.request_id = dict(ended.initial_metadata()).get("x-request-id")

    def close(self) -> None:
        self._channel.close()


@contextmanager
def every_wire(address: str) -> Iterator[dict[str, Wire]]:
    """All of them, by name, while the block runs."""
    wires: dict[str, Wire] = {
        "REST": Rest(address),
        "gRPC": Grpc(address),
        "gRPC-Web": GrpcWeb(address, content_type="application/grpc-web+proto"),
        "gRPC-Web, bare": GrpcWeb(address, content_type="application/grpc-web"),
        "gRPC-Web, text": GrpcWeb(address, content_type="application/grpc-web-text"),
        "Connect, JSON": Connect(address, as_json=True),
        "Connect, proto": Connect(address, as_json=False),
    }
    try:
        yield wires
    finally:
        for wire in wires.values():
            wire.close()


def _frames(body: bytes) -> Iterator[tuple[int, bytes]]:
    while body:
        flags, length = struct.unpack_from(">BI", body)
        yield flags, body[5 : 5 + length]
        body = body[5 + length :]


def _details(status: bytes) -> tuple[Any, ...]:
    return tuple(dict(json_format.MessageToDict(one)) for one in Status.FromString(status).details)


def _detail(kind: str, value: bytes) -> Any:
    packed = Status().details.add(type_url=f"type.googleapis.com/{kind}", value=value)
    return dict(json_format.MessageToDict(packed))


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
