"""ZITADEL's own cases: given these events, this command stores those events or is refused so."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeClock, new_events
from humanuser import (
    By,
    CodeFormat,
    CodeOwner,
    Commands,
    Details,
    DomainError,
    Event,
    GeneratorInfo,
    HumanUser,
    HumanUserAdded,
    NotWanted,
    PhoneNumber,
    PhoneSet,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerified,
    Policy,
    Recorded,
    SealedCode,
    VerificationCode,
    parse_phone_number,
)
from humanuser.testing import AT, TransparentVault, history
from humanuser_adapters.api import CallError, Code
from humanuser_adapters.api.refusals import call_error
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore, event_of, payload_of
from humanuser_projections import UserPhone, phone_notification, user_details, user_phone

HERE = Path(__file__).parent
ROWS: list[dict[str, Any]] = json.loads((HERE / "zitadel_cases.json").read_text())
DIFFERENT = (HERE.parents[1] / "docs" / "reference" / "zitadel.md").read_text()
POLICY = Policy.zitadel()

KINDS = {
    "InvalidArgument": Code.INVALID_ARGUMENT,
    "NotFound": Code.NOT_FOUND,
    "PermissionDenied": Code.PERMISSION_DENIED,
    "PreconditionFailed": Code.FAILED_PRECONDITION,
    "Unknown": Code.UNKNOWN,
}


def title(row: dict[str, Any]) -> str:
    return f"{row['suite']}: {row['name']}"


def is_different(row: dict[str, Any]) -> bool:
    return f"| {title(row)} |" in DIFFERENT


class OpenVault(TransparentVault):
    """Holds codes as the cases write them: in base64, and nothing more."""

    def seal(self, code: VerificationCode, owner: CodeOwner) -> SealedCode:  # noqa: ARG002 - hides nothing
        return SealedCode(crypto_type=0, algorithm="enc", key_id="id", crypted=_base64(code.characters))

    def open(self, sealed: SealedCode, owner: CodeOwner) -> VerificationCode:  # noqa: ARG002 - as above
        return VerificationCode(_text(sealed.crypted))


@dataclass
class Case:
    """One row, on a store of its own."""

    row: dict[str, Any]
    store: UserEventStore = field(default_factory=lambda: UserEventStore(MemoryEventRecorder()))
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        if given := self.given():
            self.store.append(new_events("user1", given))
        self.before = len(given)
        self.commands = Commands(self.store, OpenVault(), self.clock, self.generate, policy=POLICY)

    def given(self) -> list[Event]:
        return [event_of(one["type"], json.dumps(one.get("payload") or {})) for one in self.row["given"]]

    def generate(self, _: CodeFormat) -> VerificationCode:
        return VerificationCode((self.row.get("code_generator") or {}).get("plain", "a"))

    @property
    def by(self) -> By:
        args = self.row["args"]
        organization = args.get("resource_owner", "") if "v1" in self.row["suite"] else ""
        return By(args.get("caller_user_id", "admin"), organization=organization)

    def permit(self, organization: str) -> None:
        assert organization == "org1"
        if self.row.get("permission") == "denied":
            raise CallError(Code.PERMISSION_DENIED, "No matching permissions found", "AUTHZ-HKJD33")

    def stored(self) -> list[dict[str, Any]]:
        """What the command stored, as rows tell it."""
        recorded = self.store.load("default", "user1")[self.before :]
        return [{"type": one.event.type, "payload": json.loads(payload_of(one.event) or "null")} for one in recorded]


def change_human_phone(case: Case, args: dict[str, Any]) -> Details:
    verified = args["is_phone_verified"]
    return case.commands.change_phone(args["user_id"], args["phone"], verified=verified, by=case.by)


def verify_human_phone(case: Case, args: dict[str, Any]) -> Details:
    return case.commands.verify_phone(args["user_id"], args["code"], by=case.by)


def create_human_phone_verification_code(case: Case, args: dict[str, Any]) -> Details:
    return case.commands.add_phone_code(args["user_id"], by=case.by)


def human_phone_verification_code_sent(case: Case, args: dict[str, Any]) -> Details:
    info = GeneratorInfo.model_validate(args["generator_info"] or {})
    sent = PhoneVerificationCodeSent(generator_info=info)
    return case.commands.record_code_sent(args["user_id"], sent, code_sequence=0, by=case.by)


def remove_human_phone(case: Case, args: dict[str, Any]) -> Details:
    return case.commands.remove_phone(args["user_id"], by=case.by)


def set_phone(case: Case, args: dict[str, Any], *, verified: bool = False, return_code: bool = False) -> PhoneSet:
    return case.commands.set_phone(
        args["user_id"], args["phone"], verified=verified, return_code=return_code, by=case.by, permit=case.permit
    )


def change_user_phone(case: Case, args: dict[str, Any]) -> PhoneSet:
    return set_phone(case, args, return_code=args.get("return_code", False))


def change_user_phone_return_code(case: Case, args: dict[str, Any]) -> PhoneSet:
    return set_phone(case, args, return_code=True)


def change_user_phone_verified(case: Case, args: dict[str, Any]) -> PhoneSet:
    return set_phone(case, args, verified=True)


def change_user_human(case: Case, args: dict[str, Any]) -> PhoneSet:
    phone = args["phone"]
    wanted = {**args, "phone": phone["number"]}
    return set_phone(case, wanted, verified=phone.get("verified", False), return_code=phone.get("return_code", False))


def resend_user_phone_code(case: Case, args: dict[str, Any]) -> PhoneSet:
    return case.commands.resend_phone_code(
        args["user_id"], return_code=args.get("return_code", False), by=case.by, permit=case.permit
    )


def verify_user_phone(case: Case, args: dict[str, Any]) -> Details:
    return case.commands.verify_user_phone(args["user_id"], args["code"], by=case.by, permit=case.permit)


COMMANDS: dict[str, tuple[str, Callable[[Case, dict[str, Any]], Details | PhoneSet]]] = {
    "ChangeHumanPhone": ("change_phone", change_human_phone),
    "VerifyHumanPhone": ("verify_phone", verify_human_phone),
    "CreateHumanPhoneVerificationCode": ("add_phone_code", create_human_phone_verification_code),
    "HumanPhoneVerificationCodeSent": ("record_code_sent", human_phone_verification_code_sent),
    "RemoveHumanPhone": ("remove_phone", remove_human_phone),
    "ChangeUserPhone": ("set_phone", change_user_phone),
    "changeUserPhoneWithGenerator": ("set_phone", change_user_phone),
    "ChangeUserPhoneReturnCode": ("set_phone", change_user_phone_return_code),
    "ChangeUserPhoneVerified": ("set_phone", change_user_phone_verified),
    "ChangeUserHuman": ("set_phone", change_user_human),
    "ResendUserPhoneCode": ("resend_phone_code", resend_user_phone_code),
    "resendUserPhoneCodeWithGenerator": ("resend_phone_code", resend_user_phone_code),
    "VerifyUserPhone": ("verify_user_phone", verify_user_phone),
}


def rows_of(*commands: str) -> list[Any]:
    return [pytest.param(row, id=title(row)) for row in ROWS if row["command"] in commands and not is_different(row)]


@pytest.mark.parametrize("row", rows_of(*COMMANDS))
def test_a_command_does_what_zitadels_does(row: dict[str, Any]) -> None:
    case = Case(row)
    command, carry_out = COMMANDS[row["command"]]
    answer: Details | PhoneSet | None = None

    told: CallError | None = None
    try:
        answer = carry_out(case, row["args"])
    except DomainError as refusal:
        told = call_error(command, refusal)
    except CallError as refused:
        told = refused

    assert case.stored() == row["expect_events"]
    assert (told and (told.code, told.error_id)) == _expected_error(row)
    if told is None:
        _assert_answer(case, answer, row["expect_details"] or {})


def _expected_error(row: dict[str, Any]) -> tuple[Code, str] | None:
    error = row["expect_error"]
    return error and (KINDS[error["kind"]], error["id"])


def _assert_answer(case: Case, answer: Details | PhoneSet | None, expected: dict[str, Any]) -> None:
    assert answer is not None
    user = HumanUser.replay(case.store.load("default", "user1"))
    details = answer.details if isinstance(answer, PhoneSet) else answer
    code = answer.code if isinstance(answer, PhoneSet) else None
    assert details.sequence == user.sequence
    assert details.resource_owner == expected.get("resource_owner", "org1")
    if "phone" in expected:
        phone = user.phone.e164 if user.phone else ""
        assert (phone, user.phone_verified) == (expected["phone"], expected["is_phone_verified"])
    assert (code and code.characters) == expected.get("plain_code", expected.get("phone_code"))


@pytest.mark.parametrize("row", rows_of("AddUserHuman", "ImportHuman"))
def test_a_user_with_a_phone_is_added_as_zitadel_adds_one(row: dict[str, Any]) -> None:
    phone = row["args"]["phone"]
    number = parse_phone_number(phone["number"], POLICY.phone)
    proof = PhoneVerificationCodeAdded(code_returned=phone.get("return_code", False))
    expected = [one for one in row["expect_events"] if re.match(r"user\.human\.(added|phone\.)", one["type"])]

    events = HumanUser.replay([]).add(
        HumanUserAdded(user_name="ada", phone=number), PhoneVerified() if phone.get("verified") else proof
    )

    assert [event.type for event in events] == [one["type"] for one in expected]
    assert json.loads(payload_of(events[0]))["phone"] == expected[0]["payload"]["phone"]
    returned = (expected[1]["payload"] or {}).get("code_returned", False)
    assert getattr(events[1], "code_returned", False) == returned


@pytest.mark.parametrize("row", rows_of("reduce"))
def test_a_history_adds_up_to_what_it_does_at_zitadel(row: dict[str, Any]) -> None:
    expected = row["expect_details"]

    user = HumanUser.replay(history(*Case(row).given()))

    assert user.phone == PhoneNumber(expected["phone"])
    assert user.phone_verified == expected["is_phone_verified"]
    assert user.pending_code is None
    assert user.state == expected["user_state"]


@pytest.mark.parametrize("row", rows_of("Normalize"))
def test_a_number_is_read_as_zitadel_reads_it(row: dict[str, Any]) -> None:
    told = None
    number = None
    try:
        number = parse_phone_number(row["args"]["phone"], POLICY.phone).e164
    except DomainError as refusal:
        error = call_error("change_phone", refusal)
        told = (error.code, error.error_id)

    assert told == _expected_error(row)
    assert number == (row["expect_details"] or {}).get("phone")


@pytest.mark.parametrize("row", rows_of("project"))
def test_the_read_models_follow_as_zitadels_do(row: dict[str, Any]) -> None:
    expected = row["expect_details"]
    before = history(HumanUserAdded(user_name="ada", phone=PhoneNumber("+41791234567")), PhoneVerified())
    (given,) = row["given"]
    event = _recorded_at(given["sequence"], event_of(given["type"], None))

    details = reduce(user_details, [*before, event], None)
    phone = reduce(user_phone, [*before, event], None)

    assert details is not None
    assert (details.sequence, details.change_date) == (expected["users14"]["sequence"], event.created_at)
    gone = expected["users14_humans"].get("phone", "there") is None
    number = PhoneNumber("+41791234567")
    assert phone == (UserPhone() if gone else UserPhone(number, verified=True, last_verified_phone=number))


@pytest.mark.parametrize("row", rows_of("notify", "notify(first code.added)"))
def test_no_sms_goes_out_where_zitadel_sends_none(row: dict[str, Any]) -> None:
    recorded = history(*Case(row).given())
    added = recorded[1]

    wanted = HumanUser.replay(recorded).code_to_send(added.sequence, now=_clock_of(row, added))

    assert isinstance(wanted, NotWanted)
    assert (phone_notification(added) is None) == (row["name"] == "code_returned is a no-op")


@pytest.mark.parametrize("row", rows_of("SetPhone"))
def test_a_phone_is_set_as_zitadel_sets_it(row: dict[str, Any]) -> None:
    case = _case_with_user(row)
    verification = row["args"]["verification"]

    answer = set_phone(
        case,
        {"user_id": "user1", "phone": row["args"]["phone"]},
        verified=verification == {"is_verified": True},
        return_code=verification == "return_code",
    )

    assert answer.details.sequence > 0
    assert (answer.code is not None) == ("verification_code" in row["expect_details"])


@pytest.mark.parametrize("row", rows_of("ResendPhoneCode", "VerifyPhone", "RemovePhone"))
def test_calls_end_as_zitadels_integration_tests_saw_them_end(row: dict[str, Any]) -> None:
    case = _case_with_user(row)
    args = row["args"]
    user_id = {"xxx": "nobody", "": ""}.get(args["user_id"], "user1")
    code = {"<right code>": "a"}.get(args.get("verification_code", ""), "xxx")
    by = By("third" if "caller" in args else "user1")

    def forbid(_: str) -> None:
        raise CallError(Code.PERMISSION_DENIED, "No matching permissions found", "AUTH-AWfge")

    calls: dict[str, tuple[str, Callable[[], object]]] = {
        "ResendPhoneCode": (
            "resend_phone_code",
            lambda: case.commands.resend_phone_code(user_id, by=by, permit=forbid),
        ),
        "VerifyPhone": (
            "verify_user_phone",
            lambda: case.commands.verify_user_phone(user_id, code, by=by, permit=forbid),
        ),
        "RemovePhone": (
            "remove_user_phone",
            lambda: case.commands.remove_user_phone(user_id, by=by, permit=forbid),
        ),
    }
    command, call = calls[row["command"]]
    told: CallError | None = None
    try:
        call()
    except DomainError as refusal:
        told = call_error(command, refusal)
    except CallError as refused:
        told = refused

    error = row["expect_error"]
    assert (told is None) == (error is None)
    if told is not None:
        assert error["kind"] in ("any", *(kind for kind, code in KINDS.items() if code == told.code))
        assert error["id"] in (None, told.error_id)


@pytest.mark.parametrize("row", rows_of("map"))
def test_errors_are_mapped_as_zitadel_maps_them(row: dict[str, Any]) -> None:
    error = row["args"]["error"]

    told = call_error("change_phone", DomainError(error)).code if error else None

    assert told == (row["expect_error"] and KINDS[row["expect_error"]["kind"]])


def test_every_row_is_run_or_differs_for_a_reason() -> None:
    run = {
        *COMMANDS,
        *("AddUserHuman", "ImportHuman", "reduce", "Normalize", "project", "notify", "notify(first code.added)"),
        *("SetPhone", "ResendPhoneCode", "VerifyPhone", "RemovePhone", "map"),
    }

    assert [title(row) for row in ROWS if row["command"] not in run and not is_different(row)] == []
    listed = re.findall(r"^\| ((?:v1|v2|integration|derived|query)\.[^|]*?) \| ([^|]+) \|$", DIFFERENT, re.MULTILINE)
    assert sorted(name for name, _ in listed) == sorted(title(row) for row in ROWS if is_different(row))
    assert all(len(reason.split()) > 4 for _, reason in listed)


def _case_with_user(row: dict[str, Any]) -> Case:
    case = Case(row)
    phone = PhoneNumber("+41791234560")
    sealed = OpenVault().seal(VerificationCode("a"), CodeOwner("default", "user1"))
    code: Event = PhoneVerificationCodeAdded(code=sealed, expiry=3_600_000_000_000)
    proof: Event = PhoneVerified() if "verified user" in row["args"].get("user_id", "") else code
    events: Sequence[Event] = [HumanUserAdded(user_name="ada", phone=phone), proof]
    case.store.append(new_events("user1", events))
    return case


def _recorded_at(sequence: int, event: Event) -> Recorded:
    (recorded,) = history(event, at=AT + timedelta(hours=1))
    return Recorded(
        instance_id=recorded.instance_id,
        user_id=recorded.user_id,
        sequence=sequence,
        created_at=recorded.created_at,
        creator=recorded.creator,
        resource_owner=recorded.resource_owner,
        event=event,
    )


def _clock_of(row: dict[str, Any], added: Recorded) -> datetime:
    assert isinstance(added.event, PhoneVerificationCodeAdded)
    lifetime = added.event.lifetime or timedelta(0)
    return added.created_at + (lifetime + timedelta(seconds=1) if "clock" in row["args"] else timedelta(0))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
