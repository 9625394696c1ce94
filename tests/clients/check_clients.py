"""Clients that others made do what they are for, on our server. ``make test-clients`` names this file to pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from google.api.annotations_pb2 import http
from google.protobuf import json_format

from certificates import make_certificate
from clients.clients import AUTH, CLIENTS, MANAGEMENT, USERS, Client
from clients.programs import Server, need_node
from clients.python import published_pool
from fakes import Callers, FakeClock, pending_code
from humanuser import By, Caller, HumanUserAdded
from humanuser_adapters.api import PhoneService
from humanuser_adapters.api.methods import METHODS
from humanuser_adapters.api.server import Certificate
from humanuser_adapters.application import Application
from humanuser_adapters.auth import permissions_of
from humanuser_adapters.vault import AesGcmVault
from wires import BY_NAME, Wire, served

OLD, NEW = "+41791234567", "+41791234568"
PERSON = {"userName": "eve", "profile": {"firstName": "Eve", "lastName": "Ünlü", "gender": "GENDER_FEMALE"}}
CALLERS = Callers(
    admin=Caller("admin", "org1", {**permissions_of(["ORG_OWNER"], "org1"), **permissions_of(["ORG_OWNER"], "org2")}),
    viewer=Caller("viewer", "org1", permissions_of(["ORG_OWNER_VIEWER"], "org1")),
    ada=Caller("ada", "org1"),
)


class Calls:
    """Calls by one client, two minutes apart."""

    def __init__(self, wire: Wire, clock: FakeClock, code_of_ada: Callable[[], str]) -> None:
        self._wire = wire
        self._clock = clock
        self.code_of_ada = code_of_ada
        """The code that ada was sent last."""
        self.made: set[str] = set()
        """The names of the methods."""

    def __call__(self, name: str, fields: dict[str, Any], token: str = "admin", **headers: str) -> Any:  # noqa: S107
        """The answer as JSON; of an error the code, the message, and what ZITADEL's details say."""
        self._clock.advance(minutes=2)
        self.made.add(name)
        request = json_format.ParseDict(fields, BY_NAME[name].request())
        given = {"authorization": f"Bearer {token}", **headers} if token else headers
        outcome = self._wire.call(BY_NAME[name], request, given)
        if outcome.answer is not None:
            return json_format.MessageToDict(outcome.answer)
        details = [(one["id"], one["message"]) for one in outcome.details if "id" in one]
        return (outcome.code, outcome.message, *details)


@pytest.fixture
def service(application: Application) -> PhoneService:
    """With a user who has a phone, and one who has none."""
    by = By("admin", organization="org1")
    application.commands.add_human_user("ada", HumanUserAdded(user_name="ada"), phone=OLD, by=by)
    application.commands.add_human_user("bob", HumanUserAdded(user_name="bob"), by=by)
    return PhoneService(application.commands, application.find_user, application.new_user_id)


@pytest.fixture
def calls(
    client: Client, service: PhoneService, application: Application, clock: FakeClock, vault: AesGcmVault
) -> Iterator[Calls]:
    with served(service, CALLERS) as address, closing(client.begin(Server(f"http://{address}"))) as wire:
        yield Calls(wire, clock, lambda: pending_code(application, vault))


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Client:
    client = CLIENTS[request.param]
    client.need()
    return client


def by_those_that_know(*services: str) -> pytest.MarkDecorator:
    """Once by each client that knows one of *services*."""
    names = [name for name, client in CLIENTS.items() if set(client.services) & set(services)]
    return pytest.mark.parametrize("client", names, indirect=True)


