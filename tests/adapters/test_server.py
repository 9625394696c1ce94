"""The server of all wires: one port or two, TLS, deadlines, limits, and how it stops."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import proto_stubs
from certificates import make_certificate
from fakes import Callers, as_caller, eventually
from humanuser import Caller
from humanuser_adapters.api import dispatch, http1
from humanuser_adapters.api.asgi import LARGEST_MESSAGE
from humanuser_adapters.api.methods import METHODS
from humanuser_adapters.api.protos.auth_pb2 import GetMyPhoneResponse, SetMyPhoneRequest
from humanuser_adapters.api.server import Certificate
from humanuser_adapters.api.status import CallError
from web import unused_port
from wires import BY_NAME, Grpc, Outcome, Wire, every_wire, served

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
METHOD = BY_NAME["SetMyPhone"]
ADA = {"authorization": "Bearer ada"}
CALLERS = Callers(ada=Caller("ada", "org1"))
ANSWER = GetMyPhoneResponse(phone={"phone": "+41791234567"})


class Service:
    """Answers at once, or when it is told to."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.begun = threading.Semaphore(0)
        self.answered = 0

    def set_my_phone(self, _: object, request: SetMyPhoneRequest) -> Any:  # Any: of whichever method
        self.begun.release()
        assert self.may_answer.wait(30)
        self.answered += 1
        return METHOD.response(details={"resource_owner": request.phone})

    def get_my_phone(self, *_: object) -> GetMyPhoneResponse:
        return ANSWER


@pytest.fixture
def service() -> Service:
    return Service()


def serving(service: Service, **more: Any) -> Any:  # Any: a context manager of an address
    return served(service, CALLERS, **more)  # type: ignore[arg-type]  # it has the methods that are called


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    with serving(service) as address:
        yield address


@pytest.fixture
def wires(address: str) -> Iterator[dict[str, Wire]]:
    with every_wire(address) as wires:
        yield wires


def connected(address: str) -> socket.socket:
    host, _, port = address.partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_the_python_of_the_proto_files_is_not_stale(tmp_path: Path) -> None:
    proto_stubs.generate(tmp_path)

    made = {path.name: path.read_text() for path in tmp_path.rglob("*_pb2.py*")}
    assert made
    assert made == {path.name: path.read_text() for path in proto_stubs.PROTOS.glob("*_pb2.py*")}


class TestSlowClients:
    @pytest.fixture(autouse=True)
    def short_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http1, "REQUEST_SECONDS", 0.3)

    @pytest.mark.parametrize(
        "begun",
        [
            b"",
            b"PRI * HTTP/2.0",
            b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
            b"PUT /auth/v1/users/me/phone HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{",
        ],
        ids=["nothing", "half a preface", "half a head", "half a body"],
    )
    def test_a_request_that_does_not_arrive_ends_its_connection(self, address: str, begun: bytes) -> None:
        with connected(address) as client:
            client.sendall(begun)
            assert client.recv(1000) == b""

    def test_so_does_a_second_one(self, address: str) -> None:
        with connected(address) as client:
            client.sendall(HEALTH)
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
            began = time.monotonic()
            client.sendall(b"GET /healthz")
            while client.recv(1000):
                pass

        assert time.monotonic() - began < 4  # uvicorn waits 5 seconds for the next request to begin

    def test_a_call_may_take_longer_to_answer_than_to_arrive(self, service: Service, address: str) -> None:
        service.may_answer.clear()
        threading.Timer(1, service.may_answer.set).start()

        with every_wire(address) as wires:
            outcomes = [wire.call(METHOD, METHOD.request(phone="+1"), ADA) for wire in wires.values()]

        assert {outcome.code for outcome in outcomes} == {0}


