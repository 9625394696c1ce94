"""The API as JSON over HTTP: what is asked wrongly is refused with the right code, and nothing is stored."""

from __future__ import annotations

import base64
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from fakes import Callers, FakeClock, another, as_caller, new_events, pending_code
from humanuser import (
    By,
    Caller,
    CodeVault,
    HumanUserAdded,
    PhoneVerificationFailed,
    UserRemoved,
)
from humanuser_adapters.api import PhoneService, http_app
from humanuser_adapters.application import Application
from humanuser_adapters.auth import permissions_of
from humanuser_adapters.event_store import SQLiteEventRecorder, UserEventStore
from humanuser_adapters.sqlite import SQLiteDatabase

USERS = "/management/v1/users/human"
ADAS_PHONE = "/management/v1/users/ada/phone"
MY_PHONE = "/auth/v1/users/me/phone"
OLD = "+41791234567"
NEW = "+41791234568"
NAMES = {"firstName": "Bob", "lastName": "Byte"}
BOB = {"userName": "bob", "profile": NAMES}
LARGE = 5 * 1024 * 1024
RIGHT_TO_LEFT = "\u200f"


CALLERS = Callers(
    admin=Caller("admin", "org1", permissions_of(["ORG_OWNER"], "org1")),
    viewer=Caller("viewer", "org1", permissions_of(["ORG_OWNER_VIEWER"], "org1")),
    instance=Caller("instance", "org0", permissions_of(["IAM_OWNER"], "org0")),
    ada=Caller("ada", "org1"),
    eve=Caller("eve", "org1"),
)


@pytest.fixture
def client(application: Application) -> TestClient:
    """Calls as an administrator of org1, in which there are Ada and Eve, whose phones have yet to be proven."""
    by = By("admin", organization="org1")
    application.commands.add_human_user("ada", HumanUserAdded(user_name="ada"), phone=OLD, by=by)
    application.commands.add_human_user("eve", HumanUserAdded(user_name="eve"), phone=OLD, by=by)
    service = PhoneService(application.commands, application.find_user, application.new_user_id)
    return TestClient(http_app(service, CALLERS), headers=as_caller("admin"), raise_server_exceptions=False)


LENGTH = "invalid UpdateHumanPhoneRequest.Phone: value length must be between 1 and 50 runes, inclusive"


@pytest.mark.parametrize(
    ("phone", "message"),
    [
        ({}, LENGTH),
        ({"phone": None}, LENGTH),
        ({"phone": ""}, LENGTH),
        ({"phone": "+" + "1" * 50}, LENGTH),
        ({"phone": "+" + " " * 49}, "Phone is invalid (PHONE-so0wa)"),
        ({"phone": "call me"}, "Phone is invalid (PHONE-so0wa)"),
        ({"phone": "+"}, "Phone is invalid (PHONE-so0wa)"),
        ({"phone": "+99912345678"}, "Phone is invalid (PHONE-so0wa)"),
        ({"phone": "0791234568"}, "Phone is invalid: it must start with + and the country code (PHONE-so0wa)"),
        ({"phone": f"{NEW};ext=12"}, "Phone is invalid: an extension gets no SMS (PHONE-so0wa)"),
        ({"phone": f"{NEW} x12"}, "Phone is invalid: an extension gets no SMS (PHONE-so0wa)"),
        ({"phone": "+417912"}, "Phone is invalid: no number of its country has this length (PHONE-so0wa)"),
        ({"phone": "+41900123456"}, "Phone is invalid: this kind of number gets no SMS (PHONE-so0wa)"),
    ],
)
def test_what_is_no_phone_for_sms_is_refused(
    client: TestClient, application: Application, phone: dict[str, Any], message: str
) -> None:
    head = application.head()

    answers = [
        client.put(ADAS_PHONE, json={**phone, "isPhoneVerified": True}),
        client.put(MY_PHONE, json=phone, headers=as_caller("ada")),
        client.post(USERS, json={**BOB, "phone": phone}),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(400, 3)] * 3
    assert answers[0].json()["message"] == message
    assert ["details" in answer.json() for answer in answers] == ["(" in message] * 3
    assert application.head() == head


