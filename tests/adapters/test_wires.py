"""Every wire of the API, on one port: the same answers, the same errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from google.protobuf import json_format

from fakes import Callers, FakeClock
from humanuser import By, Caller, HumanUserAdded
from humanuser_adapters.api import PhoneService
from humanuser_adapters.application import Application
from humanuser_adapters.auth import permissions_of
from wires import BY_NAME, Outcome, Wire, every_wire, served

OLD, NEW = "+41791234567", "+41791234568"
CALLERS = Callers(
    admin=Caller("admin", "org1", permissions_of(["ORG_OWNER"], "org1")),
    viewer=Caller("viewer", "org1", permissions_of(["ORG_OWNER_VIEWER"], "org1")),
    ada=Caller("ada", "org1"),
)
WIRES = ("REST", "gRPC", "gRPC-Web", "gRPC-Web, bare", "gRPC-Web, text", "Connect, JSON", "Connect, proto")


@pytest.fixture
def address(application: Application) -> Iterator[str]:
    by = By("admin", organization="org1")
    application.commands.add_human_user("ada", HumanUserAdded(user_name="ada"), phone=OLD, by=by)
    service = PhoneService(application.commands, application.find_user, application.new_user_id)
    with served(service, CALLERS) as address:
        yield address


@pytest.fixture
def wires(address: str) -> Iterator[dict[str, Wire]]:
    with every_wire(address) as wires:
        yield wires


def made(wire: Wire, name: str, fields: dict[str, Any], token: str, **headers: str) -> Outcome:
    """What comes of a call."""
    request = json_format.ParseDict(fields, BY_NAME[name].request())
    given: Mapping[str, str] = {"authorization": f"Bearer {token}", **headers}
    return wire.call(BY_NAME[name], request, given)


@pytest.mark.parametrize("name", WIRES)
def test_a_phone_is_changed(wires: dict[str, Wire], clock: FakeClock, name: str) -> None:
    clock.advance(minutes=2)

    outcome = made(wires[name], "UpdateHumanPhone", {"userId": "ada", "phone": NEW}, "admin")

    assert outcome.code == 0
    assert outcome.answer
    assert json_format.MessageToDict(outcome.answer) == {
        "details": {
            "sequence": "4",
            "creationDate": "2026-05-10T12:00:00Z",
            "changeDate": "2026-05-10T12:02:00Z",
            "resourceOwner": "org1",
        }
    }


REFUSED: dict[str, tuple[str, dict[str, Any], str, dict[str, str], int, str]] = {
    "no such user": (
        *("UpdateHumanPhone", {"userId": "eve", "phone": NEW}, "admin", {}),
        *(9, "COMMAND-3M0fs"),
    ),
    "another organization": (
        *("UpdateHumanPhone", {"userId": "ada", "phone": NEW}, "admin", {"x-zitadel-orgid": "org2"}),
        *(5, "AUTHZ-cdgFk"),
    ),
    "no permission": ("UpdateHumanPhone", {"userId": "ada", "phone": NEW}, "viewer", {}, 7, "AUTH-5mWD2"),
    "an unknown token": ("GetMyPhone", {}, "x", {}, 16, "AUTH-7fs1e"),
    "a field's rule": ("UpdateHumanPhone", {"userId": "ada"}, "admin", {}, 3, ""),
    "what the domain refuses": ("SetMyPhone", {"phone": "+4912"}, "ada", {}, 3, "PHONE-so0wa"),
    "too soon": ("ResendMyPhoneVerification", {}, "ada", {}, 8, "HU-CodeAskedTooSoon"),
    "a code for who may not have it": (
        *("SetPhone", {"userId": "ada", "phone": NEW, "returnCode": {}}, "ada", {}),
        *(5, "AUTHZ-cdgFk"),
    ),
    "a user that v2 does not find": ("RemovePhone", {"userId": "eve"}, "admin", {}, 5, "COMMAND-ieJ2e"),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_every_wire_tells_the_same_refusal(wires: dict[str, Wire], refused: str) -> None:
    name, fields, token, headers, code, error_id = REFUSED[refused]

    outcomes = {wire: made(way, name, fields, token, **headers) for wire, way in wires.items()}

    assert list(outcomes) == list(WIRES)
    first = outcomes["REST"]
    assert all(outcome == first for outcome in outcomes.values())
    assert (first.code, [one["id"] for one in first.details if "id" in one]) == (code, [error_id] if error_id else [])
