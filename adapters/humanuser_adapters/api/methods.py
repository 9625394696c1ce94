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
from humanuser_adapters.api.service import PhoneService

_VERBS = ("get", "put", "post", "delete")


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
        return (getattr(PhoneService, self.function).__doc__ or "").partition("\n")[0]


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