@pytest.mark.parametrize("phone", ["+1" + "2" * 49, "+" + "é" * 49])
def test_the_length_of_a_phone_is_counted_in_characters(client: TestClient, phone: str) -> None:
    assert ("details" in client.put(ADAS_PHONE, json={"phone": phone}).json()) == (len(phone) <= 50)


PHONE = f'"phone": "{NEW}"'.encode()
MALFORMED = {
    "broken": b"{" + PHONE,
    "text is a number": b'{"phone": 41791234568}',
    "flag is a text": b"{" + PHONE + b', "isPhoneVerified": "true"}',
    "flag is a number": b"{" + PHONE + b', "isPhoneVerified": 1}',
    "field twice": b"{" + PHONE + b", " + PHONE + b"}",
    "camelCase twice": b"{" + PHONE + b', "isPhoneVerified": true, "isPhoneVerified": true}',
    "camelCase and snake_case": b"{" + PHONE + b', "isPhoneVerified": true, "is_phone_verified": true}',
    "not UTF-8": b"{" + PHONE + b', "x": "\xff"}',
    "byte order mark": b"\xef\xbb\xbf{" + PHONE + b"}",
    "UTF-16": (b"{" + PHONE + b"}").decode().encode("utf-16"),
    "half a character": b"{" + PHONE + b', "x": "\\ud800"}',
    "control character": b"{" + PHONE + b', "x": "a\tb"}',
    "NaN": b"{" + PHONE + b', "x": NaN}',
    "null": b"null",
    "array": b"[{" + PHONE + b"}]",
    "text": b'"' + NEW.encode() + b'"',
    "number": b"41791234568",
    "deep arrays": b"{" + PHONE + b', "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep objects": b"{" + PHONE + b', "x":' + b'{"x":' * 200_000 + b"1" + b"}" * 200_000 + b"}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_malformed_json_is_refused(client: TestClient, application: Application, body: bytes) -> None:
    head = application.head()

    answer = client.put(ADAS_PHONE, content=body)

    assert (answer.status_code, answer.json().keys(), answer.json()["code"]) == (400, {"code", "message"}, 3)
    assert application.head() == head


@pytest.mark.parametrize("body", [b" " * LARGE, b'{"x": "' + b"x" * LARGE + b'"}', b"{" + PHONE + b"}" + b" " * LARGE])
def test_more_than_4_mib_are_too_much(client: TestClient, application: Application, body: bytes) -> None:
    head = application.head()

    answer = client.put(ADAS_PHONE, content=body)

    assert (answer.status_code, answer.json()["code"]) == (429, 8)
    assert application.head() == head


RPC_PATH = "/zitadel.management.v1.ManagementService/UpdateHumanPhone"


@pytest.mark.parametrize(
    ("path", "content_type", "bad"),
    [
        (ADAS_PHONE, "application/json", b"["),
        (RPC_PATH, "application/json", b"["),
        (RPC_PATH, "application/grpc-web-text", b"A"),
    ],
)
def test_only_of_somebody_known_is_a_large_body_decoded(
    client: TestClient, path: str, content_type: str, bad: bytes
) -> None:
    def told(body: bytes, **headers: str) -> str:
        verb = "PUT" if path == ADAS_PHONE else "POST"
        answer = client.request(verb, path, content=body, headers={"Content-Type": content_type} | headers)
        is_text = content_type.endswith("-text")
        return (base64.b64decode(answer.content) if is_text else answer.content).decode("latin-1")

    large = bad * 100_001

    assert "auth header missing" in told(large, Authorization="")
    assert "malformed request" in told(large)
    assert "malformed request" in told(bad, Authorization="")


@pytest.mark.parametrize("body", [b"", b" \r\n\t", b"{}"])
def test_a_blank_body_is_an_empty_message(client: TestClient, application: Application, body: bytes) -> None:
    head = application.head()

    answer = client.put(ADAS_PHONE, content=body)

    assert (answer.status_code, answer.json()) == (400, {"code": 3, "message": LENGTH})
    assert application.head() == head


@pytest.mark.parametrize(
    "body",
    [
        b"{" + PHONE + b', "x": 1}',
        b"{" + PHONE + b', "x": 1, "x": [2]}',
        b"{" + PHONE + b', "x": ' + b"9" * 5000 + b"}",
        b"{" + PHONE + b"} and more",
        b"{" + PHONE + b', "isPhoneVerified": null}',
        b"{" + PHONE + b', "userId": "eve"}',
        b"{" + PHONE + b', "user_id": "eve"}',
        b"{" + PHONE + b"}" + b" " * (LARGE // 2),
    ],
)
def test_what_does_not_matter_is_ignored(client: TestClient, application: Application, body: bytes) -> None:
    answer = client.put(f"{ADAS_PHONE}?userId=eve", content=body)

    assert answer.status_code == 200
    assert client.get(ADAS_PHONE).json()["phone"] == {"phone": NEW}
    assert [len(application.history(user_id)) for user_id in ("ada", "eve")] == [4, 2]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"profile": NAMES}, "UserName"),
        ({"userName": "b" * 201, "profile": NAMES}, "UserName"),
        ({"userName": "bob"}, "Profile"),
        ({"userName": "bob", "profile": {"lastName": "Byte"}}, "Profile"),
        ({"userName": "bob", "profile": {"firstName": "Bob"}}, "Profile"),
        ({"userName": "bob", "profile": {**NAMES, "nickName": "b" * 201}}, "Profile"),
        ({"userName": "bob", "profile": {**NAMES, "preferredLanguage": "d" * 11}}, "Profile"),
        ({**BOB, "email": {"email": "b" * 201}}, "Email"),
        ({**BOB, "phone": {}}, "Phone"),
    ],
)
def test_a_new_user_needs_names_of_a_reasonable_length(
    client: TestClient, application: Application, body: object, field: str
) -> None:
    head = application.head()

    answer = client.post(USERS, json=body)

    assert (answer.status_code, answer.json().keys(), answer.json()["code"]) == (400, {"code", "message"}, 3)
    assert answer.json()["message"].startswith(f"invalid AddHumanUserRequest.{field}: ")
    assert application.head() == head


