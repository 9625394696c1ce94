"""One function for each method of the API, whatever wire it comes over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from humanuser import By, Caller, CommandIdReused, Commands, Details, DomainError
from humanuser_adapters.api.messages import (
    AddHumanUserRequest,
    AddHumanUserResponse,
    DetailsResponse,
    GetHumanPhoneRequest,
    GetMyPhoneRequest,
    ObjectDetails,
    PhoneResponse,
    RemoveHumanPhoneRequest,
    RemoveMyPhoneRequest,
    ResendHumanPhoneVerificationRequest,
    ResendMyPhoneVerificationRequest,
    SetMyPhoneRequest,
    ShownPhone,
    UpdateHumanPhoneRequest,
    VerifyMyPhoneRequest,
)
from humanuser_adapters.api.refusals import call_error
from humanuser_adapters.api.status import CallError, Code
from humanuser_projections import UserPhone

FindUser = Callable[[str], tuple[Details, UserPhone] | None]
"""The user of an id, as of all that is stored when it is called."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call, apart from its request."""

    caller: Caller
    organization: str
    """The one that the call is about: of the header, or the caller's own."""
    command_id: str | None = None

    @property
    def by(self) -> By:
        """Who is to be recorded as the one who asked."""
        return By(self.caller.user_id, organization=self.organization, command_id=self.command_id)


class PhoneService:
    """The methods. All raise ``CallError`` when a call is refused."""

    def __init__(self, commands: Commands, find_user: FindUser, new_user_id: Callable[[], str]) -> None:
        self._commands = commands
        self._find_user = find_user
        self._new_user_id = new_user_id

    def add_human_user(self, call: Call, request: AddHumanUserRequest) -> AddHumanUserResponse:
        with _told("add_human_user"):
            try:
                return self._add(self._new_user_id(), call, request)
            except CommandIdReused as repeated:
                return self._add(repeated.user_id, call, request)

    def get_human_phone(self, call: Call, request: GetHumanPhoneRequest) -> PhoneResponse:
        return self._phone_of(call, request.user_id)

    def update_human_phone(self, call: Call, request: UpdateHumanPhoneRequest) -> DetailsResponse:
        return self._change(call, request.user_id, request.phone, verified=request.is_phone_verified)

    def remove_human_phone(self, call: Call, request: RemoveHumanPhoneRequest) -> DetailsResponse:
        return self._remove(call, request.user_id)

    def resend_human_phone_verification(
        self, call: Call, request: ResendHumanPhoneVerificationRequest
    ) -> DetailsResponse:
        return self._resend(call, request.user_id)

    def get_my_phone(self, call: Call, _: GetMyPhoneRequest) -> PhoneResponse:
        return self._phone_of(call, call.caller.user_id)

    def set_my_phone(self, call: Call, request: SetMyPhoneRequest) -> DetailsResponse:
        return self._change(call, call.caller.user_id, request.phone)

    def verify_my_phone(self, call: Call, request: VerifyMyPhoneRequest) -> DetailsResponse:
        with _told("verify_phone"):
            return _answer(self._commands.verify_phone(call.caller.user_id, request.code, by=call.by))

    def resend_my_phone_verification(self, call: Call, _: ResendMyPhoneVerificationRequest) -> DetailsResponse:
        return self._resend(call, call.caller.user_id)

    def remove_my_phone(self, call: Call, _: RemoveMyPhoneRequest) -> DetailsResponse:
        return self._remove(call, call.caller.user_id)

    def _add(self, user_id: str, call: Call, request: AddHumanUserRequest) -> AddHumanUserResponse:
        phone = request.phone
        details = self._commands.add_human_user(
            user_id,
            request.to_event(),
            phone=phone.phone if phone else "",
            verified=bool(phone and phone.is_phone_verified),
            by=call.by,
        )
        return AddHumanUserResponse(user_id=user_id, details=ObjectDetails.of(details))

    def _phone_of(self, call: Call, user_id: str) -> PhoneResponse:
        found = self._find_user(user_id)
        if found is None or found[0].resource_owner != call.organization:
            raise CallError(Code.NOT_FOUND, "User could not be found", "QUERY-DAvb3")
        details, phone = found
        return PhoneResponse(details=ObjectDetails.of(details), phone=ShownPhone.of(phone))

    def _change(self, call: Call, user_id: str, phone: str, *, verified: bool = False) -> DetailsResponse:
        with _told("change_phone"):
            return _answer(self._commands.change_phone(user_id, phone, verified=verified, by=call.by))

    def _remove(self, call: Call, user_id: str) -> DetailsResponse:
        with _told("remove_phone"):
            return _answer(self._commands.remove_phone(user_id, by=call.by))

    def _resend(self, call: Call, user_id: str) -> DetailsResponse:
        with _told("add_phone_code"):
            return _answer(self._commands.add_phone_code(user_id, by=call.by))


@contextmanager
def _told(command: str) -> Iterator[None]:
    try:
        yield
    except DomainError as refusal:
        raise call_error(command, refusal) from refusal


def _answer(details: Details) -> DetailsResponse:
    return DetailsResponse(details=ObjectDetails.of(details))
