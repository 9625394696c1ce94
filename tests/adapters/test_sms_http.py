"""A request to a provider: one deadline, no detours, nothing that is not public, and whether it had left."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from certificates import make_certificate
from humanuser_adapters.sms import Endpoint
from humanuser_adapters.sms.endpoint import LONGEST_BODY, Answer, NotAllowed, NotAnswered, NotWritten
from humanuser_adapters.sms.public_address import is_public
from humanuser_adapters.sms.retry_after import LONGEST_WAIT, read_retry_after
from humanuser_adapters.sms.wire import connect
from web import (
    SHORT,
    Behaviour,
    WebServer,
    answers,
    head,
    keeps_silent,
    resets_after,
    served,
    unused_port,
    writes,
    writes_slowly,
)

NOW = datetime(2026, 5, 10, 12, tzinfo=UTC)
GetAddresses = Callable[..., list[tuple[Any, ...]]]


def post(endpoint: Endpoint, body: bytes = b"{}", **headers: str) -> object:
    return endpoint.exchange("POST", headers, body)


def resolves_to(*addresses: str) -> GetAddresses:
    """A resolver that knows one answer."""

    def resolve(_: str, port: int, **__: object) -> list[tuple[Any, ...]]:
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [(family, 1, 6, "", (address, port)) for family, address in zip(families, addresses, strict=True)]

    return resolve


class TestExchange:
    def test_an_answer_has_a_status_and_a_body(self) -> None:
        with served(answers(201, b"made")) as server:
            answer = server.endpoint("/in?key=1").exchange("POST", {"X-One": "1"}, b"\xc3\xa4")

        (request,) = server.requests
        assert answer == Answer(201, b"made")
        assert (request.method, request.target, request.body) == ("POST", "/in?key=1", b"\xc3\xa4")
        assert request.headers["x-one"] == "1"
        assert request.headers["content-length"] == "2"
        assert request.headers["host"] == f"localhost:{server.port}"

    def test_a_target_of_its_own_replaces_the_urls(self) -> None:
        with served(answers(200)) as server:
            server.endpoint("/in").exchange("GET", {}, target="/other?x=1")

        assert server.requests[0].target == "/other?x=1"

    def test_the_body_of_an_answer_is_in_no_repr(self) -> None:
        assert "secret" not in repr(Answer(200, b"secret"))

    def test_an_answer_in_chunks_is_read(self) -> None:
        chunks = head(200, Transfer_Encoding="chunked") + b"4\r\nmade\r\n0\r\n\r\n"
        with served(writes(chunks)) as server:
            assert post(server.endpoint()) == Answer(200, b"made")

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_an_answer_and_is_not_followed(self, status: int) -> None:
        with served(answers(200)) as elsewhere, served(answers(status, Location=elsewhere.url)) as server:
            answer = post(server.endpoint())

            assert isinstance(answer, Answer)
            assert answer.status == status
            assert elsewhere.requests == []

    @pytest.mark.parametrize("scheme", ["http", "https", "all"])
    def test_a_proxy_of_the_environment_is_not_used(self, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
        with served(answers(200)) as proxy, served(answers(204)) as server:
            for name in (f"{scheme}_proxy", f"{scheme}_PROXY".upper()):
                monkeypatch.setenv(name, proxy.url)

            assert post(server.endpoint()) == Answer(204, b"")
            assert proxy.connections == 0

    def test_a_login_of_the_environment_is_not_used(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine localhost login ada password secret\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        with served(answers(200)) as server:
            post(server.endpoint())

        assert "authorization" not in server.requests[0].headers

    def test_many_may_talk_at_once(self) -> None:
        with served(answers(200, b"ok")) as server:
            endpoint = server.endpoint()
            seen: list[object] = []
            threads = [threading.Thread(target=lambda: seen.append(post(endpoint))) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert seen == [Answer(200, b"ok")] * 20

    def test_nothing_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG), served(answers(200)) as server:
            post(server.endpoint("/secret"), Authorization="secret")

        assert caplog.records == []


class TestWhatHadLeft:
    """A failure says whether the request was written."""

    def test_a_refused_connection_left_nothing(self) -> None:
        endpoint = Endpoint(f"http://localhost:{unused_port()}", allow_http=True, allow_private=True)

        assert post(endpoint) == NotWritten("it refuses connections")

    def test_a_name_that_nobody_knows_left_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def resolve(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", resolve)

        assert post(Endpoint("https://nobody.invalid")) == NotWritten("its name has no address")

    def test_a_host_that_does_not_take_the_connection_left_nothing(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            port = listener.getsockname()[1]
            waiting = [socket.socket() for _ in range(3)]  # the queue is full, so the next is not even refused
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            endpoint = Endpoint(f"http://127.0.0.1:{port}", allow_http=True, allow_private=True, timeout=SHORT)

            assert post(endpoint) == NotWritten("it took too long")
            for one in waiting:
                one.close()

    def test_a_resolver_that_keeps_silent_left_nothing_and_is_not_waited_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go_on = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: go_on.wait(5) and [])
        began = time.monotonic()

        outcome = post(Endpoint("https://example.com", timeout=SHORT))

        go_on.set()
        assert outcome == NotWritten("it took too long")
        assert time.monotonic() - began < 2

    def test_a_dead_address_leaves_time_for_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with served(answers(200)) as server, socket.create_server(("127.0.0.2", server.port), backlog=0) as dead:
            waiting = [socket.socket() for _ in range(3)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(dead.getsockname())
            monkeypatch.setattr(socket, "getaddrinfo", resolves_to("127.0.0.2", "127.0.0.1"))

            assert post(server.endpoint(timeout=timedelta(seconds=2))) == Answer(200, b"")
            for one in waiting:
                one.close()

    def test_no_time_at_all_leaves_nothing(self) -> None:
        with served(answers(200)) as server:
            assert post(server.endpoint(timeout=timedelta(0))) == NotWritten("it took too long")

    def test_a_connection_that_comes_too_late_left_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def connect_late(*args: Any, **more: Any) -> socket.socket:
            connected = connect(*args, **more)
            time.sleep(0.2)
            return connected

        monkeypatch.setattr("humanuser_adapters.sms.endpoint.connect", connect_late)
        with served(answers(200)) as server:
            assert post(server.endpoint(timeout=timedelta(seconds=0.1))) == NotWritten("it took too long")
            assert server.requests == []

    def test_silence_after_the_request_left_it(self) -> None:
        began = time.monotonic()
        with served(keeps_silent) as server:
            assert post(server.endpoint(timeout=SHORT)) == NotAnswered("it took too long")

        assert time.monotonic() - began < 2
        assert len(server.requests) == 1

    @pytest.mark.parametrize("behaviour", [resets_after(), writes(b"")], ids=["reset", "closed"])
    def test_a_connection_that_broke_after_the_request_left_it(self, behaviour: Behaviour) -> None:
        with served(behaviour) as server:
            assert post(server.endpoint()) == NotAnswered("the connection broke")

    def test_a_connection_that_broke_in_the_middle_of_the_status_left_it(self) -> None:
        with served(resets_after(b"HTTP/1.1 2")) as server:
            assert isinstance(post(server.endpoint()), NotAnswered)

    def test_a_request_that_is_not_read_to_its_end_left_it(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:  # it accepts, as the system does, and never reads
            endpoint = Endpoint(
                f"http://127.0.0.1:{listener.getsockname()[1]}", allow_http=True, allow_private=True, timeout=SHORT
            )

            assert post(endpoint, bytes(50_000_000)) == NotAnswered("it took too long")

    @pytest.mark.parametrize(
        "data", [b"\0\0\0\0\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 9999 What\r\n\r\n", b"HTTP/1.1 -1\r\n\r\n"]
    )
    def test_what_is_no_answer_left_it(self, data: bytes) -> None:
        with served(writes(data)) as server:
            assert post(server.endpoint()) == NotAnswered("it does not speak HTTP")

    def test_an_answer_that_announces_one_and_ends_left_it(self) -> None:
        with served(writes(head(100) + head(101))) as server:
            assert isinstance(post(server.endpoint()), NotAnswered)


class TestDeadline:
    """It holds for all of an exchange, however little comes at once."""

    @pytest.mark.parametrize(
        ("behaviour", "outcome"),
        [
            (writes_slowly(head(200, X_Long="x" * 500)), NotAnswered("it took too long")),
            (writes_slowly(b"x" * 500, first=head(200, Content_Length="500")), Answer(200, b"")),
            (writes_slowly(b"1\r\nx\r\n" * 100, first=head(200, Transfer_Encoding="chunked")), Answer(200, b"")),
            (writes_slowly(head(100) * 20), NotAnswered("it took too long")),
        ],
        ids=["head", "body", "chunks", "announcements"],
    )
    def test_a_byte_now_and_then_does_not_make_it_longer(self, behaviour: Behaviour, outcome: object) -> None:
        began = time.monotonic()
        with served(behaviour) as server:
            assert post(server.endpoint(timeout=SHORT)) == outcome

        assert time.monotonic() - began < 2

    def test_a_handshake_that_is_never_finished_left_nothing(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            endpoint = Endpoint(f"https://127.0.0.1:{listener.getsockname()[1]}", allow_private=True, timeout=SHORT)

            assert post(endpoint) == NotWritten("it took too long")


class TestLongAnswers:
    """Memory is bounded, whatever comes."""

    def test_a_body_of_10_mb_is_read_up_to_its_64th_kib(self) -> None:
        with served(answers(200, b"x" * 10_000_000)) as server:
            assert post(server.endpoint()) == Answer(200, b"x" * LONGEST_BODY)

    def test_a_body_without_an_end_is_read_up_to_there(self) -> None:
        def behave(_: object, connection: socket.socket) -> None:
            connection.sendall(head(200))
            while True:
                connection.sendall(b"x" * 65536)

        with served(behave) as server:
            assert post(server.endpoint()) == Answer(200, b"x" * LONGEST_BODY)

    @pytest.mark.parametrize("size", [b"-1", b"-5", b"ffffffffffffffffffff", b"zz", b""])
    def test_chunks_of_a_senseless_size_are_no_body(self, size: bytes) -> None:
        data = head(200, Transfer_Encoding="chunked") + size + b"\r\n" + b"x" * 5_000_000
        with served(writes(data)) as server:
            answer = post(server.endpoint())

        assert isinstance(answer, Answer)
        assert len(answer.body) <= LONGEST_BODY

    def test_headers_without_an_end_are_no_answer(self) -> None:
        def behave(_: object, connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 Whatever\r\n")
            while True:
                connection.sendall(b"X-One: " + b"x" * 60_000 + b"\r\n")

        with served(behave) as server:
            assert isinstance(post(server.endpoint()), NotAnswered)

    @pytest.mark.parametrize("behaviour", [resets_after, writes], ids=["reset", "cut"])
    def test_a_body_that_breaks_off_leaves_the_status(self, behaviour: Callable[[bytes], Behaviour]) -> None:
        with served(behaviour(head(201, Content_Length="100") + b"half")) as server:
            answer = post(server.endpoint())

        assert isinstance(answer, Answer)
        assert answer.status == 201


class TestInjection:
    @pytest.mark.parametrize("value", ["a\r\nX-Two: 2", "a\nX-Two: 2", "a\r\n X-Two: 2", "a\rb", "a\0b", "ä", "\x7f"])
    def test_no_header_becomes_two(self, value: str) -> None:
        with served(answers(200)) as server:
            outcomes = [
                server.endpoint().exchange("POST", {"X-One": value}, b""),
                server.endpoint().exchange("POST", {f"X-One{value}": "1"}, b""),
            ]

        assert all(isinstance(outcome, NotAllowed) for outcome in outcomes)
        assert server.connections == 0

    @pytest.mark.parametrize("name", ["", "a:b", "a b", ":"])
    def test_a_name_that_is_none_is_refused(self, name: str) -> None:
        with served(answers(200)) as server:
            assert isinstance(server.endpoint().exchange("POST", {name: "1"}, b""), NotAllowed)

    @pytest.mark.parametrize("target", ["/a b", "/a\r\nHost: b", "/ä", "/\0"])
    def test_no_target_becomes_a_header(self, target: str) -> None:
        with served(answers(200)) as server:
            assert isinstance(server.endpoint().exchange("GET", {}, target=target), NotAllowed)


class TestUrls:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "example.com",
            "//example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "https://",
            "https:///path",
            "https://ada:secret@example.com",
            "https://ada@example.com",
            "https://example.com:port",
            "https://example.com:99999",
            "https://example.com/#fragment",
            "https://exa mple.com",
            "https://example.com/\r\nX: y",
            "https://exämple.com",
            "https://[::1",
            f"https://{'a' * 64}.com",
        ],
    )
    def test_what_is_no_url_is_refused_at_the_start(self, url: str) -> None:
        with pytest.raises(ValueError, match="URL") as error:
            Endpoint(url, allow_http=True)

        assert "secret" not in str(error.value)

    def test_without_tls_it_is_refused_unless_that_is_allowed(self) -> None:
        with pytest.raises(ValueError, match="https://"):
            Endpoint("http://example.com")

        Endpoint("http://example.com", allow_http=True)

    def test_a_host_that_is_an_address_is_named_as_one(self) -> None:
        with served(answers(200)) as server:
            Endpoint(f"http://127.0.0.1:{server.port}", allow_http=True, allow_private=True).exchange("GET", {})

        assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"


class TestPrivateAddresses:
    """Server-side request forgery: a name that leads to a neighbour."""

    @pytest.mark.parametrize(
        "host", ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0", "[::1]", "[::ffff:127.0.0.1]", "[::]"]
    )
    def test_every_spelling_of_this_machine_is_refused(self, host: str) -> None:
        with served(answers(200)) as server:
            endpoint = Endpoint(f"http://{host}:{server.port}", allow_http=True)

            assert post(endpoint) == NotAllowed("its address is not on the public internet")
            assert server.connections == 0

    @pytest.mark.parametrize(
        "address",
        ["169.254.169.254", "10.0.0.1", "192.168.1.1", "100.64.0.1", "fd00:ec2::254", "fe80::1", "64:ff9b::a00:1"],
    )
    def test_a_name_that_leads_inside_is_refused(self, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", resolves_to(address))

        assert post(Endpoint("https://example.com")) == NotAllowed("its address is not on the public internet")

    def test_a_name_that_leads_inside_and_outside_is_called_outside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = self._watch_connections(monkeypatch)
        monkeypatch.setattr(socket, "getaddrinfo", resolves_to("10.0.0.1", "8.8.8.8", "127.0.0.1"))

        post(Endpoint("https://example.com"))

        assert called == [("8.8.8.8", 443)]

    def test_a_name_that_changes_its_address_is_called_where_it_was_checked(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        called = self._watch_connections(monkeypatch)
        addresses = iter(["8.8.8.8", "127.0.0.1", "127.0.0.1"])

        def resolve(host: str, port: int, **how: object) -> list[tuple[Any, ...]]:
            return resolves_to(next(addresses))(host, port, **how)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)

        post(Endpoint("https://example.com"))

        assert called == [("8.8.8.8", 443)]

    def test_a_redirect_to_a_neighbour_is_not_followed(self) -> None:
        with served(answers(302, Location="http://169.254.169.254/latest/meta-data")) as server:
            answer = post(server.endpoint())

        assert isinstance(answer, Answer)
        assert answer.status == 302

    @staticmethod
    def _watch_connections(monkeypatch: pytest.MonkeyPatch) -> list[object]:
        called: list[object] = []

        class Watched(socket.socket):
            def connect(self, address: Any) -> None:
                called.append(address)
                raise ConnectionRefusedError

        monkeypatch.setattr(socket, "socket", Watched)
        return called


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("54.172.60.0", True),
        ("172.15.255.255", True),
        ("172.32.0.0", True),
        ("100.63.255.255", True),
        ("100.128.0.0", True),
        ("223.255.255.255", True),
        ("2001:4860:4860::8888", True),
        ("2600::", True),
        ("64:ff9b::808:808", True),
        ("::ffff:8.8.8.8", True),
        ("0.0.0.0", False),  # noqa: S104
        ("0.1.2.3", False),
        ("10.255.255.255", False),
        ("100.64.0.0", False),
        ("100.100.100.200", False),
        ("127.0.0.1", False),
        ("127.255.255.254", False),
        ("168.63.129.16", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("172.31.255.255", False),
        ("192.0.0.192", False),
        ("192.0.2.1", False),
        ("192.88.99.1", False),
        ("192.168.0.1", False),
        ("198.18.0.1", False),
        ("198.19.255.255", False),
        ("198.51.100.1", False),
        ("203.0.113.1", False),
        ("224.0.0.1", False),
        ("239.255.255.255", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::808:808", False),
        ("100::1", False),
        ("2001::1", False),
        ("2001:db8::1", False),
        ("2002:7f00:1::", False),
        ("2002:a9fe:a9fe::1", False),
        ("2002:a00:1::", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("fe80::1%lo", False),
        ("fec0::1", False),
        ("ff02::1", False),
    ],
)
def test_an_address_is_public_or_not(address: str, public: bool) -> None:
    assert is_public(address) is public


IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address)
IPV6 = st.integers(0, 2**128 - 1).map(IPv6Address)


@given(IPV4)
def test_an_address_is_as_public_as_its_other_spellings(address: IPv4Address) -> None:
    number = int(address)
    spellings = [
        IPv6Address((0xFFFF << 32) | number),
        IPv6Address((0x2002 << 112) | (number << 80)),
        IPv6Address((0x64FF9B << 96) | number),
    ]

    assert {is_public(str(spelling)) for spelling in spellings} == {is_public(str(address))}


@given(st.one_of(IPV4, IPV6))
@example(IPv6Address("2001:2::1"))
@example(IPv6Address("fec0::1"))
@example(IPv6Address("ff0e::1"))
def test_what_python_knows_to_be_private_is_not_public(address: IPv4Address | IPv6Address) -> None:
    own = address if isinstance(address, IPv4Address) else address.ipv4_mapped or address.sixtofour or address
    if own.is_private or own.is_multicast or own.is_loopback or own.is_link_local or own.is_unspecified:
        assert not is_public(str(address)) or own in IPv4Network("192.0.0.0/24")


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[str], Path]:
    return partial(make_certificate, tmp_path)


def speaks_as(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


class TestTls:
    @pytest.fixture
    def server(self, certificate: Callable[[str], Path]) -> Iterator[WebServer]:
        self.path = certificate("localhost")
        with served(answers(200, b"ok"), speaks_as(self.path)) as server:
            yield server

    def test_a_host_with_a_certificate_that_is_trusted_is_called(self, server: WebServer) -> None:
        trusting = ssl.create_default_context(cafile=self.path)

        assert post(server.endpoint(tls=trusting, allow_http=False)) == Answer(200, b"ok")
        assert server.requests[0].headers["host"] == f"localhost:{server.port}"

    def test_a_certificate_that_nobody_vouches_for_left_nothing(self, server: WebServer) -> None:
        assert post(server.endpoint()) == NotWritten("its certificate is not trusted")
        assert server.requests == []

    def test_a_certificate_of_another_host_left_nothing(self, server: WebServer) -> None:
        trusting = ssl.create_default_context(cafile=self.path)
        endpoint = Endpoint(f"https://127.0.0.1:{server.port}", allow_private=True, tls=trusting)

        assert post(endpoint) == NotWritten("its certificate is not trusted")
        assert server.requests == []

    def test_the_name_is_checked_though_the_address_is_called(
        self, server: WebServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trusting = ssl.create_default_context(cafile=self.path)
        monkeypatch.setattr(socket, "getaddrinfo", resolves_to("127.0.0.1"))
        other = Endpoint(f"https://example.com:{server.port}", allow_private=True, tls=trusting)

        assert post(other) == NotWritten("its certificate is not trusted")
        assert post(server.endpoint(tls=trusting)) == Answer(200, b"ok")

    def test_a_host_that_does_not_speak_tls_left_nothing(self) -> None:
        with served(answers(200)) as server:
            endpoint = Endpoint(f"https://localhost:{server.port}", allow_private=True, timeout=SHORT)

            assert isinstance(post(endpoint), NotWritten)

    def test_a_host_that_speaks_old_tls_alone_left_nothing(self, certificate: Callable[[str], Path]) -> None:
        context = speaks_as(certificate("localhost"))
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with served(answers(200), context) as server:
            assert isinstance(post(server.endpoint()), NotWritten)

    def test_a_slow_body_over_tls_has_the_same_deadline(self, certificate: Callable[[str], Path]) -> None:
        path = certificate("localhost")
        trusting = ssl.create_default_context(cafile=path)
        began = time.monotonic()
        with served(writes_slowly(head(200, X_Long="x" * 500)), speaks_as(path)) as server:
            assert post(server.endpoint(tls=trusting, timeout=SHORT)) == NotAnswered("it took too long")

        assert time.monotonic() - began < 2

    def test_verification_cannot_be_turned_off_by_the_environment(
        self, server: WebServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("PYTHONHTTPSVERIFY", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(name, "0")

        assert isinstance(post(server.endpoint()), NotWritten)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("0", timedelta(0)),
        ("7", timedelta(seconds=7)),
        ("3600", timedelta(hours=1)),
        ("999999999", LONGEST_WAIT),
        ("Sun, 10 May 2026 12:00:30 GMT", timedelta(seconds=30)),
        ("Sun, 10 May 2026 14:00:30 +0200", timedelta(seconds=30)),
        ("Sun, 10 May 2026 12:00:30 -0000", timedelta(seconds=30)),
        ("Sunday, 10-May-26 12:00:30 GMT", timedelta(seconds=30)),
        ("Sun, 10 May 2026 11:00:00 GMT", timedelta(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("9999999999", None),
        ("soon", None),
        ("7, 8", None),
        ("Sun, 10 May 99999 12:00:30 GMT", None),
        ("Sun, 99 May 2026 12:00:30 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 -1400", timedelta(0)),
    ],
)
def test_how_long_to_wait_is_read_from_seconds_and_from_dates(header: str, wait: timedelta | None) -> None:
    assert read_retry_after(header, NOW) == wait


@given(st.one_of(st.text(max_size=60), st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [+-]?\w+")))
def test_whatever_a_header_says_the_wait_is_none_or_bearable(header: str) -> None:
    wait = read_retry_after(header, NOW)

    assert wait is None or timedelta(0) <= wait <= LONGEST_WAIT


def test_no_thread_and_no_file_is_left_behind() -> None:
    with served(answers(200)) as server, served(keeps_silent) as silent:
        post(server.endpoint())
        before = len(os.listdir("/proc/self/fd"))

        for _ in range(20):
            post(server.endpoint())
        for _ in range(3):
            post(silent.endpoint(timeout=timedelta(seconds=0.05)))

        assert len(os.listdir("/proc/self/fd")) <= before + 10
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("resolve")]
