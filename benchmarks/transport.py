"""The cost of the API's wires, with a service that does nothing, beside a bare server of the same library.

The floors: an ASGI function under uvicorn that reads the body and answers the same bytes, and a ``grpc.aio`` handler
that does that; and the same once more with a thread that does nothing in between, because what waits for a database
must not run on the event loop. Servers are processes of their own, as is the client; all take turns, and what counts is
the median of the rounds' ratios. ``python -m benchmarks.transport`` prints them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess as Process
from pathlib import Path
from typing import Any

import grpc
import uvicorn

from humanuser import Caller
from humanuser_adapters.api import http_app
from humanuser_adapters.api.json_coding import encode
from humanuser_adapters.api.methods import METHODS
from humanuser_adapters.api.protos.management_pb2 import UpdateHumanPhoneRequest, UpdateHumanPhoneResponse
from humanuser_adapters.api.server import ApiServer
from humanuser_adapters.auth import permissions_of

ROUNDS = 7
SECONDS = 2.0
CONNECTIONS = 8
THREADS = 32
MANY_CALLS, CALLS_AT_A_TIME = 15_000, 2_500
METHOD = next(method for method in METHODS if method.name == "UpdateHumanPhone")
REQUEST = UpdateHumanPhoneRequest(user_id="264170294872178691", phone="+41791234567")
AT = datetime(2026, 5, 10, 12, tzinfo=UTC)
DETAILS: Any = {"sequence": 3, "creation_date": AT, "change_date": AT, "resource_owner": "69629023906488334"}
ANSWER = UpdateHumanPhoneResponse(details=DETAILS)
FRAME = struct.pack(">BI", 0, len(REQUEST.SerializeToString())) + REQUEST.SerializeToString()
ANSWER_FRAMES = (
    struct.pack(">BI", 0, len(ANSWER.SerializeToString()))
    + ANSWER.SerializeToString()
    + b"\x80\0\0\0\x10grpc-status: 0\r\n"
)
ADMIN = Caller("admin", "org1", permissions_of(["ORG_OWNER"], "org1"))
JSON = b'{"phone": "+41791234567"}'


class Nothing:
    """A service that does nothing, and an authenticator that knows everybody."""

    def update_human_phone(self, *_: object) -> UpdateHumanPhoneResponse:
        return ANSWER

    def authenticate(self, _: str) -> Caller:
        return ADMIN


def serve_ours(port: int) -> None:
    """All wires on one port."""
    nothing: Any = Nothing()
    ApiServer(http_app(nothing, nothing), nothing, nothing).run([_listener(port)])


def serve_bare_http(port: int, *, in_threads: bool = False) -> None:
    """The floor of REST and gRPC-Web."""
    threads = ThreadPoolExecutor(THREADS)

    async def app(scope: Any, receive: Any, send: Any) -> None:  # Any: as in ASGI
        while (await receive()).get("more_body"):
            pass
        if in_threads:
            await asyncio.get_running_loop().run_in_executor(threads, _nothing)
        is_json = scope["method"] == "PUT"
        body, kind = (
            (encode(ANSWER), b"application/json") if is_json else (ANSWER_FRAMES, b"application/grpc-web+proto")
        )
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(app, http="h11", ws="none", log_config=None, access_log=False, lifespan="off")
    uvicorn.Server(config).run([_listener(port)])


def serve_bare_grpc(port: int, *, in_threads: bool = False) -> None:
    """The floor of gRPC."""
    threads = ThreadPoolExecutor(THREADS)

    async def answer(_: bytes, __: object) -> bytes:
        if in_threads:
            await asyncio.get_running_loop().run_in_executor(threads, _nothing)
        return ANSWER.SerializeToString()

    async def serve() -> None:
        server = grpc.aio.server()
        handler: Any = grpc.unary_unary_rpc_method_handler(answer)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(METHOD.service, {METHOD.name: handler})])
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()

    asyncio.run(serve())


def _nothing() -> None:
    """What a service function does here."""


@dataclass(frozen=True)
class Wire:
    """Something to be measured."""

    name: str
    floor: Callable[..., None]
    call_for: Callable[[int, float], int]
    """Calls at a port for some seconds, and tells how many were answered."""


def call_http(request: bytes) -> Callable[[int, float], int]:
    """Send the same *request* again and again on several connections."""

    async def one(port: int, until: float) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while time.monotonic() < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise ValueError(head)
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            count += 1
        writer.close()
        return count

    async def all_of_them(port: int, seconds: float) -> int:
        until = time.monotonic() + seconds
        return sum(await asyncio.gather(*(one(port, until) for _ in range(CONNECTIONS))))

    return lambda port, seconds: asyncio.run(all_of_them(port, seconds))


def call_grpc(port: int, seconds: float) -> int:
    """Call on one channel, several times at once."""

    async def one(call: Any, until: float) -> int:  # Any: a stub
        count = 0
        metadata = (("authorization", "Bearer token"),)
        while time.monotonic() < until:
            await call(REQUEST, metadata=metadata)
            count += 1
        return count

    async def all_of_them() -> int:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(METHOD.rpc_path, METHOD.request.SerializeToString, METHOD.response.FromString)
            until = time.monotonic() + seconds
            return sum(await asyncio.gather(*(one(call, until) for _ in range(CONNECTIONS))))

    return asyncio.run(all_of_them())


def http_request(verb: str, path: str, kind: str, body: bytes) -> bytes:
    """A whole request."""
    head = f"{verb} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


REST_PATH = METHOD.path.replace("{user_id}", REQUEST.user_id)
WIRES = (
    Wire("REST", serve_bare_http, call_http(http_request("PUT", REST_PATH, "application/json", JSON))),
    Wire(
        "gRPC-Web",
        serve_bare_http,
        call_http(http_request("POST", METHOD.rpc_path, "application/grpc-web+proto", FRAME)),
    ),
    Wire("gRPC", serve_bare_grpc, call_grpc),
)


def main() -> None:
    """Print calls a second and the ratio, for each wire."""
    print(
        f"calls a second, {CONNECTIONS} at once, median of {ROUNDS} rounds of {SECONDS:g} s, {sys.version.split()[0]}:"
    )
    print(f"{'wire':>10} {'bare':>8} {'in a thread':>12} {'ours':>8}   ours to each")
    for wire in WIRES:
        servers = (wire.floor, partial(wire.floor, in_threads=True), serve_ours)
        with contextlib.ExitStack() as stack:
            ports = [stack.enter_context(_served(server))[0] for server in servers]
            rounds = [[wire.call_for(port, SECONDS) / SECONDS for port in ports] for _ in range(ROUNDS)]
        bare, in_a_thread, ours = (statistics.median(rates) for rates in zip(*rounds, strict=True))
        to_each = [statistics.median(rates[2] / rates[floor] for rates in rounds) for floor in (0, 1)]
        ratios = " ".join(f"{ratio:.2f}" for ratio in to_each)
        print(f"{wire.name:>10} {bare:>8.0f} {in_a_thread:>12.0f} {ours:>8.0f}   {ratios}", flush=True)


def call_by_threads(port: int, calls: int) -> int:
    """Call on one channel from many threads, and tell how many calls failed."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, ThreadPoolExecutor(THREADS) as pool:
        take = METHOD.response.FromString
        stub: Any = channel.unary_unary(METHOD.rpc_path, METHOD.request.SerializeToString, take)

        def fails(_: int) -> bool:
            try:
                return bool(stub(REQUEST, metadata=(("authorization", "Bearer token"),), timeout=30) != ANSWER)
            except grpc.RpcError:
                return True

        return sum(pool.map(fails, range(calls)))


def print_many_calls() -> None:
    """Print what becomes of many calls on one channel, and of the server's memory."""
    with _served(serve_ours) as (port, process):
        memory, failed = [], 0
        for _ in range(MANY_CALLS // CALLS_AT_A_TIME):
            failed += call_by_threads(port, CALLS_AT_A_TIME)
            memory.append(_memory_mib(process))
    print(f"{MANY_CALLS} gRPC calls on one channel, {THREADS} threads: {failed} failed;", end=" ")
    print(f"MiB of the server after each {CALLS_AT_A_TIME}: {', '.join(f'{one:.1f}' for one in memory)}", flush=True)


def _memory_mib(process: Process) -> float:
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _listener(port: int) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@contextlib.contextmanager
def _served(serve: Callable[[int], None]) -> Iterator[tuple[int, Process]]:
    """The port on which a process of its own serves, and that process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    process.start()
    try:
        _wait_until_answered(port)
        yield port, process
    finally:
        process.kill()
        process.join()


def _wait_until_answered(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    raise TimeoutError("the server does not answer")


if __name__ == "__main__":
    logging.disable()
    main()
    print_many_calls()
