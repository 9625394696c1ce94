"""The methods of the API in one table, as the ``.proto`` files describe them: names, paths, and who may call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.api.annotations_pb2 import http
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from humanuser_adapters.api.protos import auth_pb2, management_pb2, user_v2_pb2
from humanuser_adapters.api.protos.rules_pb2 import permission

_VERBS = ("get", "put", "post", "delete")


SUMMARIES = {
    "add_human_user": "Add a user to the organization.",
    "get_human_phone": "Get a user's phone.",
    "update_human_phone": "Change a user's phone; if it is not marked verified, the user gets an SMS with a code.",
    "remove_human_phone": "Remove a user's phone.",
    "resend_human_phone_verification": "Send the user a new code; older ones are worth nothing from now on.",
    "get_my_phone": "Get the caller's phone.",
    "set_my_phone": "Change the caller's phone; the caller gets an SMS with a code.",
    "verify_my_phone": "Prove the caller's phone with the code from the SMS.",
    "resend_my_phone_verification": "Send the caller a new code; older ones are worth nothing from now on.",
    "remove_my_phone": "Remove the caller's phone.",
    "set_phone": "Change a user's phone; unless it is vouched for, a code is sent by SMS, or returned.",
    "remove_phone": "Remove a user's phone.",
    "resend_phone_code": "Replace the pending code by a new one, which is sent by SMS, or returned.",
    "verify_phone": "Prove a user's phone with its code.",
}
"""What each function of ``PhoneService`` does, for the OpenAPI document; docstrings may be stripped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method."""

    service: str
    name: str
    verb: str
    path: str
    """Of REST, with the names of fields in braces."""
    request: type[Message]
    response: type[Message]
    function: str
    """The function of ``PhoneService`` that takes the call and the request, and answers."""
    permission: str = ""
    """What the caller needs in the organization; empty: to be known, and what the method itself asks for."""

    @property
    def rpc_path(self) -> str:
        """Of gRPC, gRPC-Web and Connect."""
        return f"/{self.service}/{self.name}"

    @property
    def summary(self) -> str:
        """What it does, in one sentence."""
        return SUMMARIES[self.function]


def _methods_of(file: Any) -> Iterator[Method]:  # Any: the library has two classes of each descriptor
    for service in file.services_by_name.values():
        for method in service.methods:
            yield _method(method)


def _method(method: Any) -> Method:  # as above
    options = method.GetOptions()
    rule = options.Extensions[http]
    verb = next(verb for verb in _VERBS if getattr(rule, verb))
    return Method(
        service=method.containing_service.full_name,
        name=method.name,
        verb=verb.upper(),
        path=getattr(rule, verb),
        request=GetMessageClass(method.input_type),
        response=GetMessageClass(method.output_type),
        function=_function_name(method.name),
        permission=options.Extensions[permission],
    )


def _function_name(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


METHODS = tuple(
    method
    for file in (management_pb2.DESCRIPTOR, auth_pb2.DESCRIPTOR, user_v2_pb2.DESCRIPTOR)
    for method in _methods_of(file)
)
