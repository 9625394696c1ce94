"""Clients for Python."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from zitadel_client import models
from zitadel_client.auth.no_auth_authenticator import NoAuthAuthenticator
from zitadel_client.exceptions import ApiError
from zitadel_client.transport_options import TransportOptions
from zitadel_client.zitadel import Zitadel

from clients.coding import call_of, outcome_of_connect_error
from clients.programs import HERE, NODE, Server, environment
from humanuser_adapters.api.methods import Method
from wires import Grpc, Outcome


class ZitadelClient:
    """ZITADEL's own package, which speaks Connect."""

    def __init__(self, server: Server) -> None:
        self._url = server.url
        self._options = TransportOptions(ca_cert_path=str(server.authority) if server.authority else None)

    def call(self, method: Method, request: Message, headers: Mapping[str, str]) -> Outcome:
        call = call_of(method, request, headers)
        kind = getattr(models, f"UserService{method.name}Request")
        with self._client(call["token"]) as client:
            function = getattr(client.users, method.function)
            try:
                answer = function(kind.from_dict(call["request"]), _headers=call["headers"])
            except ApiError as error:
                return outcome_of_connect_error(error.response_body or {})
        text = answer.model_dump_json(by_alias=True, exclude_none=True)
        return Outcome(0, answer=json_format.Parse(text, method.response()))

    def close(self) -> None:
        pass

    def _client(self, token: str) -> Zitadel:
        if token:
            return Zitadel.with_access_token(self._url, token, transport_options=self._options)
        return Zitadel(NoAuthAuthenticator(self._url))


class GrpcOfZitadel(Grpc):
    """gRPC's own library, with the messages that ZITADEL publishes in place of ours."""

    def __init__(self, server: Server) -> None:
        address = server.url.partition("://")[2]
        if server.authority is None:
            super().__init__(address)
        else:
            super().__init__(address, grpc.ssl_channel_credentials(server.authority.read_bytes()))

    def call(self, method: Method, request: Message, headers: Mapping[str, str]) -> Outcome:
        theirs = replace(method, request=_theirs(method.request), response=_theirs(method.response))
        outcome = super().call(theirs, _recoded(request, theirs.request), headers)
        return replace(outcome, answer=_recoded(outcome.answer, method.response) if outcome.answer else None)


@cache
def published() -> bytes:
    """What ZITADEL publishes about its services, as a ``FileDescriptorSet``."""
    command = [NODE, "descriptors.mjs"]
    return subprocess.run(command, cwd=HERE, env=environment(), capture_output=True, check=True).stdout


@cache
def published_pool() -> DescriptorPool:
    """The same, to look things up by their full names."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(published()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def _theirs(kind: type[Message]) -> type[Message]:
    return GetMessageClass(published_pool().FindMessageTypeByName(kind.DESCRIPTOR.full_name))


def _recoded(message: Message, kind: type[Message]) -> Message:
    return json_format.ParseDict(json_format.MessageToDict(message), kind())
