"""The main job through our own views, with the command that sends beside them: change, an SMS with a code, verify."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path

import django
import pytest
from django.core.management import call_command
from django.db import connections
from django.test import Client

OURS = "+41791234567"
ANOTHER = "+41791234568"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a new site, for this process and for those that it starts."""
    folder = tmp_path_factory.mktemp("site")
    os.environ |= {"DJANGO_SETTINGS_MODULE": "settings", "SITE_DATA": str(folder)}
    django.setup()
    call_command("migrate", verbosity=0)
    yield folder
    import_module("accounts.identity").identity().close()  # not imported before Django is set up
    connections.close_all()


@pytest.fixture(scope="module")
def sending(data: Path) -> Iterator[Path]:
    """The file of the SMS that the command sends, while it runs."""
    with _command():
        yield data / "sms.jsonl"


def test_a_user_proves_a_new_number_with_the_code_of_the_sms(sending: Path) -> None:
    ada = _signed_up("ada")
    assert ada.post("/phone", {"phone": "+41 79 123 45 67"}).status_code == 204

    code = _code(sending, to=OURS)

    assert ada.post("/phone/verify", {"code": "wrong"}).status_code == 400
    assert ada.post("/phone/verify", {"code": code}).status_code == 204


def test_a_number_of_somebody_else_leaves_no_row_no_event_and_no_sms(sending: Path, data: Path) -> None:
    _signed_up("bob").post("/phone", {"phone": ANOTHER})
    _code(sending, to=ANOTHER)
    eve = _signed_up("eve")
    before = _stored(data)

    taken = eve.post("/phone", {"phone": ANOTHER})

    assert (taken.status_code, taken.json()) == (409, {"refused": "somebody else has this number"})
    assert _stored(data) == before
    eve.post("/phone", {"phone": "+41791234569"})
    _code(sending, to="+41791234569")  # SMS leave in the order of their events, so none is still to come
    assert [to for to, _ in _sent(sending)].count(ANOTHER) == 1


def test_a_refused_number_is_told(data: Path) -> None:
    carol = _signed_up("carol")
    before = _stored(data)

    refused = carol.post("/phone", {"phone": "+4912"})

    assert refused.status_code == 400
    assert "refused" in refused.json()
    assert _stored(data) == before


@pytest.mark.usefixtures("data")
def test_the_command_stops_when_it_is_told_to() -> None:
    with _command() as command:
        pass

    assert command.returncode == 0


def _signed_up(name: str) -> Client:
    client = Client(SERVER_NAME="localhost")
    form = {"username": name, "password1": "correct horse", "password2": "correct horse"}
    assert client.post("/users", form).status_code == 201
    return client


@contextmanager
def _command() -> Iterator[subprocess.Popen[str]]:
    """``manage.py send_sms_codes``, at work while the block runs, and told to stop at its end."""
    command = [sys.executable, "manage.py", "send_sms_codes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout
            assert running.stdout.readline() == "sending\n"
            yield running
        finally:
            running.terminate()
            try:
                running.communicate(timeout=20)
            finally:
                running.kill()  # if it did not stop


def _sent(file: Path) -> list[tuple[str, str]]:
    lines = file.read_text().splitlines() if file.exists() else []
    return [(sms["to"], sms["text"]) for sms in map(json.loads, lines)]


def _code(file: Path, *, to: str) -> str:
    """The code of the first SMS to the number, as soon as there is one."""
    for _ in range(200):
        if texts := [text for number, text in _sent(file) if number == to]:
            return str(re.findall(r"\d{6}", texts[0])[0])
        time.sleep(0.05)
    pytest.fail("no SMS came")


def _stored(folder: Path) -> tuple[int, int]:
    """How many rows of ours there are, and how many numbers humanuser knows of."""
    with closing(sqlite3.connect(folder / "site.sqlite")) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM accounts_customer").fetchone()
        changes = "SELECT count(*) FROM humanuser_events WHERE event_type = 'user.human.phone.changed'"
        (events,) = connection.execute(changes).fetchone()
    return rows, events
