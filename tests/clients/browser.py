"""Pages in a real browser, of another origin than the API."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from tempfile import TemporaryDirectory

from google.protobuf.message import Message

from chromium import BROWSER, OPTIONS
from clients.coding import call_of, outcome_of
from clients.programs import ESBUILD, HERE, PATIENCE_SECONDS, Server, environment
from humanuser_adapters.api.methods import Method
from wires import Outcome

TELLS_WHAT_IT_SHOWS = b"""
const tell = (text) => text && fetch("/shown", { method: "POST", body: text });
new MutationObserver(() => tell(document.body.innerText)).observe(document.body, { childList: true });
addEventListener("error", (event) => tell(event.message));
addEventListener("unhandledrejection", (event) => tell(String(event.reason)));
"""


class Page:
    """A page that makes the calls which the server it came from gives it."""

    def __init__(self, server: Server, wire: str) -> None:
        self._calls: Queue[str] = Queue()
        self._outcomes: Queue[str] = Queue()
        script = bundled((HERE / "page.mjs").read_text(), {"BASE_URL": server.url, "WIRE": wire})
        options = ["--ignore-certificate-errors"] if server.authority else []
        with ExitStack() as stack:
            origin = stack.enter_context(_origin(script, self._calls, self._outcomes))
            stack.enter_context(_opened(origin, *options))
            self._stack = stack.pop_all()

    def call(self, method: Method, request: Message, headers: Mapping[str, str]) -> Outcome:
        self._calls.put(json.dumps(call_of(method, request, headers)))
        return outcome_of(method, self._outcomes.get(timeout=PATIENCE_SECONDS))

    def close(self) -> None:
        self._stack.close()


def shown(script: bytes) -> str:
    """What a page with that script shows first, or what it failed of."""
    texts: Queue[str] = Queue()
    with _origin(TELLS_WHAT_IT_SHOWS + script, Queue(), texts) as origin, _opened(origin):
        return texts.get(timeout=PATIENCE_SECONDS)


def bundled(script: str, variables: Mapping[str, str]) -> bytes:
    """A page's script with all that it imports, and with *variables* for its ``process.env``."""
    done = subprocess.run(
        [ESBUILD, "--bundle", "--format=esm", "--log-level=warning", f"--define:process.env={json.dumps(variables)}"],
        cwd=HERE,
        env=environment(),
        input=script.encode(),
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    return done.stdout


@contextmanager
def _opened(url: str, *options: str) -> Iterator[None]:
    """A browser with a new profile in which *url* is open."""
    with TemporaryDirectory(prefix="humanuser-", ignore_cleanup_errors=True) as profile:
        command = [str(BROWSER), *OPTIONS, *options, f"--user-data-dir={profile}", url]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                yield
            finally:
                process.kill()


@contextmanager
def _origin(script: bytes, calls: Queue[str], outcomes: Queue[str]) -> Iterator[str]:
    """Where a page with that script is."""

    class Origin(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path:
                case "/":
                    self._answer("text/html", b'<!doctype html><body><script type="module" src="/script"></script>')
                case "/script":
                    self._answer("text/javascript", script)
                case "/call":
                    self._answer("application/json", calls.get().encode())
                case _:
                    self.send_error(404)

        def do_POST(self) -> None:
            outcomes.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self._answer("text/plain", b"")

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Origin) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
