"""One function for each method of the API, whatever wire it comes over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from humanuser import LONGEST_TEXT, CommandIdReused, Commands, Details, DomainError, HumanUserAdded
from humanuser_adapters.api.call import Call
from humanuser_adapters.api.protos.auth_pb2 import (
    GetMyPhoneRequest,
    GetMyPhoneResponse,
    RemoveMyPhoneRequest,
    RemoveMyPhoneResponse,
    ResendMyPhoneVerificationRequest,
    ResendMyPhoneVerificationResponse,
    SetMyPhoneRequest,
    SetMyPhoneResponse,
    VerifyMyPhoneRequest,
    VerifyMyPhoneResponse,
)
from humanuser_adapters.api.protos.management_pb2 import (
    AddHumanUserRequest,
    AddHumanUserResponse,
    GetHumanPhoneRequest,
    GetHumanPhoneResponse,
    RemoveHumanPhoneRequest,
    RemoveHumanPhoneResponse,
    ResendHumanPhoneVerificationRequest,
    ResendHumanPhoneVerificationResponse,
    UpdateHumanPhoneRequest,
    UpdateHumanPhoneResponse,
)
from humanuser_adapters.api.protos.object_pb2 import ObjectDetails
from humanuser_adapters.api.protos.object_v2_pb2 import Details as DetailsV2
from humanuser_adapters.api.protos.user_pb2 import Phone
from humanuser_adapters.api.protos.user_v2_pb2 import (
    RemovePhoneRequest,
    RemovePhoneResponse,
    ResendPhoneCodeRequest,
    ResendPhoneCodeResponse,
    SetPhoneRequest,
    SetPhoneResponse,
    VerifyPhoneRequest,
    VerifyPhoneResponse,
)
from humanuser_adapters.api.refusals import call_error
from humanuser_adapters.api.status import CallError, Code
from humanuser_projections import UserPhone

FindUser = Callable[[str], tuple[Details, UserPhone] | None]
"""The user of an id, as of all that is stored when it is called."""


class PhoneService:
    """The methods. All raise ``CallError`` when a call is refused."""

    def __init__(self, commands: Commands, find_user: FindUser, new_user_id: Callable[[], str]) -> None:
        self._commands = commands
        self._find_user = find_user
        self._new_user_id = new_user_id

    # zitadel.management.v1.ManagementService

    def add_human_user(self, call: Call, request: AddHumanUserRequest) -> AddHumanUserResponse:
        """Add a user to the organization."""
        with _told("add_human_user"):
            try:
                return self._add(self._new_user_id(), call, request)
            except CommandIdReused as repeated:
                return self._add(repeated.user_id, call, request)

    def get_human_phone(self, call: Call, request: GetHumanPhoneRequest) -> GetHumanPhoneResponse:
        """Get a user's phone."""
        details, phone = self._found(call, request.user_id)
        return GetHumanPhoneResponse(details=details, phone=phone)

    def update_human_phone(self, call: Call, request: UpdateHumanPhoneRequest) -> UpdateHumanPhoneResponse:
        """Change a user's phone; if it is not marked verified, the user gets an SMS with a code."""
        verified = request.is_phone_verified
        return UpdateHumanPhoneResponse(details=self._change(call, request.user_id, request.phone, verified=verified))

    def remove_human_phone(self, call: Call, request: RemoveHumanPhoneRequest) -> RemoveHumanPhoneResponse:
        """Remove a user's phone."""
        return RemoveHumanPhoneResponse(details=self._remove(call, request.user_id))

    def resend_human_phone_verification(
        self, call: Call, request: ResendHumanPhoneVerificationRequest
    ) -> ResendHumanPhoneVerificationResponse:
        """Send the user a new code; older ones are worth nothing from now on."""
        return ResendHumanPhoneVerificationResponse(details=self._resend(call, request.user_id))

    # zitadel.auth.v1.AuthService

    def get_my_phone(self, call: Call, _: GetMyPhoneRequest) -> GetMyPhoneResponse:
        """Get the caller's phone."""
        details, phone = self._found(call, call.caller.user_id)
        return GetMyPhoneResponse(details=details, phone=phone)

    def set_my_phone(self, call: Call, request: SetMyPhoneRequest) -> SetMyPhoneResponse:
        """Change the caller's phone; the caller gets an SMS with a code."""
        return SetMyPhoneResponse(details=self._change(call, call.caller.user_id, request.phone))

    def verify_my_phone(self, call: Call, request: VerifyMyPhoneRequest) -> VerifyMyPhoneResponse:
        """Prove the caller's phone with the code from the SMS."""
        with _told("verify_phone"):
            details = self._commands.verify_phone(call.caller.user_id, request.code, by=call.by)
        return VerifyMyPhoneResponse(details=_details(details))

    def resend_my_phone_verification(
        self, call: Call, _: ResendMyPhoneVerificationRequest
    ) -> ResendMyPhoneVerificationResponse:
        """Send the caller a new code; older ones are worth nothing from now on."""
        return ResendMyPhoneVerificationResponse(details=self._resend(call, call.caller.user_id))

    def remove_my_phone(self, call: Call, _: RemoveMyPhoneRequest) -> RemoveMyPhoneResponse:
        """Remove the caller's phone."""
        return RemoveMyPhoneResponse(details=self._remove(call, call.caller.user_id))

    # zitadel.user.v2.UserService

    def set_phone(self, call: Call, request: SetPhoneRequest) -> SetPhoneResponse:
        """Change a user's phone; unless it is vouched for, a code is sent by SMS, or returned."""
        with _told("set_phone"):
            done = self._commands.set_phone(
                request.user_id,
                request.phone,
                verified=request.is_verified,
                return_code=request.HasField("return_code"),
                by=call.by_anywhere,
                permit=call.permit,
            )
        code = done.code.characters if done.code else None
        return SetPhoneResponse(details=_details_v2(done.details), verification_code=code)

    def remove_phone(self, call: Call, request: RemovePhoneRequest) -> RemovePhoneResponse:
        """Remove a user's phone."""
        with _told("remove_user_phone"):
            details = self._commands.remove_user_phone(request.user_id, by=call.by_anywhere, permit=call.permit)
        return RemovePhoneResponse(details=_details_v2(details))

    def resend_phone_code(self, call: Call, request: ResendPhoneCodeRequest) -> ResendPhoneCodeResponse:
        """Replace the pending code by a new one, which is sent by SMS, or returned."""
        with _told("resend_phone_code"):
            done = self._commands.resend_phone_code(
                request.user_id,
                return_code=request.HasField("return_code"),
                by=call.by_anywhere,
                permit=call.permit,
            )
        code = done.code.characters if done.code else None
        return ResendPhoneCodeResponse(details=_details_v2(done.details), verification_code=code)

    def verify_phone(self, call: Call, request: VerifyPhoneRequest) -> VerifyPhoneResponse:
        """Prove a user's phone with its code."""
        with _told("verify_user_phone"):
            details = self._commands.verify_user_phone(
                request.user_id, request.verification_code, by=call.by_anywhere, permit=call.permit
            )
        return VerifyPhoneResponse(details=_details_v2(details))

    def _add(self, user_id: str, call: Call, request: AddHumanUserRequest) -> AddHumanUserResponse:
        phone = request.phone
        details = self._commands.add_human_user(
            user_id, _profile(request), phone=phone.phone, verified=phone.is_phone_verified, by=call.by
        )
        return AddHumanUserResponse(user_id=user_id, details=_details(details))

    def _found(self, call: Call, user_id: str) -> tuple[ObjectDetails, Phone]:
        found = self._find_user(user_id)
        if found is None or found[0].resource_owner != call.organization:
            raise CallError(Code.NOT_FOUND, "User could not be found", "QUERY-DAvb3")
        details, phone = found
        number = phone.phone.e164 if phone.phone else ""
        return _details(details), Phone(phone=number, is_phone_verified=phone.verified)

    def _change(self, call: Call, user_id: str, phone: str, *, verified: bool = False) -> ObjectDetails:
        with _told("change_phone"):
            return _details(self._commands.change_phone(user_id, phone, verified=verified, by=call.by))

    def _remove(self, call: Call, user_id: str) -> ObjectDetails:
        with _told("remove_phone"):
            return _details(self._commands.remove_phone(user_id, by=call.by))

    def _resend(self, call: Call, user_id: str) -> ObjectDetails:
        with _told("add_phone_code"):
            return _details(self._commands.add_phone_code(user_id, by=call.by))


@contextmanager
def _told(command: str) -> Iterator[None]:
    try:
        yield
    except DomainError as refusal:
        raise call_error(command, refusal) from refusal


def _profile(request: AddHumanUserRequest) -> HumanUserAdded:
    """What is to be stored of a new user, but for the phone."""
    profile = request.profile
    return HumanUserAdded(
        user_name=request.user_name,
        first_name=profile.first_name,
        last_name=profile.last_name,
        nick_name=profile.nick_name,
        display_name=profile.display_name or f"{profile.first_name} {profile.last_name}"[:LONGEST_TEXT],
        preferred_language=profile.preferred_language or "und",
        gender=profile.gender,
        email=request.email.email,
    )


def _details(details: Details) -> ObjectDetails:
    return ObjectDetails(
        sequence=details.sequence,
        creation_date=details.creation_date,
        change_date=details.change_date,
        resource_owner=details.resource_owner,
    )


def _details_v2(details: Details) -> DetailsV2:
    return DetailsV2(
        sequence=details.sequence,
        creation_date=details.creation_date,
        change_date=details.change_date,
        resource_owner=details.resource_owner,
    )