@by_those_that_know(MANAGEMENT)
def test_an_organization_manages_phones(calls: Calls) -> None:
    user = {"userId": calls("AddHumanUser", {**PERSON, "phone": {"phone": OLD}})["userId"]}
    assert calls("GetHumanPhone", user)["phone"] == {"phone": OLD}

    changed = calls("UpdateHumanPhone", {**user, "phone": NEW})
    again = calls("ResendHumanPhoneVerification", user)
    verified = calls("UpdateHumanPhone", {**user, "phone": NEW, "isPhoneVerified": True})

    assert changed == details(4, minutes=(2, 6))
    assert again == details(5, minutes=(2, 8))
    assert verified == details(6, minutes=(2, 10))
    assert calls("GetHumanPhone", user)["phone"] == {"phone": NEW, "isPhoneVerified": True}
    assert calls("RemoveHumanPhone", user) == details(7, minutes=(2, 14))
    assert calls("GetHumanPhone", user)["phone"] == {}
    assert calls.made == methods_of(MANAGEMENT)


@by_those_that_know(AUTH)
def test_users_manage_their_own_phone(calls: Calls) -> None:
    changed = calls("SetMyPhone", {"phone": NEW}, "ada")
    again = calls("ResendMyPhoneVerification", {}, "ada")
    verified = calls("VerifyMyPhone", {"code": calls.code_of_ada()}, "ada")

    assert changed == details(4, minutes=(0, 2))
    assert again == details(5, minutes=(0, 4))
    assert verified == details(6, minutes=(0, 6))
    assert calls("GetMyPhone", {}, "ada")["phone"] == {"phone": NEW, "isPhoneVerified": True}
    assert calls("RemoveMyPhone", {}, "ada") == details(7, minutes=(0, 10))
    assert calls.made == methods_of(AUTH)


@by_those_that_know(USERS)
def test_user_v2_returns_codes_and_sends_them(calls: Calls) -> None:
    user = {"userId": "ada"}

    sent = calls("SetPhone", {**user, "phone": NEW})
    returned = calls("ResendPhoneCode", {**user, "returnCode": {}})
    verified = calls("VerifyPhone", {**user, "verificationCode": returned["verificationCode"]})
    removed = calls("RemovePhone", user)
    vouched_for = calls("SetPhone", {**user, "phone": OLD, "isVerified": True})

    assert sent == details(4, minutes=(0, 2))
    assert returned["details"] == details(5, minutes=(0, 4))["details"]
    assert verified == details(6, minutes=(0, 6))
    assert removed == details(7, minutes=(0, 8))
    assert vouched_for == details(9, minutes=(0, 10))
    assert calls.made == methods_of(USERS)


@by_those_that_know(MANAGEMENT)
def test_the_header_chooses_the_organization(calls: Calls) -> None:
    elsewhere = {"x-zitadel-orgid": "org2"}

    added = calls("AddHumanUser", {**PERSON, "phone": {"phone": OLD}}, **elsewhere)

    assert added["details"]["resourceOwner"] == "org2"
    user = {"userId": added["userId"]}
    assert calls("GetHumanPhone", user, **elsewhere)["phone"] == {"phone": OLD}
    assert calls("GetHumanPhone", user)[0] == 5


@by_those_that_know(MANAGEMENT, AUTH, USERS)
def test_errors_arrive_as_they_are(calls: Calls, client: Client) -> None:
    refused = [one for service in client.services for one in REFUSED[service]]

    told = [calls(name, fields, token) for name, fields, token, _ in refused]

    assert told == [expected for *_, expected in refused]