class TestPorts:
    def test_grpc_may_have_a_port_of_its_own(self, service: Service) -> None:
        port = unused_port()
        with (
            serving(service, grpc_address=f"127.0.0.1:{port}") as address,
            every_wire(f"127.0.0.1:{port}") as own,
            every_wire(address) as others,
        ):
            outcomes = [own["gRPC"].call(METHOD, METHOD.request(phone="+1"), ADA)]
            outcomes += [others["REST"].call(METHOD, METHOD.request(phone="+1"), ADA)]
            refused = others["gRPC"].call(METHOD, METHOD.request(phone="+1"), ADA)

        assert [outcome.code for outcome in outcomes] == [0, 0]
        assert refused.code == grpc.StatusCode.UNAVAILABLE.value[0]

    @pytest.mark.parametrize("two_ports", [False, True])
    def test_tls_is_spoken_with_a_certificate(self, service: Service, tmp_path: Path, two_ports: bool) -> None:
        pem = make_certificate(tmp_path, "127.0.0.1")
        own = f"127.0.0.1:{unused_port()}" if two_ports else None
        credentials = grpc.ssl_channel_credentials(pem.read_bytes())
        with serving(service, certificate=Certificate(pem, pem), grpc_address=own) as address:
            context = ssl.create_default_context(cafile=pem)
            context.set_alpn_protocols(["h2", "http/1.1"])  # as a browser does
            with (
                connected(address) as raw,
                context.wrap_socket(raw, server_hostname="127.0.0.1") as spoken,
            ):
                chosen = spoken.selected_alpn_protocol()
            by_rest = httpx2.get(
                f"https://{address}/auth/v1/users/me/phone",
                headers=as_caller("ada"),
                verify=ssl.create_default_context(cafile=pem),
                trust_env=False,
            )
            by_grpc = Grpc(own or address, credentials)
            outcome = by_grpc.call(METHOD, METHOD.request(phone="+1"), ADA)
            by_grpc.close()

        assert chosen == "http/1.1"
        assert by_rest.json() == {"phone": {"phone": "+41791234567"}}
        assert outcome.code == 0

    def test_the_first_bytes_may_come_one_by_one(self, address: str) -> None:
        with connected(address) as raw:
            for byte in b"PRI / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n":
                raw.sendall(bytes([byte]))
            answer = b"".join(iter(lambda: raw.recv(1000), b""))

        assert answer.startswith(b"HTTP/1.1 404")


class TestDeadlines:
    @pytest.mark.parametrize(
        ("wire", "header", "value"),
        [
            ("gRPC-Web", "grpc-timeout", "50m"),
            ("gRPC-Web, text", "grpc-timeout", "0S"),
            ("Connect, JSON", "connect-timeout-ms", "50"),
            ("Connect, proto", "connect-timeout-ms", "0"),
        ],
    )
    def test_a_call_that_takes_longer_than_its_client_waits_is_given_up(
        self, service: Service, wires: dict[str, Wire], wire: str, header: str, value: str
    ) -> None:
        service.may_answer.clear()

        outcome = wires[wire].call(METHOD, METHOD.request(phone="+1"), {**ADA, header: value})
        service.may_answer.set()

        assert outcome == Outcome(4, "context deadline exceeded")

    def test_grpc_gives_it_up_too(self, service: Service, address: str) -> None:
        service.may_answer.clear()
        with grpc.insecure_channel(address) as channel:
            stub: Any = channel.unary_unary(METHOD.rpc_path, METHOD.request.SerializeToString, bytes)
            with pytest.raises(grpc.RpcError) as given_up:
                stub(METHOD.request(phone="+1"), timeout=0.1, metadata=tuple(ADA.items()))
        service.may_answer.set()

        ended: Any = given_up.value
        assert ended.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    @pytest.mark.parametrize(
        ("wire", "header", "value"),
        [
            ("gRPC-Web", "grpc-timeout", "soon"),
            ("gRPC-Web", "grpc-timeout", "999999999S"),
            ("Connect, JSON", "connect-timeout-ms", "-1"),
            ("Connect, JSON", "connect-protocol-version", "2"),
        ],
    )
    def test_a_time_or_a_version_that_is_none_is_refused(
        self, wires: dict[str, Wire], wire: str, header: str, value: str
    ) -> None:
        outcome = wires[wire].call(METHOD, METHOD.request(phone="+1"), {**ADA, header: value})

        assert (outcome.code, outcome.details) == (3, ())


