"""The methods of the API in one table: their names, their paths, and who may call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from humanuser_adapters.api.messages import (
    AddHumanUserRequest,
    AddHumanUserResponse,
    DetailsResponse,
    GetHumanPhoneRequest,
    GetMyPhoneRequest,
    Message,
    PhoneResponse,
    RemoveHumanPhoneRequest,
    RemoveMyPhoneRequest,
    ResendHumanPhoneVerificationRequest,
    ResendMyPhoneVerificationRequest,
    SetMyPhoneRequest,
    UpdateHumanPhoneRequest,
    VerifyMyPhoneRequest,
)
from humanuser_adapters.api.service import PhoneService

MANAGEMENT = "zitadel.management.v1.ManagementService"
AUTH = "zitadel.auth.v1.AuthService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method."""

    service: str
    name: str
    verb: str
    path: str
    summary: str
    request: type[Message]
    response: type[Message]
    handle: Callable[[PhoneService, Any, Any], Message]  # Any: each takes its own request
    permission: str | None = None
    """Needed in the organization that the call is about; None: the call is about the caller, who needs none."""

    @property
    def on_oneself(self) -> bool:
        """Whether the caller is the user in question."""
        return self.permission is None


METHODS = (
    Method(
        service=MANAGEMENT,
        name="AddHumanUser",
        verb="POST",
        path="/management/v1/users/human",
        summary="Add a user; an unverified phone gets an SMS with a code.",
        request=AddHumanUserRequest,
        response=AddHumanUserResponse,
        handle=PhoneService.add_human_user,
        permission="user.write",
    ),
    Method(
        service=MANAGEMENT,
        name="GetHumanPhone",
        verb="GET",
        path="/management/v1/users/{user_id}/phone",
        summary="The phone of a user.",
        request=GetHumanPhoneRequest,
        response=PhoneResponse,
        handle=PhoneService.get_human_phone,
        permission="user.read",
    ),
    Method(
        service=MANAGEMENT,
        name="UpdateHumanPhone",
        verb="PUT",
        path="/management/v1/users/{user_id}/phone",
        summary="Change the phone of a user; unless it is set verified, it gets an SMS with a code.",
        request=UpdateHumanPhoneRequest,
        response=DetailsResponse,
        handle=PhoneService.update_human_phone,
        permission="user.write",
    ),
    Method(
        service=MANAGEMENT,
        name="RemoveHumanPhone",
        verb="DELETE",
        path="/management/v1/users/{user_id}/phone",
        summary="Remove the phone of a user.",
        request=RemoveHumanPhoneRequest,
        response=DetailsResponse,
        handle=PhoneService.remove_human_phone,
        permission="user.write",
    ),
    Method(
        service=MANAGEMENT,
        name="ResendHumanPhoneVerification",
        verb="POST",
        path="/management/v1/users/{user_id}/phone/_resend_verification",
        summary="Send a user a new code; older ones are worth nothing from now on.",
        request=ResendHumanPhoneVerificationRequest,
        response=DetailsResponse,
        handle=PhoneService.resend_human_phone_verification,
        permission="user.write",
    ),
    Method(
        service=AUTH,
        name="GetMyPhone",
        verb="GET",
        path="/auth/v1/users/me/phone",
        summary="The caller's phone.",
        request=GetMyPhoneRequest,
        response=PhoneResponse,
        handle=PhoneService.get_my_phone,
    ),
    Method(
        service=AUTH,
        name="SetMyPhone",
        verb="PUT",
        path="/auth/v1/users/me/phone",
        summary="Change the caller's phone; it gets an SMS with a code.",
        request=SetMyPhoneRequest,
        response=DetailsResponse,
        handle=PhoneService.set_my_phone,
    ),
    Method(
        service=AUTH,
        name="VerifyMyPhone",
        verb="POST",
        path="/auth/v1/users/me/phone/_verify",
        summary="Prove the caller's phone with the code from the SMS.",
        request=VerifyMyPhoneRequest,
        response=DetailsResponse,
        handle=PhoneService.verify_my_phone,
    ),
    Method(
        service=AUTH,
        name="ResendMyPhoneVerification",
        verb="POST",
        path="/auth/v1/users/me/phone/_resend_verification",
        summary="Send the caller a new code; older ones are worth nothing from now on.",
        request=ResendMyPhoneVerificationRequest,
        response=DetailsResponse,
        handle=PhoneService.resend_my_phone_verification,
    ),
    Method(
        service=AUTH,
        name="RemoveMyPhone",
        verb="DELETE",
        path="/auth/v1/users/me/phone",
        summary="Remove the caller's phone.",
        request=RemoveMyPhoneRequest,
        response=DetailsResponse,
        handle=PhoneService.remove_my_phone,
    ),
)
