"""Clients for Node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack

from google.protobuf.message import Message

from clients.coding import call_of, outcome_of
from clients.programs import NODE, Server, running
from humanuser_adapters.api.methods import Method
from wires import Outcome


class NodeProgram:
    """A program that makes the calls which it reads, and writes what came of them."""

    def __init__(self, program: str, server: Server, *arguments: str) -> None:
        self._stack = ExitStack()
        self._process = self._stack.enter_context(running([NODE, program, server.url, *arguments], **_trusting(server)))

    def call(self, method: Method, request: Message, headers: Mapping[str, str]) -> Outcome:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(call_of(method, request, headers)), file=self._process.stdin, flush=True)
        return outcome_of(method, self._process.stdout.readline())

    def close(self) -> None:
        self._stack.close()


def _trusting(server: Server) -> dict[str, str]:
    """What Node, and gRPC in it, read about whom to trust."""
    if server.authority is None:
        return {}
    names = ("NODE_EXTRA_CA_CERTS", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    return dict.fromkeys(names, str(server.authority))