class TestTurns:
    @pytest.fixture(autouse=True)
    def one_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For REST, gRPC-Web and Connect, and one for gRPC."""
        monkeypatch.setattr(dispatch, "THREADS", 1)

    @pytest.fixture
    def held(self, service: Service, wires: dict[str, Wire]) -> Iterator[Callable[[], set[int]]]:
        """Both threads are at work; what ends that, and tells how those calls ended."""
        service.may_answer.clear()
        with ThreadPoolExecutor(2) as pool:
            try:
                calls = [
                    pool.submit(wires[name].call, METHOD, METHOD.request(phone="+1"), ADA) for name in ("REST", "gRPC")
                ]
                for _ in calls:
                    assert service.begun.acquire(timeout=30)

                def end() -> set[int]:
                    service.may_answer.set()
                    return {call.result(30).code for call in calls}

                yield end
            finally:
                service.may_answer.set()

    def test_who_waits_too_long_for_a_turn_is_told_so_and_has_done_nothing(
        self,
        service: Service,
        wires: dict[str, Wire],
        held: Callable[[], set[int]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(dispatch, "LONGEST_WAIT_SECONDS", 0.05)

        outcomes = {name: wire.call(METHOD, METHOD.request(phone="+1"), ADA) for name, wire in wires.items()}
        monkeypatch.setattr(dispatch, "LONGEST_WAIT_SECONDS", 30)
        ended = held()
        after = {wires[name].call(METHOD, METHOD.request(phone="+1"), ADA).code for name in ("REST", "gRPC")}

        assert outcomes == dict.fromkeys(wires, Outcome(14, "Too many calls wait, nothing was done"))
        assert (ended, after) == ({0}, {0})
        assert service.answered == 4

    def test_who_gets_a_turn_in_time_is_answered(
        self, wires: dict[str, Wire], held: Callable[[], set[int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dispatch, "LONGEST_WAIT_SECONDS", 30)
        with ThreadPoolExecutor(len(wires)) as pool:
            calls = [pool.submit(wire.call, METHOD, METHOD.request(phone="+1"), ADA) for wire in wires.values()]
            held()
            outcomes = [call.result(30).code for call in calls]

        assert set(outcomes) == {0}

    def test_who_is_given_up_while_it_waits_is_not_carried_out_later(
        self, service: Service, wires: dict[str, Wire], held: Callable[[], set[int]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dispatch, "LONGEST_WAIT_SECONDS", 30)

        outcome = wires["gRPC-Web"].call(METHOD, METHOD.request(phone="+1"), {**ADA, "grpc-timeout": "50m"})
        held()
        after = wires["REST"].call(METHOD, METHOD.request(phone="+1"), ADA)

        assert outcome == Outcome(4, "context deadline exceeded")
        assert after.code == 0
        assert service.answered == 3

    def test_not_even_if_its_turn_comes_at_once(self, service: Service) -> None:
        dispatcher = dispatch.Dispatcher(service, CALLERS)  # type: ignore[arg-type]  # it has what is called
        may_end = threading.Event()
        done: list[bool] = []

        async def give_up() -> None:
            busy = asyncio.create_task(dispatcher.run(METHOD, lambda: may_end.wait(30)))
            await asyncio.sleep(0)  # until it has the thread
            with pytest.raises(CallError, match="deadline"):
                await dispatcher.run(METHOD, lambda: done.append(True), seconds=0.01)
            may_end.set()  # and the loop has no time to do anything before the thread is free
            time.sleep(0.2)
            await busy

        asyncio.run(give_up())

        assert done == []


def refused_or_cut_off(address: str, headers: dict[str, str]) -> bool:
    """Whether a request is answered 400; who goes on sending may find the connection closed before it can read that."""
    try:
        answer = httpx2.get(f"http://{address}/auth/v1/users/me/phone", headers=headers, trust_env=False)
    except httpx2.TransportError as error:
        return not isinstance(error, httpx2.TimeoutException)
    return answer.status_code == 400


class TestLimits:
    def test_a_message_that_is_too_large_is_refused_on_every_wire(self, wires: dict[str, Wire]) -> None:
        request = METHOD.request(phone="1" * (LARGEST_MESSAGE + 1))

        outcomes = {name: wire.call(METHOD, request, ADA) for name, wire in wires.items()}

        assert {name: outcome.code for name, outcome in outcomes.items()} == dict.fromkeys(wires, 8)

    def test_headers_that_are_too_large_are_refused_and_the_server_goes_on(
        self, address: str, wires: dict[str, Wire]
    ) -> None:
        huge = {**ADA, "x-user-agent": "a" * 200_000}

        by_grpc = wires["gRPC"].call(METHOD, METHOD.request(phone="+1"), huge)

        assert refused_or_cut_off(address, huge)
        assert by_grpc.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        assert {wire.call(METHOD, METHOD.request(phone="+1"), ADA).code for wire in wires.values()} == {0}

    def test_many_calls_at_once_on_one_connection_are_all_answered(self, address: str) -> None:
        calls, threads = 1_500, 32
        with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(threads) as pool:
            take = METHOD.response.FromString
            stub: Any = channel.unary_unary(METHOD.rpc_path, METHOD.request.SerializeToString, take)

            def call(number: int) -> Any:  # Any: the response
                return stub(METHOD.request(phone=str(number)), metadata=tuple(ADA.items()), timeout=60)

            answers = list(pool.map(call, range(calls)))

        assert [answer.details.resource_owner for answer in answers] == [str(number) for number in range(calls)]


class TestStrangers:
    def test_a_page_of_another_origin_may_call_rpc(self, address: str) -> None:
        asked = httpx2.options(
            f"http://{address}{METHOD.rpc_path}",
            headers={
                "Origin": "https://elsewhere.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-grpc-web,x-user-agent,x-zitadel-orgid",
            },
            trust_env=False,
        )
        called = httpx2.post(
            f"http://{address}{METHOD.rpc_path}",
            json={},
            headers={"Origin": "https://elsewhere.example", **as_caller("ada")},
            trust_env=False,
        )

        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, "*")
        assert called.headers["access-control-allow-origin"] == "*"
        assert "grpc-status" in called.headers["access-control-expose-headers"]

    @pytest.mark.parametrize(
        ("verb", "path", "content_type", "status"),
        [
            ("GET", METHOD.rpc_path, "application/json", 405),
            ("POST", METHOD.rpc_path, "text/plain", 415),
            ("POST", METHOD.rpc_path, "application/grpc", 415),
            ("POST", f"{METHOD.rpc_path}2", "application/json", 404),
            ("POST", "/zitadel.auth.v1.AuthService", "application/json", 404),
        ],
    )
    def test_what_is_no_call_is_told_so(
        self, address: str, verb: str, path: str, content_type: str, status: int
    ) -> None:
        answer = httpx2.request(
            verb, f"http://{address}{path}", headers={"content-type": content_type}, trust_env=False
        )

        assert answer.status_code == status

    def test_grpc_tells_its_health_and_its_methods(self, address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)  # Any: its types lack its method
            checked = health.Check(health_pb2.HealthCheckRequest(service=METHOD.service), timeout=10)
            database = ProtoReflectionDescriptorDatabase(channel)
            services = set(database.get_services())
            file = database.FindFileContainingSymbol(METHOD.service)

        assert checked.status == health_pb2.HealthCheckResponse.SERVING
        assert services >= {method.service for method in METHODS}
        assert METHOD.name in [method.name for method in file.service[0].method]

    def test_a_grpc_method_that_there_is_not_is_unimplemented(self, address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            stub: Any = channel.unary_unary("/zitadel.auth.v1.AuthService/Nothing", Empty.SerializeToString, bytes)
            with pytest.raises(grpc.RpcError) as refused:
                stub(Empty(), timeout=10)

        ended: Any = refused.value
        assert ended.code() is grpc.StatusCode.UNIMPLEMENTED


def test_who_is_stopped_finishes_the_calls_in_flight_on_every_wire(service: Service) -> None:
    service.may_answer.clear()
    stopped = threading.Event()
    stop: Callable[[], None] = service.may_answer.set

    def serve_and_stop(ready: Callable[[str], None]) -> None:
        with serving(service) as address:
            ready(address)
            for _ in range(7):
                assert service.begun.acquire(timeout=30)
            threading.Timer(0.5, stop).start()
        stopped.set()

    addresses: list[str] = []
    thread = threading.Thread(target=serve_and_stop, args=(addresses.append,))
    thread.start()
    assert eventually(lambda: bool(addresses))
    with every_wire(addresses[0]) as wires, ThreadPoolExecutor(len(wires)) as pool:
        begin = time.monotonic()
        calls = {name: pool.submit(wire.call, METHOD, METHOD.request(phone="+1"), ADA) for name, wire in wires.items()}
        outcomes = {name: call.result(30) for name, call in calls.items()}
        seconds = time.monotonic() - begin
    thread.join(30)

    assert {name: outcome.code for name, outcome in outcomes.items()} == dict.fromkeys(calls, 0)
    assert service.answered == len(calls)
    assert seconds >= 0.4  # they were in flight when it was told to stop
    assert stopped.is_set()
