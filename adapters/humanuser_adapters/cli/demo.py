"""``humanuser demo``: the main job, over HTTP, on a new database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import typer
from rich.markup import escape

from humanuser_adapters.application import Application
from humanuser_adapters.auth import add_to_token_file, new_token
from humanuser_adapters.cli.operations import history_table
from humanuser_adapters.cli.session import Exit, fail, opened, out, read_settings

ORGANIZATION = "69629023906488334"
PATIENCE_SECONDS = 15


def demo(
    phone: Annotated[str, typer.Option(help="The number to change to. No real SMS is sent.")] = "+41791234567",
    database: Annotated[
        str | None, typer.Option(help="A database to use, where the user stays, instead of a file that goes.")
    ] = None,
) -> None:
    with tempfile.TemporaryDirectory(prefix="humanuser-demo-") as folder:
        home = Path(folder)
        admin = new_token()
        add_to_token_file(home / "tokens.toml", admin, user="admin", organization=ORGANIZATION, roles=["ORG_OWNER"])
        place = {"database": database or str(home / "demo.sqlite"), "code_key_file": home / "keys"}
        with _server(home, place) as url, opened(read_settings(**place)) as application:
            _main_job(url, home, application, admin, phone)


def _main_job(url: str, home: Path, application: Application, admin: str, phone: str) -> None:
    _step("An administrator adds a user")
    profile = {"userName": "ada", "profile": {"firstName": "Ada", "lastName": "Lovelace"}}
    user_id = _call(url, "POST", "/management/v1/users/human", admin, profile)["userId"]
    path = f"/management/v1/users/{user_id}/phone"

    _step("... and changes her phone")
    changed = _call(url, "PUT", path, admin, {"phone": phone, "isPhoneVerified": False})
    _check(set(changed["details"]) == {"sequence", "creationDate", "changeDate", "resourceOwner"}, "all four details")

    _step("She gets an SMS")
    _wait_for(lambda: "user.human.phone.code.sent" in _events(application, user_id), "an SMS")
    sms = json.loads((home / "sms.jsonl").read_text())
    out.print(f"  to {sms['to']}: [bold]{escape(sms['text'])}[/]", highlight=False, soft_wrap=True)
    code, *_ = sms["text"].split()

    _step("... and proves the number with its code")
    ada = new_token()
    add_to_token_file(home / "tokens.toml", ada, user=user_id, organization=ORGANIZATION, roles=[])
    _call(url, "POST", "/auth/v1/users/me/phone/_verify", ada, {"code": code})

    _step("Now everybody can see that it is hers")
    seen = _call(url, "GET", path, admin)
    _check(seen["phone"] == {"phone": sms["to"], "isPhoneVerified": True}, "the number is proven")

    _step("All of it is in the events")
    out.print(history_table(application.history(user_id)))
    expected = ["added", *(f"phone.{what}" for what in ("changed", "code.added", "code.sent", "verified"))]
    _check(_events(application, user_id) == [f"user.human.{what}" for what in expected], "these five events")
    out.print("[bold green]The phone was changed, the SMS sent and the number proven.[/]")


@contextmanager
def _server(home: Path, place: Mapping[str, object]) -> Iterator[str]:
    """A server of our own, for as long as the block runs; its URL."""
    options = {
        "--token-file": home / "tokens.toml",
        "--sms-file": home / "sms.jsonl",
        "--sms": "file",
        "--port": 0,
    }
    arguments = [str(word) for option in options.items() for word in option]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "humanuser_adapters.cli", "serve", "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **{f"HUMANUSER_{name.upper()}": str(value) for name, value in place.items()}},
        )
    try:
        with process:
            line = process.stdout.readline() if process.stdout else ""
            _check(bool(line), (home / "server.log").read_text())
            url: str = json.loads(line)["url"]
            out.print(f"A server is up at {url}", highlight=False)
            try:
                yield url
            finally:
                process.terminate()
    finally:
        if process.poll() is None:
            process.kill()


def _call(url: str, verb: str, path: str, token: str, body: dict[str, Any] | None = None) -> Any:  # the answer's JSON
    text = json.dumps(body) if body else ""
    out.print(f"  [cyan]{verb} {path}[/] {escape(text)}", highlight=False, soft_wrap=True)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "x-zitadel-orgid": ORGANIZATION,
    }
    request = Request(url + path, text.encode() or None, headers, method=verb)  # noqa: S310 - our own server
    try:
        with urlopen(request, timeout=PATIENCE_SECONDS) as response:  # noqa: S310 - as above
            answer = json.load(response)
    except HTTPError as error:
        fail(Exit.REFUSED, f"the API answered {error.code}: {error.read().decode()}")
    out.print(f"  {escape(json.dumps(answer))}", highlight=False, soft_wrap=True)
    return answer


def _events(application: Application, user_id: str) -> list[str]:
    return [one.event.type for one in application.history(user_id)]


def _wait_for(seen: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not seen():
        _check(time.monotonic() < until, what)
        time.sleep(0.01)


def _step(words: str) -> None:
    out.print(f"\n[bold]{words}[/]", highlight=False)


def _check(seen: bool, what: str) -> None:
    if not seen:
        fail(Exit.UNAVAILABLE, f"the demo did not see: {what}")
