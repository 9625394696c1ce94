"""The clients in one table: how each begins, what it knows of our API, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clients.browser import Page
from clients.buf import BufCurl
from clients.node import NodeProgram
from clients.programs import Server, need_browser, need_node, need_nothing
from clients.python import GrpcOfZitadel, ZitadelClient, published
from wires import Wire

MANAGEMENT = "zitadel.management.v1.ManagementService"
AUTH = "zitadel.auth.v1.AuthService"
USERS = "zitadel.user.v2.UserService"


@dataclass(frozen=True)
class Client:
    """A client."""

    begin: Callable[[Server], Wire]
    services: Sequence[str] = (MANAGEMENT, AUTH, USERS)
    need: Callable[[], None] = need_node
    """Skips the test if something is missing on this machine."""


def _zitadel_client(wire: str) -> Client:
    return Client(lambda server: NodeProgram("zitadel_client.mjs", server, wire))


def _zitadel_client_in_a_browser(wire: str) -> Client:
    return Client(lambda server: Page(server, wire), need=need_browser)


CLIENTS = {
    "@zitadel/client, gRPC": _zitadel_client("grpc"),
    "@zitadel/client, gRPC-Web": _zitadel_client("grpc-web"),
    "@zitadel/client, Connect": _zitadel_client("connect"),
    "@zitadel/client in a browser, gRPC-Web": _zitadel_client_in_a_browser("grpc-web"),
    "@zitadel/client in a browser, Connect": _zitadel_client_in_a_browser("connect"),
    "@zitadel/node": Client(lambda server: NodeProgram("zitadel_node.mjs", server), services=(MANAGEMENT, AUTH)),
    "zitadel-client": Client(ZitadelClient, services=(USERS,), need=need_nothing),
    "buf curl, gRPC": Client(lambda server: BufCurl(server, "grpc")),
    "buf curl, gRPC-Web": Client(lambda server: BufCurl(server, "grpcweb", schema=published())),
    "buf curl, Connect": Client(lambda server: BufCurl(server, "connect", schema=published())),
    "grpcio with ZITADEL's messages": Client(GrpcOfZitadel),
}
