"""``buf curl``, which stands in for grpcurl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf import json_format
from google.protobuf.message import Message

from clients.coding import outcome_of_connect_error
from clients.programs import BUF, PATIENCE_SECONDS, Server, environment
from humanuser_adapters.api.methods import Method
from wires import Outcome


class BufCurl:
    """A new process for each call; what there is to call it learns from *schema*, or else from the server."""

    def __init__(self, server: Server, protocol: str, *, schema: bytes | None = None) -> None:
        self._url = server.url
        self._home = TemporaryDirectory(prefix="humanuser-")
        self._options = ["--protocol", protocol]
        if server.authority:
            self._options += ["--cacert", str(server.authority)]
        if schema is not None:
            file = Path(self._home.name) / "schema.binpb"
            file.write_bytes(schema)
            self._options += ["--schema", str(file)]

    def call(self, method: Method, request: Message, headers: Mapping[str, str]) -> Outcome:
        given = [option for name, value in headers.items() for option in ("--header", f"{name}: {value}")]
        done = subprocess.run(
            [BUF, "curl", *self._options, *given, "--data", "@-", f"{self._url}{method.rpc_path}"],
            env=environment(HOME=self._home.name),
            input=json_format.MessageToJson(request),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            return Outcome(0, answer=json_format.Parse(done.stdout, method.response()))
        outcome = outcome_of_connect_error(json.loads(done.stderr))
        assert done.returncode == outcome.code << 3
        return outcome

    def close(self) -> None:
        self._home.cleanup()