HIDDEN = ["a\0", "a\nb", "\x7fa", "a\u0085", f"a{RIGHT_TO_LEFT}b", "a\u202eb", "\u2067a", "\u2028a", "\ufeffa"]


@pytest.mark.parametrize("text", HIDDEN)
def test_hidden_characters_are_refused_in_every_field(client: TestClient, application: Application, text: str) -> None:
    head = application.head()

    answers = [
        client.put(ADAS_PHONE, json={"phone": NEW + text}),
        client.put(MY_PHONE, json={"phone": NEW + text}, headers=as_caller("ada")),
        client.post(f"{MY_PHONE}/_verify", json={"code": text}, headers=as_caller("ada")),
        client.post(USERS, json={"userName": text, "profile": NAMES}),
        *(
            client.post(USERS, json={**BOB, "profile": {**NAMES, name: text}})
            for name in ("firstName", "lastName", "nickName", "displayName", "preferredLanguage")
        ),
        client.post(USERS, json={**BOB, "email": {"email": text}}),
        client.post(USERS, json={**BOB, "phone": {"phone": NEW + text}}),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json().keys(), answer.json()["code"]) == (400, {"code", "message"}, 3)
        assert answer.json()["message"].endswith("value must not contain control characters or marks of text direction")
    assert application.head() == head


