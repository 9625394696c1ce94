"""Outcomes of calls: gRPC's codes, their HTTP statuses, and the error that carries them."""

from __future__ import annotations

import copyreg
import math
from datetime import timedelta
from enum import IntEnum
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from humanuser_adapters.api.protos.object_pb2 import ErrorDetail


class Code(IntEnum):
    """The codes of ``google.rpc.Code`` that this API answers with."""

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS = {
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""As grpc-gateway maps them; FailedPrecondition is 400, not 412."""


class CallError(Exception):
    """A call that ends in a ``google.rpc.Status`` other than OK.

    *error_id* becomes part of the message and makes a ``zitadel.v1.ErrorDetail``; *retry_after* makes a ``RetryInfo``.
    """

    def __init__(
        self, code: Code, text: str, error_id: str | None = None, *, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(f"{text} ({error_id})" if error_id else text)
        self.code = code
        self.text = text
        self.error_id = error_id
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:  # Any: as the pickle protocol has it
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # not in its stub

    @property
    def retry_after_seconds(self) -> int | None:
        """How long to wait before it can be better, in whole seconds; None: nobody knows, or waiting does not help."""
        return None if self.retry_after is None else max(1, math.ceil(self.retry_after.total_seconds()))

    @property
    def details(self) -> list[Message]:
        """What programs read of it."""
        details: list[Message] = []
        if self.error_id:
            details.append(ErrorDetail(id=self.error_id, message=self.text))
        if self.retry_after_seconds is not None:
            details.append(RetryInfo(retry_delay=Duration(seconds=self.retry_after_seconds)))
        return details

    @property
    def status(self) -> Status:
        """The error as it goes over every wire."""
        packed = [AnyMessage() for _ in self.details]
        for one, detail in zip(packed, self.details, strict=True):
            one.Pack(detail)
        return Status(code=self.code, message=str(self), details=packed)
