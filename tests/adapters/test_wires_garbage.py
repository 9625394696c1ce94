"""Garbage, and clients that stop half-way: told so on every wire, and nobody else is any the worse for it."""

from __future__ import annotations

import base64
import gc
import json
import logging
import operator
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import httpx2
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from fakes import Callers, FakeClock, eventually
from humanuser import By, Caller, HumanUserAdded
from humanuser.testing import TransparentVault
from humanuser_adapters.api import Code, PhoneService, connect, grpc_web
from humanuser_adapters.api.methods import METHODS, Method
from humanuser_adapters.api.one_port import PREFACE
from humanuser_adapters.api.server import ApiServer
from humanuser_adapters.application import Application
from humanuser_adapters.auth import permissions_of
from wires import BY_NAME, address_of, every_wire, running

ADA = {"authorization": "Bearer ada"}
CALLERS = Callers(ada=Caller("ada", "org1", permissions_of(["ORG_OWNER"], "org1")))
FIELDS = {"user_id": "ada", "phone": "+41791234568", "code": "123456", "verification_code": "123456"}
FAULTS = {2: "unknown", 13: "internal", 15: "data_loss"}
"""Codes that say that it is the server's doing."""
EXAMPLES = max(min(settings().max_examples, 50), settings().max_examples // 5)


@dataclass(frozen=True)
class World:
    """A server on which there is Ada, and a client that keeps no connections."""

    server: ApiServer
    client: httpx2.Client
    application: Application
    clock: FakeClock

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = address_of(self.server).partition(":")
        return host, int(port)

    @property
    def at_rest(self) -> bool:
        """Whether it holds no connection, and works on nothing."""
        return not self.server.server_state.connections and not self.server.server_state.tasks


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path, clock = tmp_path_factory.mktemp("world") / "test.sqlite", FakeClock()
    with Application(path, TransparentVault(), clock=clock) as application:
        by = By("admin", organization="org1")
        application.commands.add_human_user("ada", HumanUserAdded(user_name="ada"), phone="+41791234567", by=by)
        service = PhoneService(application.commands, application.find_user, application.new_user_id)
        with running(service, CALLERS) as server:
            limits = httpx2.Limits(max_keepalive_connections=0)
            base_url = f"http://{address_of(server)}"
            with httpx2.Client(base_url=base_url, headers=ADA, limits=limits, trust_env=False) as client:
                yield World(server, client, application, clock)


@st.composite
def bodies(draw: DrawFn, good: bytes) -> bytes:
    """Any bytes, or *good* with other bytes in a few places."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    body = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(body)))
        end = draw(st.integers(begin, min(begin + 8, len(body))))
        body[begin:end] = draw(st.binary(max_size=8))
    return bytes(body)


def good_fields(method: Method) -> dict[str, str]:
    fields = method.request.DESCRIPTOR.fields
    return {field.name: FIELDS[field.name] for field in fields if field.name in FIELDS and not field.message_type}


def good_message(method: Method) -> bytes:
    return method.request(**good_fields(method)).SerializeToString()


def framed(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


def frames_of(body: bytes) -> Iterator[tuple[int, bytes]]:
    while body:
        flags, length = struct.unpack_from(">BI", body)
        assert len(body) >= 5 + length
        yield flags, body[5 : 5 + length]
        body = body[5 + length :]


def grpc_web_status(answer: httpx2.Response, method: Method, content_type: str) -> int:
    """The code in an answer, all of which is as gRPC-Web wants it."""
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    is_text = "text" in content_type
    *messages, (last, trailers) = frames_of(
        base64.b64decode(answer.content, validate=True) if is_text else answer.content
    )
    code = int(dict(line.split(": ", 1) for line in trailers.decode("ascii").splitlines())["grpc-status"])
    assert (last, [flags for flags, _ in messages]) == (0x80, [0] if code == 0 else [])
    for _, message in messages:
        method.response.FromString(message)
    return code


@pytest.mark.parametrize("content_type", grpc_web.CONTENT_TYPES)
@settings(max_examples=EXAMPLES)
@given(method=st.sampled_from(METHODS), data=st.data(), encoded=st.booleans())
def test_garbage_of_grpc_web_is_the_clients_doing(
    world: World, content_type: str, method: Method, data: st.DataObject, encoded: bool
) -> None:
    body = data.draw(bodies(framed(good_message(method))))
    if "text" in content_type and encoded:
        body = base64.b64encode(body)

    answer = world.client.post(method.rpc_path, content=body, headers={"content-type": content_type})

    assert grpc_web_status(answer, method, content_type) not in FAULTS


@pytest.mark.parametrize("content_type", connect.CONTENT_TYPES)
@settings(max_examples=EXAMPLES)
@given(method=st.sampled_from(METHODS), data=st.data())
def test_garbage_of_connect_is_the_clients_doing(
    world: World, content_type: str, method: Method, data: st.DataObject
) -> None:
    is_json = content_type == "application/json"
    body = data.draw(bodies(json.dumps(good_fields(method)).encode() if is_json else good_message(method)))

    answer = world.client.post(method.rpc_path, content=body, headers={"content-type": content_type})

    if answer.status_code == 200:
        assert answer.headers["content-type"] == content_type
        parse: Callable[[bytes], Message] = method.response.FromString
        if is_json:
            parse = partial(json_format.Parse, message=method.response())
        parse(answer.content)
    else:
        assert 400 <= answer.status_code < 500
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["code"] in {code.name.lower() for code in Code} - set(FAULTS.values())


@settings(max_examples=EXAMPLES)
@given(method=st.sampled_from([method for method in METHODS if method.verb in ("PUT", "POST")]), data=st.data())
def test_garbage_of_rest_is_the_clients_doing(world: World, method: Method, data: st.DataObject) -> None:
    body = data.draw(bodies(json.dumps(good_fields(method)).encode()))

    answer = world.client.request(method.verb, method.path.replace("{user_id}", "ada"), content=body)

    assert answer.headers["content-type"] == "application/json"
    if answer.status_code == 200:
        json_format.Parse(answer.content, method.response())
    else:
        assert 400 <= answer.status_code < 500
        assert answer.json()["code"] not in FAULTS


@settings(max_examples=EXAMPLES)
@given(method=st.sampled_from(METHODS), data=st.data())
def test_garbage_of_grpc_is_the_clients_doing(world: World, method: Method, data: st.DataObject) -> None:
    body = data.draw(bodies(good_message(method)))
    with grpc.insecure_channel(address_of(world.server)) as channel:
        stub: Any = channel.unary_unary(method.rpc_path)  # Any: without coders it takes and gives bytes

        try:
            code = 0
            method.response.FromString(stub(body, metadata=tuple(ADA.items()), timeout=30))
        except grpc.RpcError as error:
            ended: Any = error  # Any: it is a grpc.Call as well, which its types do not say
            code = ended.code().value[0]

    assert code not in FAULTS


def header_values() -> SearchStrategy[bytes]:
    """What HTTP lets a header be: printable ASCII and bytes above it, without spaces at the ends."""
    legal = st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")
    return st.text(legal, max_size=100).map(lambda text: text.strip().encode("latin-1"))


STRANGE = {
    "authorization": st.just(b"Bearer \xe9"),
    "x-zitadel-orgid": st.just(b"org1, org2"),
    "idempotency-key": st.just(b"k" * 201),
    "grpc-timeout": st.sampled_from([b"0S", b"1n", b"99999999H", b"1S, 2S"]),
    "connect-timeout-ms": st.sampled_from([b"0", b"9999999999", b"-1"]),
    "connect-protocol-version": st.just(b"2"),
    "content-encoding": st.sampled_from([b"identity", b"gzip"]),
    "content-type": st.sampled_from([b"application/json; charset=latin-1", b"APPLICATION/JSON", b"application/grpc"]),
    "origin": st.just(b"null"),
    "accept": st.just(b"text/html"),
    "cookie": st.just(b"a=b; ;=;"),
}
"""Values that make it half-way, by header."""


@st.composite
def strange_headers(draw: DrawFn) -> dict[str, bytes]:
    """One or two of them; more would hide each other."""
    names = draw(st.lists(st.sampled_from(sorted(STRANGE)), min_size=1, max_size=2, unique=True))
    return {name: draw(STRANGE[name] | header_values()) for name in names}


@settings(max_examples=3 * EXAMPLES)
@given(
    method=st.sampled_from(METHODS),
    content_type=st.sampled_from(["", *grpc_web.CONTENT_TYPES, *connect.CONTENT_TYPES]),
    strange=strange_headers(),
)
def test_strange_headers_are_the_clients_doing(
    world: World, method: Method, content_type: str, strange: dict[str, bytes]
) -> None:
    verb, path = ("POST", method.rpc_path) if content_type else (method.verb, method.path.replace("{user_id}", "ada"))
    headers = {"content-type": content_type.encode(), **strange}

    answer = world.client.request(
        verb, path, content=b"{}", headers=[(name.encode(), value) for name, value in headers.items()]
    )

    excused = {501: "content-encoding", 504: "connect-timeout-ms"}
    assert answer.status_code < 500 or excused[answer.status_code] in strange
    if answer.headers.get("content-type") in grpc_web.CONTENT_TYPES:
        assert grpc_web_status(answer, method, answer.headers["content-type"]) not in FAULTS


SETTINGS = b"\0\0\0\4\0\0\0\0\0"
"""The frame that HTTP/2 has after the preface, with nothing in it."""
RESEND = BY_NAME["ResendMyPhoneVerification"]
REST_HEAD = f"POST {RESEND.path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ada\r\n".encode()
RPC_HEAD = f"POST {RESEND.rpc_path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ada\r\n".encode()
NOISE = bytes(reversed(range(256))) * 2

SAID: dict[str, list[bytes]] = {
    "nothing": [],
    "a letter": [b"P"],
    "a part of a preface": [b"PRI * HTTP/2.0\r\n"],
    "a preface": [PREFACE],
    "a preface in pieces": [PREFACE[:1], PREFACE[1:20], PREFACE[20:]],
    "a preface and garbage": [PREFACE + NOISE],
    "a preface, and then garbage": [PREFACE, NOISE],
    "a preface, settings and garbage": [PREFACE + SETTINGS, NOISE],
    "a preface and half a frame": [PREFACE + SETTINGS[:5]],
    "a preface and a frame that never ends": [PREFACE + SETTINGS + b"\xff\xff\xff\0\0\0\0\0\1"],
    "a preface that is none": [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"],
    "garbage": [NOISE],
    "the beginning of TLS": [b"\x16\3\1\2\0\1\0\1\xfc\3\3" + NOISE],
    "empty lines": [b"\r\n" * 50],
    "half a line": [b"PUT /auth/v1/us"],
    "half a head": [REST_HEAD + b"Content-Le"],
    "a head that never ends": [REST_HEAD + b"a: b\r\n" * 20_000],
    "half a body": [REST_HEAD + b"Content-Length: 20\r\n\r\n{"],
    "no body": [REST_HEAD + b"Content-Length: 2\r\n\r\n"],
    "no body, of Connect": [RPC_HEAD + b"Content-Type: application/proto\r\nContent-Length: 2\r\n\r\n"],
    "half a frame": [RPC_HEAD + b"Content-Type: application/grpc-web\r\nContent-Length: 5\r\n\r\n\0\0"],
    "a whole message, and more to come": [REST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"],
    "chunks that are none": [REST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n"],
    "chunks that are none after the answer": [
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"zz\r\n",
    ],
    "two lengths": [REST_HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"],
    "a length below zero": [REST_HEAD + b"Content-Length: -2\r\n\r\n{}"],
    "no host": [b"GET /healthz HTTP/1.1\r\n\r\n"],
    "what waits to be let on": [REST_HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"],
    "a call and garbage": [b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + NOISE],
    "calls one upon the other": [b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 50],
    "a call, and then a preface": [b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", PREFACE],
    "an upgrade": [b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", NOISE],
    "a path that is no text": [b"GET /%ff%00/../%2e%2e?%zz HTTP/1.1\r\nHost: a\r\n\r\n"],
    "a method of 10,000 letters": [b"A" * 10_000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n"],
}
"""In pieces, with a pause after each."""


def leave(connection: socket.socket) -> None:
    connection.close()


def break_off(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def fall_silent(connection: socket.socket) -> None:
    """Say that there is no more to come, and listen to the end."""
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65536):
        pass


ENDINGS = [leave, break_off, fall_silent]


def visit(world: World, said: Sequence[bytes], ending: Callable[[socket.socket], None]) -> None:
    """Say that, and end it like that; that the server ends it first is no wonder."""
    with socket.create_connection(world.address, timeout=10) as connection, suppress(ConnectionError):
        for piece in said:
            connection.sendall(piece)
            time.sleep(0.01)
        ending(connection)


def answered(world: World) -> dict[str, int]:
    """The code of a good call by each wire."""
    method = BY_NAME["GetMyPhone"]
    with every_wire(address_of(world.server)) as wires:
        return {name: wire.call(method, method.request(), ADA).code for name, wire in wires.items()}


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of errors."""
    return [record.getMessage() for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


@pytest.mark.parametrize("said", SAID)
def test_who_talks_garbage_and_goes_leaves_nothing_behind(
    world: World, caplog: pytest.LogCaptureFixture, said: str
) -> None:
    world.clock.advance(hours=1)
    head = world.application.head()

    for ending in ENDINGS:
        visit(world, SAID[said], ending)

    assert eventually(lambda: world.at_rest)
    assert set(answered(world).values()) == {0}
    assert eventually(lambda: world.at_rest)
    assert complaints(caplog) == []
    assert world.application.head() == head


BEGINNINGS = [b"", PREFACE, PREFACE + SETTINGS, b"PUT /", REST_HEAD, REST_HEAD + b"Content-Length: 500\r\n\r\n"]


@settings(
    max_examples=EXAMPLES // 2,
    phases=[Phase.reuse, Phase.generate],  # what does not come to rest takes too long to be made smaller
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the log of all examples is what is wanted
)
@given(
    said=st.builds(operator.add, st.sampled_from(BEGINNINGS), st.binary(max_size=300)), ending=st.sampled_from(ENDINGS)
)
def test_whatever_is_said_leaves_nothing_behind(
    world: World, caplog: pytest.LogCaptureFixture, said: bytes, ending: Callable[[socket.socket], None]
) -> None:
    visit(world, [said], ending)

    assert eventually(lambda: world.at_rest)
    assert complaints(caplog) == []
    assert world.client.get(BY_NAME["GetMyPhone"].path).status_code == 200


def test_many_that_stop_half_way_keep_nobody_waiting(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as stack:
        for said in [piece for piece in SAID.values() for _ in range(3)]:
            connection = stack.enter_context(socket.create_connection(world.address, timeout=10))
            with suppress(ConnectionError):
                connection.sendall(b"".join(said))

        codes = answered(world)

    assert set(codes.values()) == {0}
    assert eventually(lambda: world.at_rest)
    gc.collect()  # only then it is told of a task that nobody looked after
    assert complaints(caplog) == []


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"GET /auth/v1/users/me/phone HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ada\r\n\r\n", b"HTTP/1.1 200"),
        (RPC_HEAD + b"Content-Type: application/grpc-web\r\nContent-Length: 5\r\n\r\n" + framed(b""), b"HTTP/1.1 200"),
        (PREFACE + SETTINGS, b"\0\0"),
    ],
    ids=["REST", "gRPC-Web", "gRPC"],
)
def test_a_request_may_come_byte_by_byte(world: World, said: bytes, answer: bytes) -> None:
    with socket.create_connection(world.address, timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in said:
            connection.sendall(bytes([byte]))
            time.sleep(0.001)
        heard = connection.recv(65536)

    assert heard.startswith(answer)
    assert eventually(lambda: world.at_rest)


def test_connections_to_grpc_are_closed_on_both_sides(world: World) -> None:
    visit(world, [PREFACE + SETTINGS], leave)
    assert eventually(lambda: world.at_rest)
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(30):
        visit(world, [PREFACE + SETTINGS], leave)

    assert eventually(lambda: len(os.listdir("/proc/self/fd")) < before + 10)