@pytest.mark.parametrize("user_id", ["a%00", "a%0Ab", "%7Fa", "a%C2%85", "a%E2%80%8Fb", "%E2%80%AEa", "a" * 201])
def test_an_id_that_cannot_be_is_refused(client: TestClient, application: Application, user_id: str) -> None:
    head = application.head()

    answers = [
        client.request(verb, f"/management/v1/users/{user_id}/{path}", json=body)
        for verb, path, body in (
            ("GET", "phone", None),
            ("PUT", "phone", {"phone": NEW}),
            ("DELETE", "phone", None),
            ("POST", "phone/_resend_verification", {}),
        )
    ]

    for answer in answers:
        assert (answer.status_code, answer.json().keys(), answer.json()["code"]) == (400, {"code", "message"}, 3)
        assert "Request.UserId: value " in answer.json()["message"]
    assert application.head() == head


def test_an_id_may_have_200_characters(client: TestClient, application: Application) -> None:
    by = By("admin", organization="org1")
    application.commands.add_human_user("é" * 200, HumanUserAdded(user_name="long"), by=by)

    assert client.get(f"/management/v1/users/{'é' * 200}/phone").status_code == 200


@pytest.mark.parametrize("organization", [b"org1\0", b"org\n1", b"org\x7f", b"org\xe2\x80\x8f1", b"o" * 201, b"*"])
@pytest.mark.parametrize("token", ["admin", "instance"])
def test_an_organization_that_cannot_be_has_no_members(
    client: TestClient, application: Application, token: str, organization: bytes
) -> None:
    head = application.head()

    answer = client.post(
        USERS, json=BOB, headers=[(b"Authorization", f"Bearer {token}".encode()), (b"x-zitadel-orgid", organization)]
    )

    assert (answer.status_code, answer.json()["code"]) == (404, 5)
    assert answer.json()["message"] == "membership not found (AUTHZ-cdgFk)"
    assert application.head() == head


@pytest.mark.parametrize("key", [b"", b"key\0", b"key\t1", b"key\xc2\x85", b"k" * 201])
def test_an_idempotency_key_that_cannot_be_is_refused(client: TestClient, application: Application, key: bytes) -> None:
    head = application.head()

    answer = client.put(ADAS_PHONE, json={"phone": NEW}, headers=[(b"Idempotency-Key", key)])

    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert application.head() == head


COMMANDS = [
    ("PUT", "phone", {"phone": NEW}, "COMMAND-3M0fs"),
    ("PUT", "phone", {"phone": NEW, "isPhoneVerified": True}, "COMMAND-3M0fs"),
    ("DELETE", "phone", None, "COMMAND-3M9fs"),
    ("POST", "phone/_resend_verification", {}, "COMMAND-2M0fs"),
]


