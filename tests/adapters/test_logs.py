"""What the log says of a request and of a user, and how its lines are written."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import json_format

from fakes import Callers, FakeClock, eventually
from humanuser import Accepted, By, Caller, HumanUserAdded, Sms
from humanuser_adapters.api import PhoneService
from humanuser_adapters.application import Application
from humanuser_adapters.auth import permissions_of
from humanuser_adapters.log_fields import about, fields, log_of, note
from humanuser_adapters.log_formats import JsonLines, TextLines
from humanuser_adapters.telemetry import MeasuredSms
from humanuser_adapters.vault import AesGcmVault
from wires import BY_NAME, Connect, Grpc, GrpcWeb, Rest, Wire, every_wire, served

PHONE, OTHER = "+41791234567", "+41791234568"
ADMIN = By("admin", organization="org1")
CALLERS = Callers(admin=Caller("admin", "org1", permissions_of(["ORG_OWNER"], "org1")), ada=Caller("ada", "org1"))
WIRES = ("REST", "gRPC", "gRPC-Web", "gRPC-Web, bare", "gRPC-Web, text", "Connect, JSON", "Connect, proto")


@pytest.fixture
def wires(application: Application, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> Iterator[dict[str, Wire]]:
    """Every wire of a server, and its log from then on."""
    application.commands.add_human_user("ada", HumanUserAdded(user_name="ada"), phone=PHONE, by=ADMIN)
    clock.advance(minutes=2)
    service = PhoneService(application.commands, application.find_user, application.new_user_id)
    with served(service, CALLERS) as address, every_wire(address) as wires:
        caplog.set_level(logging.INFO, "humanuser_adapters")
        caplog.clear()
        yield wires


def made(wire: Wire, name: str, fields: dict[str, str], token: str, **headers: str) -> str | None:
    """Make a call; the request id of its answer."""
    given = {"authorization": f"Bearer {token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    wire.call(BY_NAME[name], json_format.ParseDict(fields, BY_NAME[name].request()), given)
    assert isinstance(wire, Rest | Connect | GrpcWeb | Grpc)
    return wire.request_id


def records(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    """The first word of each record of the server, and its fields."""
    names = ("request_id", "caller_id", "user_id", "outcome")
    return [
        (one.getMessage().partition(":")[0], {name: getattr(one, name, None) for name in names})
        for one in caplog.records
    ]


@pytest.mark.parametrize("name", WIRES)
def test_the_log_names_the_request_the_caller_and_the_user(
    wires: dict[str, Wire], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    answered = made(
        wires[name], "UpdateHumanPhone", {"userId": "ada", "phone": OTHER}, "admin", x_request_id="from-a-proxy/1"
    )

    about_all = {"request_id": "from-a-proxy/1", "caller_id": "admin", "user_id": "ada"}
    assert answered == "from-a-proxy/1"
    assert records(caplog) == [
        ("change_phone", {**about_all, "outcome": "done"}),
        ("UpdateHumanPhone", {**about_all, "outcome": "OK"}),
    ]


@pytest.mark.parametrize("name", WIRES)
def test_a_refused_call_has_its_request_id_as_well(
    wires: dict[str, Wire], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    answered = made(wires[name], "VerifyMyPhone", {"code": "000000"}, "ada", x_request_id="a")

    about_all = {"request_id": "a", "caller_id": "ada", "user_id": "ada"}
    assert answered == "a"
    assert records(caplog) == [
        ("verify_phone", {**about_all, "outcome": "refused"}),
        ("VerifyMyPhone", {**about_all, "outcome": "INVALID_ARGUMENT"}),
    ]


@pytest.mark.parametrize("name", WIRES)
def test_who_is_not_known_calls_under_a_request_id(
    wires: dict[str, Wire], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    answered = made(wires[name], "GetMyPhone", {}, "nobody", x_request_id="a")

    assert answered == "a"
    assert records(caplog) == [
        ("GetMyPhone", {"request_id": "a", "caller_id": None, "user_id": None, "outcome": "UNAUTHENTICATED"})
    ]


@pytest.mark.parametrize("given", [{}, {"x_request_id": "two words"}, {"x_request_id": "x" * 129}])
@pytest.mark.parametrize("name", WIRES)
def test_without_a_request_id_that_fits_one_is_made_for_each_call(
    wires: dict[str, Wire], name: str, given: dict[str, str]
) -> None:
    seen = [made(wires[name], "GetMyPhone", {}, "ada", **given) or "" for _ in range(2)]

    assert len(set(seen)) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in seen)


def test_what_is_sent_in_the_background_is_about_its_user(
    application: Application, tmp_path: Path, vault: AesGcmVault, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Sender:
        def send(self, _: Sms) -> Accepted:
            return Accepted()

        def look_up(self, _: Sms) -> None:
            return None

    caplog.set_level(logging.INFO, "humanuser_adapters")
    application.commands.add_human_user("ada", HumanUserAdded(user_name="ada"), phone=PHONE, by=ADMIN)
    with Application(tmp_path / "test.sqlite", vault, sender=MeasuredSms(Sender(), "mine"), clock=clock) as sending:
        sending.start()
        assert eventually(lambda: "is sent" in caplog.text)
        (message_id,) = [one.notification.message_id for one in sending.deliveries()]

    sent = [one for one in caplog.records if getattr(one, "message_id", None) == message_id]
    assert {getattr(one, "user_id", None) for one in sent} == {"ada"}
    assert [one.getMessage().partition(" ")[0] for one in sent] == ["send_sms", "record_code_sent:", "SMS"]


def test_fields_hold_for_a_block_and_what_is_in_it(caplog: pytest.LogCaptureFixture) -> None:
    log = log_of("humanuser_adapters.test")
    with about(request_id="a"):
        with about(user_id="ada"):
            log.warning("one", extra={"outcome": "done"})
        log.warning("two")
        note(user_id="bob")
        log.warning("three")
    log.warning("four")

    names = ("request_id", "user_id", "outcome")
    assert [[getattr(one, name, None) for name in names] for one in caplog.records] == [
        ["a", "ada", "done"],
        ["a", None, None],
        ["a", "bob", None],
        [None, None, None],
    ]
    assert fields() == {}


def a_record(message: str, **more: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"msg": message, "levelname": "INFO", "name": "humanuser_adapters.x", "created": 0, **more}
    )


def test_a_line_of_json_has_our_fields_and_no_others() -> None:
    line = JsonLines().format(a_record("it's\ndone", user_id="ada", seconds=0.5, color_message="secret"))

    assert "\n" not in line
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "INFO",
        "logger": "humanuser_adapters.x",
        "message": "it's\ndone",
        "user_id": "ada",
        "seconds": 0.5,
    }


def test_a_line_of_json_holds_the_traceback() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018 - it must fail

    line = JsonLines().format(a_record("failed", exc_info=(caught.type, caught.value, caught.tb)))

    assert json.loads(line)["exception"].startswith("Traceback")
    assert json.loads(line)["exception"].endswith("ZeroDivisionError: division by zero")


def test_a_line_of_text_ends_with_whom_it_is_about() -> None:
    line = TextLines().format(a_record("done", request_id="a-1", user_id="ada", seconds=0.5))

    assert line.endswith(" INFO humanuser_adapters.x: done request_id=a-1 user_id=ada")


@pytest.mark.parametrize("user_id", ["ada\n1970-01-01 INFO x: forged", "ada caller_id=root", "\x1b[2J"])
def test_no_user_id_makes_another_line_or_another_field(user_id: str) -> None:
    line = TextLines().format(a_record("done", user_id=user_id))

    assert line.endswith(f"done user_id={json.dumps(user_id)}")
    assert line.isprintable()
