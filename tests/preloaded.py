"""A WSGI app for ``gunicorn --preload``: who owns which phone, in a database that is open before the workers start."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping

from forking import made

application = made(os.environ["PRELOADED_DATABASE"])


def app(environ: Mapping[str, str], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answer ``/user10`` with the phone of that user and the process that found it."""
    found = application.find_user(environ["PATH_INFO"].removeprefix("/"))
    phone = found and found[1].phone and found[1].phone.e164
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"phone": phone, "process": os.getpid()}).encode()]
