"""The main job through our own routes: register, a text with a code, verify, change."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from queue import Empty, Queue

import pytest
from fastapi.testclient import TestClient

from backend import backend

ADA = {"email": "ada@example.com", "phone": "+41 79 123 45 67"}
BOB = {"email": "bob@example.com", "phone": "+41 79 123 45 68"}
MY_PHONE = "/identity/auth/v1/users/me/phone"
Texts = Queue[tuple[str, str]]


@pytest.fixture
def texts() -> Texts:
    """What was sent, to which number."""
    return Queue()


@pytest.fixture
def client(tmp_path: Path, texts: Texts) -> Iterator[TestClient]:
    """Calls the backend, which is started and stopped as a server would do it."""
    with TestClient(backend(tmp_path, lambda to, text: texts.put((to, text)))) as client:
        yield client


def test_a_user_registers_proves_the_number_and_changes_it(client: TestClient, texts: Texts) -> None:
    registered = client.post("/users", json=ADA)
    assert registered.status_code == 201
    me = _as(registered.json()["token"])
    assert _verified(client, me, code=_code(texts, to="+41791234567"))

    changed = client.put(MY_PHONE, json={"phone": "+41791234569"}, headers=me)

    assert changed.status_code == 200
    assert _verified(client, me, code=_code(texts, to="+41791234569"))


def test_whom_no_session_proves_is_turned_away(client: TestClient) -> None:
    client.post("/users", json=ADA)

    assert client.get(MY_PHONE, headers=_as("guessed")).status_code == 401


def test_a_taken_email_leaves_no_row_no_event_and_no_text(client: TestClient, texts: Texts, tmp_path: Path) -> None:
    client.post("/users", json=ADA)
    _code(texts, to="+41791234567")
    before = ours, theirs = _stored(tmp_path)
    assert ours == theirs

    taken = client.post("/users", json={**BOB, "email": ADA["email"]})

    assert (taken.status_code, taken.json()) == (409, {"refused": "somebody else has this email"})
    assert _stored(tmp_path) == before
    _assert_none_follows(client, texts)


def test_a_refused_number_leaves_no_row(client: TestClient, tmp_path: Path) -> None:
    before = _stored(tmp_path)

    refused = client.post("/users", json={**ADA, "phone": "+4912"})

    assert refused.status_code == 400
    assert _stored(tmp_path) == before


def _as(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _code(texts: Texts, *, to: str) -> str:
    number, text = texts.get(timeout=10)
    assert number == to
    return str(re.findall(r"\d{6}", text)[0])


def _verified(client: TestClient, me: dict[str, str], *, code: str) -> bool:
    assert client.post(f"{MY_PHONE}/_verify", json={"code": code}, headers=me).status_code == 200
    return bool(client.get(MY_PHONE, headers=me).json()["phone"]["isPhoneVerified"])


def _stored(folder: Path) -> tuple[set[str], set[str]]:
    """The ids of our users, and of those who have a history."""
    with closing(sqlite3.connect(folder / "backend.sqlite")) as connection:
        queries = ("SELECT id FROM users", "SELECT aggregate_id FROM humanuser_events")
        ours, theirs = ({user_id for (user_id,) in connection.execute(query)} for query in queries)
    return ours, theirs


def _assert_none_follows(client: TestClient, texts: Texts) -> None:
    """Texts leave in the order of their events: the next one is Bob's, of now."""
    client.post("/users", json=BOB)
    _code(texts, to="+41791234568")
    with pytest.raises(Empty):
        texts.get_nowait()
