"""The API as JSON over HTTP: what is asked rightly is answered as ZITADEL answers it."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from fakes import Callers, FakeClock, another, as_caller, pending_code
from humanuser import (
    By,
    Caller,
    CodeUnreadable,
    CodeVault,
    HumanUser,
    HumanUserAdded,
    PhoneNumber,
    StoreUnavailable,
    UnreadableEvent,
)
from humanuser_adapters.api import PhoneService, http_app
from humanuser_adapters.api.methods import METHODS
from humanuser_adapters.application import Application
from humanuser_adapters.auth import permissions_of

USERS = "/management/v1/users/human"
ADAS_PHONE = "/management/v1/users/ada/phone"
MY_PHONE = "/auth/v1/users/me/phone"
OLD = "+41791234567"
NEW = "+41791234568"
BOB: dict[str, Any] = {"userName": "bob", "profile": {"firstName": "Bob", "lastName": "Byte"}}


CALLERS = Callers(
    admin=Caller("admin", "org1", permissions_of(["ORG_OWNER"], "org1")),
    manager=Caller("manager", "org1", permissions_of(["ORG_USER_MANAGER"], "org1")),
    instance=Caller("instance", "org0", permissions_of(["IAM_OWNER"], "org0")),
    ada=Caller("ada", "org1"),
)


@pytest.fixture
def client(application: Application) -> TestClient:
    """Calls as an administrator of org1, in which there is Ada, whose phone has yet to be proven."""
    by = By("admin", organization="org1")
    application.commands.add_human_user("ada", HumanUserAdded(user_name="ada"), phone=OLD, by=by)
    service = PhoneService(application.commands, application.find_user, application.new_user_id)
    return _client(http_app(service, CALLERS))


@pytest.mark.parametrize(
    ("token", "verb", "path", "body", "sequence"),
    [
        ("admin", "PUT", ADAS_PHONE, {"phone": NEW}, "4"),
        ("admin", "DELETE", ADAS_PHONE, None, "3"),
        ("admin", "POST", f"{ADAS_PHONE}/_resend_verification", {}, "3"),
        ("ada", "PUT", MY_PHONE, {"phone": NEW}, "4"),
        ("ada", "DELETE", MY_PHONE, None, "3"),
        ("ada", "POST", f"{MY_PHONE}/_resend_verification", None, "3"),
    ],
)
def test_a_command_is_answered_with_where_the_history_stands(
    client: TestClient, clock: FakeClock, token: str, verb: str, path: str, body: object, sequence: str
) -> None:
    clock.advance(minutes=2)

    answer = client.request(verb, path, json=body, headers=as_caller(token))

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
        "details": {
            "sequence": sequence,
            "creationDate": "2026-05-10T12:00:00Z",
            "changeDate": "2026-05-10T12:02:00Z",
            "resourceOwner": "org1",
        }
    }


@pytest.mark.parametrize(("token", "path"), [("admin", ADAS_PHONE), ("ada", MY_PHONE)])
def test_a_phone_is_read_without_the_fields_that_are_zero(client: TestClient, token: str, path: str) -> None:
    answer = client.get(path, headers=as_caller(token))

    assert answer.status_code == 200
    assert answer.json() == {
        "details": {
            "sequence": "1",
            "creationDate": "2026-05-10T12:00:00Z",
            "changeDate": "2026-05-10T12:00:00Z",
            "resourceOwner": "org1",
        },
        "phone": {"phone": OLD},
    }


def test_a_phone_is_proven_with_its_code(
    client: TestClient, clock: FakeClock, application: Application, vault: CodeVault
) -> None:
    clock.advance(minutes=2)

    answer = client.post(
        f"{MY_PHONE}/_verify", json={"code": pending_code(application, vault)}, headers=as_caller("ada")
    )

    assert answer.json()["details"] == {
        "sequence": "3",
        "creationDate": "2026-05-10T12:00:00Z",
        "changeDate": "2026-05-10T12:02:00Z",
        "resourceOwner": "org1",
    }
    assert client.get(ADAS_PHONE).json()["phone"] == {"phone": OLD, "isPhoneVerified": True}


def test_a_user_is_added_and_read(client: TestClient, application: Application) -> None:
    answer = client.post(USERS, json=BOB)

    user_id = answer.json()["userId"]
    details = {
        "sequence": "1",
        "creationDate": "2026-05-10T12:00:00Z",
        "changeDate": "2026-05-10T12:00:00Z",
        "resourceOwner": "org1",
    }
    assert answer.json() == {"userId": user_id, "details": details}
    assert client.get(f"/management/v1/users/{user_id}/phone").json() == {"details": details, "phone": {}}
    assert [recorded.event for recorded in application.history(user_id)] == [
        HumanUserAdded(user_name="bob", first_name="Bob", last_name="Byte", display_name="Bob Byte")
    ]


def test_two_long_names_make_a_display_name_that_is_cut(client: TestClient, application: Application) -> None:
    profile = {"firstName": "B" * 150, "lastName": "y" * 150}

    answer = client.post(USERS, json={"userName": "bob", "profile": profile, "email": {"email": "bob@example.org"}})

    event = application.history(answer.json()["userId"])[0].event
    assert isinstance(event, HumanUserAdded)
    assert event.display_name == "B" * 150 + " " + "y" * 49


def test_all_that_is_told_of_a_new_user_is_kept(client: TestClient, application: Application) -> None:
    profile = {
        "firstName": "Bob",
        "lastName": "Byte",
        "nickName": "B",
        "displayName": "Sir Bob",
        "preferredLanguage": "de",
        "gender": "GENDER_MALE",
    }

    answer = client.post(USERS, json={"userName": "bob", "profile": profile, "email": {"email": "bob@example.org"}})

    assert application.history(answer.json()["userId"])[0].event == HumanUserAdded(
        user_name="bob",
        first_name="Bob",
        last_name="Byte",
        nick_name="B",
        display_name="Sir Bob",
        preferred_language="de",
        gender=2,
        email="bob@example.org",
    )


@pytest.mark.parametrize(
    ("phone", "shown", "events"),
    [
        ({"phone": NEW}, {"phone": NEW}, ["user.human.added", "user.human.phone.code.added"]),
        (
            {"phone": NEW, "isPhoneVerified": True},
            {"phone": NEW, "isPhoneVerified": True},
            ["user.human.added", "user.human.phone.verified"],
        ),
    ],
)
def test_a_user_is_added_with_a_phone(
    client: TestClient, application: Application, phone: object, shown: object, events: list[str]
) -> None:
    answer = client.post(USERS, json={**BOB, "phone": phone})

    user_id = answer.json()["userId"]
    assert answer.json()["details"]["sequence"] == "2"
    assert client.get(f"/management/v1/users/{user_id}/phone").json()["phone"] == shown
    assert [recorded.event.type for recorded in application.history(user_id)] == events


@pytest.mark.parametrize("phone", [NEW, OLD])
def test_an_administrator_can_vouch_for_a_number(client: TestClient, phone: str) -> None:
    answer = client.put(ADAS_PHONE, json={"phone": phone, "isPhoneVerified": True})

    assert answer.status_code == 200
    assert client.get(ADAS_PHONE).json()["phone"] == {"phone": phone, "isPhoneVerified": True}


def test_nobody_can_vouch_for_ones_own_number(client: TestClient) -> None:
    client.put(MY_PHONE, json={"phone": NEW, "isPhoneVerified": True}, headers=as_caller("ada"))

    assert client.get(ADAS_PHONE).json()["phone"] == {"phone": NEW}


def test_a_write_is_read_at_once(client: TestClient) -> None:
    for number in (NEW, OLD, NEW):
        client.put(ADAS_PHONE, json={"phone": number, "isPhoneVerified": True})

        assert client.get(ADAS_PHONE).json()["phone"]["phone"] == number


def test_a_user_without_phone_has_an_empty_one(client: TestClient) -> None:
    client.delete(ADAS_PHONE)

    answer = client.get(ADAS_PHONE)

    assert (answer.status_code, answer.json()["phone"]) == (200, {})


@pytest.mark.parametrize("body", [{"phone": NEW, "is_phone_verified": True}, {"phone": f"tel:{NEW}"}])
def test_numbers_are_shown_in_e164_and_names_may_have_underscores(client: TestClient, body: object) -> None:
    assert client.put(ADAS_PHONE, json=body).status_code == 200
    assert client.get(ADAS_PHONE).json()["phone"]["phone"] == NEW


@pytest.mark.parametrize(
    ("microseconds", "shown"), [(0, "00Z"), (120_000, "00.120Z"), (123_456, "00.123456Z"), (1, "00.000001Z")]
)
def test_times_have_0_3_or_6_digits_of_a_second(
    client: TestClient, clock: FakeClock, microseconds: int, shown: str
) -> None:
    clock.now += timedelta(microseconds=microseconds)

    answer = client.put(ADAS_PHONE, json={"phone": NEW})

    assert answer.json()["details"]["changeDate"] == f"2026-05-10T12:00:{shown}"


@pytest.mark.parametrize("content_type", ["application/json", "application/grpc", "text/plain", ""])
def test_any_content_type_is_read_as_json(client: TestClient, content_type: str) -> None:
    answer = client.put(ADAS_PHONE, content=f'{{"phone": "{NEW}"}}', headers={"Content-Type": content_type})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


def test_who_asked_is_recorded(client: TestClient, application: Application) -> None:
    client.put(ADAS_PHONE, json={"phone": NEW}, headers=as_caller("manager"))
    client.delete(MY_PHONE, headers=as_caller("ada"))

    assert [recorded.creator for recorded in application.history("ada")[2:]] == ["manager", "manager", "ada"]


def test_the_header_chooses_the_organization(client: TestClient) -> None:
    answer = client.post(USERS, json=BOB, headers={**as_caller("instance"), "x-zitadel-orgid": "org2"})

    path = f"/management/v1/users/{answer.json()['userId']}/phone"
    assert answer.json()["details"]["resourceOwner"] == "org2"
    assert client.get(path, headers={**as_caller("instance"), "x-zitadel-orgid": "org2"}).status_code == 200
    assert client.get(path, headers=as_caller("instance")).status_code == 404


def test_of_several_organizations_the_first_counts(client: TestClient) -> None:
    headers = [("x-zitadel-orgid", "org1"), ("x-zitadel-orgid", "org2")]

    assert client.get(ADAS_PHONE, headers=headers).status_code == 200
    assert client.get(ADAS_PHONE, headers=headers[::-1]).status_code == 404


def test_an_empty_organization_is_the_callers_own(client: TestClient) -> None:
    assert client.get(ADAS_PHONE, headers={"x-zitadel-orgid": ""}).status_code == 200


def test_ones_own_phone_is_in_ones_own_organization_whatever_the_header_says(client: TestClient) -> None:
    assert client.get(MY_PHONE, headers={**as_caller("ada"), "x-zitadel-orgid": "org2"}).status_code == 200


def test_a_refusal_is_a_status_with_zitadels_id(client: TestClient) -> None:
    answer = client.put(ADAS_PHONE, json={"phone": OLD})

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert answer.json() == {
        "code": 9,
        "message": "Phone not changed (COMMAND-wF94r)",
        "details": [
            {
                "@type": "type.googleapis.com/zitadel.v1.ErrorDetail",
                "id": "COMMAND-wF94r",
                "message": "Phone not changed",
            }
        ],
    }


def test_a_broken_field_rule_has_no_details(client: TestClient) -> None:
    answer = client.put(ADAS_PHONE, json={})

    assert answer.status_code == 400
    assert answer.json() == {
        "code": 3,
        "message": "invalid UpdateHumanPhoneRequest.Phone: value length must be between 1 and 50 runes, inclusive",
    }


@pytest.mark.parametrize(
    ("authorization", "message", "ids"),
    [
        ({}, "auth header missing", []),
        ({"Authorization": ""}, "auth header missing", []),
        ({"Authorization": "bearer admin"}, "invalid auth header (AUTH-toLo1)", ["AUTH-toLo1"]),
        ({"Authorization": "admin"}, "invalid auth header (AUTH-toLo1)", ["AUTH-toLo1"]),
        ({"Authorization": "Bearer eve"}, "Errors.Token.Invalid (AUTH-7fs1e)", ["AUTH-7fs1e"]),
    ],
)
def test_somebody_unknown_is_told_so_in_a_header_too(
    client: TestClient, authorization: dict[str, str], message: str, ids: list[str]
) -> None:
    del client.headers["Authorization"]

    answer = client.get(ADAS_PHONE, headers=authorization)

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, message)
    assert (answer.json()["code"], answer.json()["message"]) == (16, message)
    assert [detail["id"] for detail in answer.json().get("details", [])] == ids
    assert ("details" in answer.json()) == bool(ids)


def test_who_asks_too_soon_is_told_how_long_to_wait(client: TestClient, clock: FakeClock) -> None:
    clock.advance(seconds=9.5)

    answer = client.post(f"{ADAS_PHONE}/_resend_verification")

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "51")
    assert (answer.json()["code"], [detail["@type"] for detail in answer.json()["details"]]) == (
        8,
        ["type.googleapis.com/zitadel.v1.ErrorDetail", "type.googleapis.com/google.rpc.RetryInfo"],
    )
    assert answer.json()["details"][1]["retryDelay"] == "51s"
    clock.advance(seconds=51)
    assert client.post(f"{ADAS_PHONE}/_resend_verification").status_code == 200


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (StoreUnavailable("secret"), 503, 14),
        (UnreadableEvent(1, "secret"), 500, 15),
        (CodeUnreadable("secret"), 400, 9),
        (RuntimeError("secret"), 500, 13),
    ],
)
def test_a_failure_of_ours_is_told_without_its_reason(
    application: Application, caplog: pytest.LogCaptureFixture, failure: Exception, status: int, code: int
) -> None:
    def fail(_: str) -> None:
        raise failure

    client = _client(http_app(PhoneService(application.commands, fail, application.new_user_id), CALLERS))

    with caplog.at_level(logging.ERROR, "humanuser_adapters"):
        answer = client.get(ADAS_PHONE)

    assert (answer.status_code, answer.json()["code"], answer.json().keys()) == (status, code, {"code", "message"})
    assert "secret" not in answer.text
    assert "secret" in caplog.text


def test_a_command_with_a_key_is_carried_out_once(
    client: TestClient, application: Application, clock: FakeClock
) -> None:
    first = client.put(ADAS_PHONE, json={"phone": NEW}, headers={"Idempotency-Key": "key"})
    clock.advance(minutes=2)
    head = application.head()

    again = client.put(ADAS_PHONE, json={"phone": NEW}, headers={"Idempotency-Key": "key"})

    assert (again.status_code, again.json()) == (200, first.json())
    assert application.head() == head


def test_a_user_with_a_key_is_added_once(client: TestClient, application: Application, clock: FakeClock) -> None:
    body = {**BOB, "phone": {"phone": NEW}}
    first = client.post(USERS, json=body, headers={"Idempotency-Key": "key"})
    clock.advance(minutes=2)
    head = application.head()

    again = client.post(USERS, json=body, headers={"Idempotency-Key": "key"})

    assert (again.status_code, again.json()) == (200, first.json())
    assert application.head() == head


def test_without_a_key_users_of_one_name_are_two(client: TestClient) -> None:
    first = client.post(USERS, json=BOB)

    second = client.post(USERS, json=BOB)

    assert first.json()["userId"] != second.json()["userId"]


def test_a_failed_attempt_with_a_key_counts_once(
    client: TestClient, application: Application, vault: CodeVault
) -> None:
    wrong = another(pending_code(application, vault))

    answers = [
        client.post(f"{MY_PHONE}/_verify", json={"code": wrong}, headers={**as_caller("ada"), "Idempotency-Key": "key"})
        for _ in range(2)
    ]

    assert [answer.json()["message"] for answer in answers] == ["Code is invalid (COMMAND-sM0cs)"] * 2
    assert len(application.history("ada")) == 3


def test_the_same_key_of_another_caller_is_another_command(client: TestClient, application: Application) -> None:
    client.put(ADAS_PHONE, json={"phone": NEW}, headers={"Idempotency-Key": "key"})

    answer = client.put(ADAS_PHONE, json={"phone": OLD}, headers={**as_caller("manager"), "Idempotency-Key": "key"})

    assert answer.json()["details"]["sequence"] == "6"
    assert len(application.history("ada")) == 6


def test_the_same_key_for_another_method_is_another_command(client: TestClient, application: Application) -> None:
    client.put(ADAS_PHONE, json={"phone": NEW}, headers={"Idempotency-Key": "key"})

    answer = client.delete(ADAS_PHONE, headers={"Idempotency-Key": "key"})

    assert answer.json()["details"]["sequence"] == "5"
    assert len(application.history("ada")) == 5


def test_the_same_key_for_another_number_is_refused(client: TestClient, application: Application) -> None:
    client.put(ADAS_PHONE, json={"phone": NEW}, headers={"Idempotency-Key": "key"})
    head = application.head()

    answer = client.put(ADAS_PHONE, json={"phone": OLD}, headers={"Idempotency-Key": "key"})

    assert (answer.status_code, answer.json()["details"][0]["id"]) == (409, "HU-CommandIdReused")
    assert application.head() == head


def test_the_same_key_for_another_user_is_refused(client: TestClient, application: Application) -> None:
    user_id = client.post(USERS, json=BOB).json()["userId"]
    client.put(ADAS_PHONE, json={"phone": NEW}, headers={"Idempotency-Key": "key"})
    head = application.head()

    answer = client.put(
        f"/management/v1/users/{user_id}/phone", json={"phone": NEW}, headers={"Idempotency-Key": "key"}
    )

    assert (answer.status_code, answer.json()["code"]) == (409, 6)
    assert answer.json()["details"][0]["id"] == "HU-CommandIdReused"
    assert application.head() == head


def test_a_wrong_code_under_the_key_of_a_proof_is_refused(
    client: TestClient, application: Application, vault: CodeVault
) -> None:
    code = pending_code(application, vault)
    headers = {**as_caller("ada"), "Idempotency-Key": "key"}
    first = client.post(f"{MY_PHONE}/_verify", json={"code": code}, headers=headers)

    wrong = client.post(f"{MY_PHONE}/_verify", json={"code": another(code)}, headers=headers)
    again = client.post(f"{MY_PHONE}/_verify", json={"code": code}, headers=headers)

    assert (wrong.status_code, wrong.json()["details"][0]["id"]) == (409, "HU-CommandIdReused")
    assert (again.status_code, again.json()) == (200, first.json())


@pytest.mark.parametrize(
    "other",
    [
        {**BOB, "userName": "zoe"},
        {**BOB, "phone": {"phone": NEW}},
        {**BOB, "profile": {**BOB["profile"], "gender": "GENDER_FEMALE"}},
        {**BOB, "email": {"email": "bob@example.com"}},
    ],
)
def test_the_same_key_for_another_new_user_is_refused(
    client: TestClient, application: Application, other: dict[str, Any]
) -> None:
    client.post(USERS, json=BOB, headers={"Idempotency-Key": "key"})
    head = application.head()

    answer = client.post(USERS, json=other, headers={"Idempotency-Key": "key"})

    assert (answer.status_code, answer.json()["details"][0]["id"]) == (409, "HU-CommandIdReused")
    assert application.head() == head


def test_a_returned_code_is_not_repeated_to_who_has_lost_the_role(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, headers = {"phone": NEW, "returnCode": {}}, {"Idempotency-Key": "key"}
    first = client.post("/v2/users/ada/phone", json=body, headers=headers)
    assert first.json()["verificationCode"]

    monkeypatch.setitem(CALLERS, "admin", Caller("admin", "org1"))
    refused = client.post("/v2/users/ada/phone", json=body, headers=headers)
    monkeypatch.undo()

    assert refused.status_code in (403, 404)
    assert "verificationCode" not in refused.text
    assert client.post("/v2/users/ada/phone", json=body, headers=headers).json() == first.json()


def test_the_server_is_alive(client: TestClient) -> None:
    del client.headers["Authorization"]

    answer = client.get("/healthz")

    assert (answer.status_code, answer.text) == (200, "ok")


@pytest.mark.parametrize(("problems", "status"), [({}, 200), ({"database": "no answer of 10.0.0.1"}, 503)])
def test_the_server_is_ready_when_nothing_is_wrong(
    application: Application, problems: dict[str, str], status: int
) -> None:
    service = PhoneService(application.commands, application.find_user, application.new_user_id)
    client = TestClient(http_app(service, CALLERS, readiness=lambda: problems))

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (status, {"ready": not problems, "problems": list(problems)})


def test_the_document_has_every_method_and_every_message(client: TestClient) -> None:
    del client.headers["Authorization"]

    document = client.get("/openapi.json").json()

    operations = {
        (verb.upper(), path, operation["operationId"])
        for path, item in document["paths"].items()
        for verb, operation in item.items()
    }
    assert operations == {(method.verb, method.path, method.name) for method in METHODS}
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "/"}]
    names = {reference.removeprefix("#/components/schemas/") for reference in _references(document)}
    assert names <= document["components"]["schemas"].keys()
    assert {"UpdateHumanPhoneRequest", "GetHumanPhoneResponse", "Status"} <= names


def test_the_document_says_how_messages_look(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]

    phone = schemas["UpdateHumanPhoneRequest"]["properties"]
    assert (phone["phone"]["maxLength"], phone["isPhoneVerified"]["type"]) == (50, "boolean")
    assert schemas["ObjectDetails"]["properties"]["sequence"]["type"] == "string"
    assert schemas["ObjectDetails"]["properties"]["creationDate"]["format"] == "date-time"


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    del client.headers["Authorization"]

    answer = client.get("/docs")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert not re.search(r"(src|href)\s*=\s*[\"']?(\w+:)?//|@import|url\(|<script", answer.text, re.IGNORECASE)
    assert all(f"{method.verb} {method.path}" in answer.text for method in METHODS)


def test_each_link_of_the_page_leads_somewhere(client: TestClient) -> None:
    page = client.get("/docs").text

    links = set(re.findall(r"href=[\"']([^\"']+)", page))
    assert links - {f"#{anchor}" for anchor in re.findall(r"id='([^']+)'", page)} == {"openapi.json"}


def test_the_app_can_be_mounted_into_another(client: TestClient) -> None:
    mounted = _client(Starlette(routes=[Mount("/identity", client.app)]))

    changed = mounted.put(f"/identity{ADAS_PHONE}", json={"phone": NEW})

    assert changed.status_code == 200
    assert mounted.get(f"/identity{ADAS_PHONE}").json()["phone"] == {"phone": NEW}
    assert mounted.get("/identity/openapi.json").json()["servers"] == [{"url": "/identity"}]
    assert mounted.get("/identity/docs").status_code == 200
    assert mounted.put(f"/identity{ADAS_PHONE}", json={"phone": NEW}).json()["code"] == 9
    assert mounted.get("/identity/nowhere").json() == {"code": 5, "message": "Not Found"}
    not_allowed = mounted.post(f"/identity{ADAS_PHONE}")
    assert (not_allowed.status_code, not_allowed.headers["Allow"]) == (405, "DELETE, GET, HEAD, PUT")
    assert mounted.get(ADAS_PHONE).status_code == 404


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("POST", ADAS_PHONE, "DELETE, GET, HEAD, PUT"),
        ("GET", f"{ADAS_PHONE}/_resend_verification", "POST"),
        ("PATCH", USERS, "POST"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(client: TestClient, verb: str, path: str, allowed: str) -> None:
    answer = client.request(verb, path)

    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.json() == {"code": 12, "message": "Method Not Allowed"}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nowhere",
        f"{ADAS_PHONE}/",
        f"/{ADAS_PHONE}",
        ADAS_PHONE.upper(),
        "/docs/",
        "/management/v1/users//phone",
        "/management/v1/users/a%2Fda/phone",
        "/management/v1/users/ada%2F/phone",
    ],
)
def test_another_path_is_not_found(client: TestClient, path: str) -> None:
    answer = client.get(f"http://testserver{path}")

    assert answer.status_code == 404
    assert answer.json() == {"code": 5, "message": "Not Found"}


def test_an_id_may_have_any_printable_characters(client: TestClient, application: Application) -> None:
    by = By("admin", organization="org1")
    application.commands.add_human_user("ä %?#'\"<", HumanUserAdded(user_name="odd"), by=by)

    answer = client.put("/management/v1/users/%C3%A4%20%25%3F%23'%22%3C/phone", json={"phone": NEW})

    assert answer.status_code == 200
    assert HumanUser.replay(application.history("ä %?#'\"<")).phone == PhoneNumber(NEW)


def _client(app: Any) -> TestClient:  # Any: Starlette's client takes an app of either ASGI version
    return TestClient(app, headers=as_caller("admin"), follow_redirects=False, raise_server_exceptions=False)


def _references(document: Any) -> set[str]:  # Any: whatever JSON holds
    if isinstance(document, dict):
        return {document["$ref"]} if "$ref" in document else set().union(*map(_references, document.values()))
    return set().union(*map(_references, document)) if isinstance(document, list) else set()
