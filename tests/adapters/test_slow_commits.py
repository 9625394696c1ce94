"""Requests repeated under one key while the first commit is still under way: all are answered with what it stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
import pytest
from starlette.testclient import TestClient

from fakes import Callers, as_caller
from humanuser import (
    By,
    Caller,
    CodeOwner,
    CodeVault,
    CommandIdReused,
    HumanUserAdded,
    PhoneChanged,
    PhoneNumber,
    PhoneVerificationCodeAdded,
    StoreUnavailable,
)
from humanuser_adapters.api import PhoneService, http_app
from humanuser_adapters.application import Application
from humanuser_adapters.auth import permissions_of

OLD, NEW = "+41791234567", "+41791234568"
ADMIN = By("admin", organization="org1")
COMMIT_SECONDS = 1.1
"""A synchronous standby far away. A statement is given up after 0.6 s, and its client repeats the request before."""
SLOW_COMMIT = f"""
    CREATE FUNCTION sleep_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_sleep({COMMIT_SECONDS});
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON humanuser_events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.in_tx_order = 1) EXECUTE FUNCTION sleep_at_commit();
"""
CALLERS = Callers(admin=Caller("admin", "org1", permissions_of(["ORG_OWNER"], "org1")))
T = TypeVar("T")


@pytest.fixture
def application(postgresql_url: str, vault: CodeVault) -> Iterator[Application]:
    """With Ada in it, and slow from then on."""
    with Application(postgresql_url, vault) as application:
        application.commands.add_human_user("ada", HumanUserAdded(user_name="ada"), phone=OLD, by=ADMIN)
        with psycopg.connect(postgresql_url) as connection:
            connection.execute(SLOW_COMMIT)
        yield application


def repeated(send: Callable[[], T | None]) -> list[T]:
    """The answers to a request that is sent again every 0.3 s; None: it is unavailable, and is sent once more."""

    def give(number: int) -> T:
        time.sleep(0.3 * number)
        while (answer := send()) is None:
            pass
        return answer

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(give, range(4)))


def sent_to(application: Application, path: str, body: object) -> Callable[[], dict[str, object] | None]:
    """Sends the request over HTTP, under one key."""
    service = PhoneService(application.commands, application.find_user, application.new_user_id)
    headers = {**as_caller("admin"), "Idempotency-Key": "key"}
    client = TestClient(http_app(service, CALLERS), headers=headers)

    def send() -> dict[str, object] | None:
        answer = client.post(path, json=body)
        if answer.status_code == 503:
            return None
        assert answer.status_code == 200, answer.text
        found: dict[str, object] = answer.json()
        return found

    return send


def users_of(application: Application) -> set[str]:
    return set(application.user_ids()) - {"ada"}


def stored_code(application: Application, vault: CodeVault) -> str:
    added = [one.event for one in application.history("ada") if isinstance(one.event, PhoneVerificationCodeAdded)]
    assert len(added) == 2, "the one of her beginning, and the one that was asked for"
    assert added[-1].code is not None
    return vault.open(added[-1].code, CodeOwner("default", "ada")).characters


def test_a_new_user_is_answered_with_the_id_of_the_user_who_exists(application: Application) -> None:
    body = {"userName": "bob", "profile": {"firstName": "Bob", "lastName": "Byte"}, "phone": {"phone": NEW}}

    answers = repeated(sent_to(application, "/management/v1/users/human", body))

    (user_id,) = users_of(application)
    assert [answer["userId"] for answer in answers] == [user_id] * 4
    assert len(application.history(user_id)) == 2


def test_a_returned_code_is_the_stored_one(application: Application, vault: CodeVault) -> None:
    answers = repeated(sent_to(application, "/v2/users/ada/phone", {"phone": NEW, "returnCode": {}}))

    assert [answer["verificationCode"] for answer in answers] == [stored_code(application, vault)] * 4
    assert len({str(answer["details"]) for answer in answers}) == 1


def test_a_host_that_repeats_a_command_is_given_the_stored_code(application: Application, vault: CodeVault) -> None:
    by = By("admin", command_id="command1")

    def send() -> str | None:
        try:
            done = application.commands.set_phone("ada", NEW, return_code=True, by=by, permit=lambda _: None)
        except StoreUnavailable:
            return None
        assert done.code is not None
        return done.code.characters

    assert repeated(send) == [stored_code(application, vault)] * 4


def test_a_command_repeated_with_another_user_id_says_whom_it_was_for(application: Application) -> None:
    by = By("admin", organization="org1", command_id="command1")

    def send() -> str | None:
        user_id = application.new_user_id()
        try:
            application.commands.add_human_user(user_id, HumanUserAdded(user_name="bob"), by=by)
        except CommandIdReused as reused:
            return reused.user_id
        except StoreUnavailable:
            return None
        return user_id

    answers = repeated(send)

    assert set(answers) == users_of(application)


def test_another_request_under_the_key_of_one_under_way_is_refused(application: Application) -> None:
    by = By("admin", organization="org1", command_id="command1")
    numbers = iter([NEW, *["+41791234569"] * 100])

    def send() -> str | None:
        number = next(numbers)
        try:
            application.commands.change_phone("ada", number, by=by)
        except CommandIdReused:
            return "refused"
        except StoreUnavailable:
            return None if number != NEW else "unknown"
        return "changed"

    first, *others = repeated(send)

    assert first in ("changed", "unknown")
    assert others == ["refused"] * 3
    assert application.history("ada")[2].event == PhoneChanged(phone=PhoneNumber(NEW))
    assert len(application.history("ada")) == 4
