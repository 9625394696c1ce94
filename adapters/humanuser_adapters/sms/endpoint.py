"""A place on the web, and one request to it: over TLS, by no detour, within one deadline."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast
from urllib.parse import SplitResult, urlsplit

from humanuser_adapters.sms.retry_after import read_date
from humanuser_adapters.sms.wire import AddressNotAllowed, Deadline, Wire, connect

TIMEOUT = timedelta(seconds=8)
LONGEST_BODY = 64 * 1024
"""Bytes of an answer that are read; what follows is left."""
_LONGEST_HEAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """It answered. The body ends early if it was too long, too slow or cut off."""

    status: int
    body: bytes = field(repr=False)
    retry_after: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the status is one of 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004 - as the protocol has it


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """It must not be called that way; nothing was written."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotWritten:
    """It could not be reached; nothing of the request was written."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotAnswered:
    """The request was written, at least in part, and no answer came."""

    reason: str


Exchange = Answer | NotAllowed | NotWritten | NotAnswered


class Endpoint:
    """Where requests go. Redirects are answers like others; proxies and logins of the environment do not count.

    *timeout* holds for all of an exchange, from the name to the last byte. Raises ``ValueError`` for a *url* that is
    none, has a user in it, or does not begin with ``https://`` unless *allow_http*. Addresses that are not on the
    public internet are called only if *allow_private*.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: timedelta = TIMEOUT,
        allow_http: bool = False,
        allow_private: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = _split(url, ("https", "http") if allow_http else ("https",))
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._target = (parts.path or "/") + (parts.query and f"?{parts.query}")
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._timeout = timeout
        self._allow_private = allow_private

    def exchange(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None, *, target: str | None = None
    ) -> Exchange:
        """Send one request, and give what came of it. *target* is a path and query; without one, those of the URL."""
        target = target or self._target
        if not _VISIBLE.fullmatch(target) or not all(map(_is_header, headers.items())):
            return NotAllowed("the request has characters that no request may have")
        deadline = Deadline(self._timeout.total_seconds())
        try:
            connected = connect(self._host, self._port, deadline, tls=self._tls, allow_private=self._allow_private)
        except AddressNotAllowed:
            return NotAllowed("its address is not on the public internet")
        except OSError as error:
            return NotWritten(_words(error))
        with connected:
            wire = Wire(connected, deadline, limit=_LONGEST_HEAD + LONGEST_BODY)
            try:
                return _answer(self._ask(wire, method, target, headers, body))
            except (OSError, http.client.HTTPException) as error:
                return NotAnswered(_words(error)) if wire.written else NotWritten(_words(error))

    def _ask(
        self, wire: Wire, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._host, self._port)
        connection.default_port = 443 if self._tls else 80  # or the port is a part of every Host header
        connection.sock = cast("socket.socket", wire)  # it is asked for sendall, makefile and close alone
        connection.request(method, target, body, {"User-Agent": "humanuser", "Connection": "close", **headers})
        return connection.getresponse()


_VISIBLE = re.compile(r"[\x21-\x7e]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


def _is_header(header: tuple[str, str]) -> bool:
    """Whether it stays one header: ``http.client`` itself lets a line break pass that a space follows."""
    name, value = header
    return bool(_VISIBLE.fullmatch(name) and ":" not in name and _HEADER_VALUE.fullmatch(value))


def _split(url: str, schemes: tuple[str, ...]) -> SplitResult:
    """The parts of *url*. What is wrong is said without the URL, which may hold a secret."""
    if not _VISIBLE.fullmatch(url):  # urlsplit takes line breaks out in silence
        raise ValueError("a URL is of visible ASCII characters")
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise ValueError(f"the URL must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise ValueError("the URL must name a host, and neither a user nor a fragment")
    try:
        parts.hostname.encode("idna")  # as the resolver will
        parts.port  # noqa: B018 - it is parsed when it is read
    except ValueError:
        raise ValueError("the URL's host or port is none") from None
    return parts


def _answer(response: http.client.HTTPResponse) -> Answer | NotAnswered:
    if response.status < 200:  # noqa: PLR2004 - an answer that announces one, and nobody asked for that
        return NotAnswered("it answered something else than was asked")
    return Answer(response.status, _body(response), _retry_after(response))


def _body(response: http.client.HTTPResponse) -> bytes:
    """As much of the body as came: the status has said the most important thing."""
    try:
        return response.read(LONGEST_BODY)
    except (OSError, http.client.HTTPException, ValueError):  # ValueError: chunks of a negative size
        return b""


def _retry_after(response: http.client.HTTPResponse) -> str:
    """The header of that name; a date in it becomes seconds from the answer's own ``Date``, whatever our clock says."""
    header = response.getheader("Retry-After") or ""
    until, sent = read_date(header), read_date(response.getheader("Date") or "")
    if until is None or sent is None:
        return header
    return str(max(int((until - sent).total_seconds()), 0))


def _words(error: Exception) -> str:
    """What went wrong, in words of our own: those of the library may quote a URL or what came."""
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "the network does not lead there")


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "it took too long"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "it does not speak TLS as it should"),
    (socket.gaierror, "its name has no address"),
    (ConnectionRefusedError, "it refuses connections"),
    (ConnectionError, "the connection broke"),
    (http.client.HTTPException, "it does not speak HTTP"),
)
