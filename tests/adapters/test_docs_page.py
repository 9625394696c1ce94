"""The page about the API, in a real browser."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from chromium import BROWSER, OPTIONS
from fakes import Callers, eventually
from humanuser_adapters.api import PhoneService, http_app
from humanuser_adapters.api.methods import METHODS
from humanuser_adapters.application import Application


@pytest.fixture
def url(application: Application) -> Iterator[str]:
    service = PhoneService(application.commands, application.find_user, application.new_user_id)
    server = uvicorn.Server(uvicorn.Config(http_app(service, Callers()), http="h11", port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert eventually(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_a_browser_shows_every_method_and_asks_nobody_else(url: str, tmp_path: Path) -> None:
    if BROWSER is None:
        if os.environ.get("CI"):
            pytest.fail("CI must look at the page: install chromium")
        pytest.skip("NO BROWSER: the page was not looked at")
    shown = subprocess.run(
        [BROWSER, *OPTIONS, "--enable-logging=stderr", f"--user-data-dir={tmp_path}", "--dump-dom", f"{url}/docs"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    for method in METHODS:
        assert f"<h3>{method.name}</h3>" in shown.stdout
        assert f"<pre>{method.verb} {method.path}</pre>" in shown.stdout
    assert "CONSOLE" not in shown.stderr  # where a browser tells what a page must not load, or could not