@pytest.mark.parametrize("absence", ["unknown", "of another organization", "removed"])
@pytest.mark.parametrize(("verb", "path", "body", "error_id"), COMMANDS)
def test_a_user_who_is_not_there_cannot_be_changed(
    client: TestClient,
    application: Application,
    tmp_path: Path,
    absence: str,
    verb: str,
    path: str,
    body: object,
    error_id: str,
) -> None:
    user_id = _absent_user(absence, application, tmp_path)
    head = application.head()

    answer = client.request(verb, f"/management/v1/users/{user_id}/{path}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (400, 9)
    assert answer.json()["message"] == f"User could not be found ({error_id})"
    assert application.head() == head


@pytest.mark.parametrize("absence", ["unknown", "of another organization", "removed"])
def test_a_user_who_is_not_there_cannot_be_read(
    client: TestClient, application: Application, tmp_path: Path, absence: str
) -> None:
    user_id = _absent_user(absence, application, tmp_path)

    answer = client.get(f"/management/v1/users/{user_id}/phone")

    assert (answer.status_code, answer.json()["code"]) == (404, 5)
    assert answer.json()["message"] == "User could not be found (QUERY-DAvb3)"


def test_a_removed_user_cannot_do_anything(client: TestClient, application: Application, tmp_path: Path) -> None:
    _absent_user("removed", application, tmp_path)
    head = application.head()

    answers = [
        client.get(MY_PHONE, headers=as_caller("ada")),
        client.put(MY_PHONE, json={"phone": NEW}, headers=as_caller("ada")),
        client.post(f"{MY_PHONE}/_verify", json={"code": "123456"}, headers=as_caller("ada")),
        client.post(f"{MY_PHONE}/_resend_verification", headers=as_caller("ada")),
        client.delete(MY_PHONE, headers=as_caller("ada")),
    ]

    assert [answer.json()["details"][0]["id"] for answer in answers] == [
        "QUERY-DAvb3",
        "COMMAND-3M0fs",
        "COMMAND-Rsj8c",
        "COMMAND-2M0fs",
        "COMMAND-3M9fs",
    ]
    assert application.head() == head


@pytest.mark.parametrize(
    ("headers", "status", "code", "message"),
    [
        ({"Authorization": ""}, 401, 16, "auth header missing"),
        ({"Authorization": "Basic YWRtaW4="}, 401, 16, "invalid auth header (AUTH-toLo1)"),
        ({"Authorization": "Bearer wrong"}, 401, 16, "Errors.Token.Invalid (AUTH-7fs1e)"),
        ({"Authorization": "Bearer viewer"}, 403, 7, "No matching permissions found (AUTH-5mWD2)"),
        ({"Authorization": "Bearer ada"}, 404, 5, "membership not found (AUTHZ-cdgFk)"),
        ({"x-zitadel-orgid": "org2"}, 404, 5, "membership not found (AUTHZ-cdgFk)"),
    ],
)
@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("PUT", ADAS_PHONE, {"phone": NEW}),
        ("PUT", ADAS_PHONE, {"phone": ""}),
        ("DELETE", ADAS_PHONE, None),
        ("POST", f"{ADAS_PHONE}/_resend_verification", {}),
        ("POST", USERS, BOB),
    ],
)
def test_who_may_not_is_refused_before_the_request_is_looked_at(
    client: TestClient,
    application: Application,
    verb: str,
    path: str,
    body: object,
    headers: dict[str, str],
    status: int,
    code: int,
    message: str,
) -> None:
    head = application.head()

    answer = client.request(verb, path, json=body, headers=headers)

    assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (status, code, message)
    assert application.head() == head


def test_who_may_only_read_reads(client: TestClient) -> None:
    assert client.get(ADAS_PHONE, headers=as_caller("viewer")).status_code == 200
    assert client.get(ADAS_PHONE, headers=as_caller("eve")).status_code == 404


def test_malformed_json_is_refused_before_the_caller_is(client: TestClient) -> None:
    answer = client.put(ADAS_PHONE, content=b"{", headers={"Authorization": ""})

    assert (answer.status_code, answer.json()["code"]) == (400, 3)


def test_a_wrong_code_is_refused_and_remembered(client: TestClient, application: Application, vault: CodeVault) -> None:
    answer = _verify(client, another(pending_code(application, vault, "ada")))

    assert answer == (400, 3, "Code is invalid (COMMAND-sM0cs)")
    assert [recorded.event for recorded in application.history("ada")[2:]] == [PhoneVerificationFailed()]


def test_an_expired_code_is_refused_and_remembered(
    client: TestClient, application: Application, vault: CodeVault, clock: FakeClock
) -> None:
    clock.advance(minutes=10)

    answer = _verify(client, pending_code(application, vault, "ada"))

    assert answer == (400, 3, "Code is invalid (COMMAND-sM0cs)")
    assert [recorded.event for recorded in application.history("ada")[2:]] == [PhoneVerificationFailed()]


