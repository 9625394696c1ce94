"""The programs that clients need: Node, what ``npm ci`` installed for it, and a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from chromium import BROWSER

HERE = Path(__file__).parent
NODE = shutil.which("node") or "node"
BUF, ESBUILD = (str(HERE / "node_modules" / ".bin" / name) for name in ("buf", "esbuild"))
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """What a client is to call."""

    url: str
    authority: Path | None = None
    """Who vouches for it, as a PEM file."""


def need_nothing() -> None:
    """Python is there."""


def need_node() -> None:
    """Skip the test if there is no Node, or nothing is installed for it."""
    if shutil.which("node") is None or not (HERE / "node_modules" / ".ready").exists():
        pytest.skip("NO NODE: no client of npm was tried")


def need_browser() -> None:
    """Skip the test if there is no browser, or no Node to bundle a page's script."""
    need_node()
    if BROWSER is None:
        pytest.skip("NO BROWSER: no page called the server")


def environment(**more: str) -> dict[str, str]:
    """Of a program, which finds those of npm's packages by name, and takes no proxy to this machine."""
    path = os.pathsep.join([str(Path(BUF).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "no_proxy": "*", "NO_PROXY": "*", **more}


@contextmanager
def running(command: Sequence[str], **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A program that reads and writes, beside the packages of npm. It is killed when patience ends."""
    with ExitStack() as stack:
        process = subprocess.Popen(
            command,
            cwd=HERE,
            env=environment(**variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        fuse = threading.Timer(PATIENCE_SECONDS, process.kill)
        fuse.start()
        stack.callback(fuse.cancel)
        stack.enter_context(process)  # at its end its input ends, and it is waited for
        yield process