@by_those_that_know(MANAGEMENT, AUTH, USERS)
def test_a_server_with_a_certificate_is_called(
    client: Client, service: PhoneService, clock: FakeClock, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if client is CLIENTS["buf curl, gRPC"]:
        request.applymarker(pytest.mark.xfail(reason="it offers HTTP/1.1 beside HTTP/2, and gets that"))
    pem = make_certificate(tmp_path, "127.0.0.1")
    name, fields = ("SetMyPhone", {"phone": NEW}) if AUTH in client.services else ("SetPhone", TO_ADA)

    with (
        served(service, CALLERS, certificate=Certificate(pem, pem)) as address,
        closing(client.begin(Server(f"https://{address}", authority=pem))) as wire,
    ):
        answer = Calls(wire, clock, str)(name, fields, "ada")

    assert answer == details(4, minutes=(0, 2))


def error(code: int, text: str, error_id: str) -> tuple[Any, ...]:
    """One with an id."""
    return (code, f"{text} ({error_id})", (error_id, text))


LENGTH = "value length must be between 1 and {} runes, inclusive"
NO_TOKEN = (16, "auth header missing")
NO_PERMISSION = "No matching permissions found"
TO_ADA = {"userId": "ada", "phone": NEW}
REFUSED: dict[str, list[tuple[str, dict[str, Any], str, Any]]] = {
    MANAGEMENT: [
        ("GetHumanPhone", {"userId": "eve"}, "admin", error(5, "User could not be found", "QUERY-DAvb3")),
        ("RemoveHumanPhone", {"userId": "bob"}, "admin", error(5, "Phone not found", "COMMAND-p6rsc")),
        (
            *("UpdateHumanPhone", {"userId": "ada"}, "admin"),
            (3, f"invalid UpdateHumanPhoneRequest.Phone: {LENGTH.format(50)}"),
        ),
        ("UpdateHumanPhone", TO_ADA, "", NO_TOKEN),
        ("UpdateHumanPhone", TO_ADA, "viewer", error(7, NO_PERMISSION, "AUTH-5mWD2")),
        ("UpdateHumanPhone", TO_ADA, "ada", error(5, "membership not found", "AUTHZ-cdgFk")),
    ],
    AUTH: [
        ("RemoveMyPhone", {}, "admin", error(9, "User could not be found", "COMMAND-3M9fs")),
        ("VerifyMyPhone", {"code": "x"}, "ada", error(3, "Code is invalid", "COMMAND-sM0cs")),
        ("SetMyPhone", {}, "ada", (3, f"invalid SetMyPhoneRequest.Phone: {LENGTH.format(50)}")),
        ("GetMyPhone", {}, "", NO_TOKEN),
        ("GetMyPhone", {}, "unknown", error(16, "Errors.Token.Invalid", "AUTH-7fs1e")),
        ("GetMyPhone", {}, "admin", error(5, "User could not be found", "QUERY-DAvb3")),
    ],
    USERS: [
        ("RemovePhone", {"userId": "eve"}, "admin", error(5, "User could not be found", "COMMAND-ieJ2e")),
        ("SetPhone", {"userId": "ada"}, "admin", (3, f"invalid SetPhoneRequest.Phone: {LENGTH.format(200)}")),
        ("SetPhone", TO_ADA, "", NO_TOKEN),
        ("SetPhone", TO_ADA, "viewer", error(7, NO_PERMISSION, "AUTH-AWfge")),
    ],
}


def details(sequence: int, *, minutes: tuple[int, int]) -> dict[str, Any]:
    """Where the history stands, from the creation to the change; minutes after the clock began."""
    created, changed = (f"2026-05-10T12:{minute:02}:00Z" for minute in minutes)
    dates = {"creationDate": created, "changeDate": changed}
    return {"details": {"sequence": str(sequence), **dates, "resourceOwner": "org1"}}


def methods_of(service: str) -> set[str]:
    """The names of those that we have."""
    return {method.name for method in METHODS if method.service == service}


def test_the_messages_and_paths_are_those_that_zitadel_publishes() -> None:
    need_node()

    for method in METHODS:
        theirs: Any = published_pool().FindServiceByName(method.service).methods_by_name[method.name]  # Any: untyped
        rule = theirs.GetOptions().Extensions[http]
        assert rule.WhichOneof("pattern") == method.verb.lower()
        assert method.path.endswith(getattr(rule, method.verb.lower()))  # the first version has prefixes
        assert fields_of(method.request.DESCRIPTOR) <= fields_of(theirs.input_type)
        assert fields_of(method.response.DESCRIPTOR) == fields_of(theirs.output_type)


def fields_of(kind: Any) -> set[tuple[Any, ...]]:  # Any: the library has two classes of descriptors
    """All that the wire shows of the fields of a message, and of those in it."""
    own = {
        (kind.full_name, field.name, field.json_name, field.number, field.type, field.label) for field in kind.fields
    }
    return own.union(*(fields_of(field.message_type) for field in kind.fields if field.message_type))
