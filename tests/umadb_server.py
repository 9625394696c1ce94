"""A real, throwaway UmaDB server for the tests: the one inside the client's wheel, on loopback."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from tempfile import TemporaryDirectory

from cluster import die_with_parent

PATIENCE_SECONDS = 20
MAIN = "from umadb.umadb_server_cli import main; main()"


class NoUmaDB(Exception):
    """No UmaDB runs on this machine; the message says why."""


@contextlib.contextmanager
def umadb_server() -> Iterator[str]:
    """Start a server with nothing in it; yield its URL; leave nothing behind."""
    address = f"127.0.0.1:{_free_port()}"
    with TemporaryDirectory(prefix="umadb-") as folder:
        command = [sys.executable, "-c", MAIN, "--listen", address, "--db-path", folder]
        with open(f"{folder}/server.log", "w+", encoding="utf-8") as log:
            process = subprocess.Popen(command, preexec_fn=die_with_parent, stdout=log, stderr=log)  # noqa: PLW1509
            try:
                until = time.monotonic() + PATIENCE_SECONDS
                while not _answers(address):
                    if process.poll() is not None or time.monotonic() > until:
                        log.seek(0)
                        raise NoUmaDB(f"its server did not start: {log.read()[-300:]}")
                    time.sleep(0.05)
                yield f"http://{address}"
            finally:
                process.terminate()
                process.wait(PATIENCE_SECONDS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _answers(address: str) -> bool:
    host, port = address.split(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False