def test_a_code_of_somebody_else_is_refused(
    client: TestClient, application: Application, vault: CodeVault, clock: FakeClock
) -> None:
    while pending_code(application, vault, "eve") == pending_code(application, vault, "ada"):
        clock.advance(minutes=1)
        client.post("/management/v1/users/eve/phone/_resend_verification")

    answer = _verify(client, pending_code(application, vault, "eve"))

    assert answer == (400, 3, "Code is invalid (COMMAND-sM0cs)")
    assert client.get(ADAS_PHONE).json()["phone"] == {"phone": OLD}


def test_a_used_code_is_not_found(client: TestClient, application: Application, vault: CodeVault) -> None:
    code = pending_code(application, vault, "ada")
    assert _verify(client, code)[0] == 200
    head = application.head()

    answer = _verify(client, code)

    assert answer == (404, 5, "Code not found (COMMAND-Rsj8c)")
    assert application.head() == head


@pytest.mark.parametrize("code", [None, "", "1" * 201])
def test_a_code_of_an_impossible_length_is_refused(
    client: TestClient, application: Application, code: str | None
) -> None:
    head = application.head()

    answer = _verify(client, code)

    rule = "value length must be between 1 and 200 runes, inclusive"
    assert answer == (400, 3, f"invalid VerifyMyPhoneRequest.Code: {rule}")
    assert application.head() == head


def test_after_five_wrong_codes_the_right_one_is_refused(
    client: TestClient, application: Application, vault: CodeVault
) -> None:
    code = pending_code(application, vault, "ada")
    assert {_verify(client, another(code)) for _ in range(5)} == {(400, 3, "Code is invalid (COMMAND-sM0cs)")}
    head = application.head()

    answer = client.post(f"{MY_PHONE}/_verify", json={"code": code}, headers=as_caller("ada"))

    assert (answer.status_code, answer.json()["code"]) == (429, 8)
    assert [detail.get("id") for detail in answer.json()["details"]] == ["HU-CodeUsedUp"]
    assert "Retry-After" not in answer.headers
    assert application.head() == head


def test_a_code_asked_for_too_soon_is_refused(client: TestClient, application: Application, clock: FakeClock) -> None:
    clock.advance(seconds=59)
    head = application.head()

    answer = client.post(f"{MY_PHONE}/_resend_verification", headers=as_caller("ada"))

    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (429, 8, "1")
    assert answer.json()["details"][0]["id"] == "HU-CodeAskedTooSoon"
    assert application.head() == head


def test_too_many_codes_are_refused(client: TestClient, application: Application, clock: FakeClock) -> None:
    for number in range(4):
        assert client.put(ADAS_PHONE, json={"phone": f"+4179123456{number}"}).status_code == 200
    head = application.head()

    answer = client.put(ADAS_PHONE, json={"phone": NEW})

    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (429, 8, "600")
    assert answer.json()["details"][0]["id"] == "HU-TooManyCodes"
    assert application.head() == head
    clock.advance(minutes=10)
    assert client.put(ADAS_PHONE, json={"phone": NEW}).status_code == 200


def _absent_user(absence: str, application: Application, tmp_path: Path) -> str:
    match absence:
        case "of another organization":
            by = By("admin", organization="org2")
            application.commands.add_human_user("zoe", HumanUserAdded(user_name="zoe"), phone=OLD, by=by)
            return "zoe"
        case "removed":
            last = application.history("ada")[-1]
            with closing(SQLiteDatabase(tmp_path / "test.sqlite")) as database:
                UserEventStore(SQLiteEventRecorder(database)).append(
                    new_events("ada", [UserRemoved()], after=last.sequence, created_at=last.created_at)
                )
            return "ada"
        case _:
            return "nobody"


def _verify(client: TestClient, code: str | None) -> tuple[int, int, str]:
    """Status, code and message of what Ada is answered."""
    answer = client.post(f"{MY_PHONE}/_verify", json={"code": code}, headers=as_caller("ada"))
    return answer.status_code, answer.json().get("code", 0), answer.json().get("message", "")
