"""Outcomes of calls: gRPC's codes, their HTTP statuses, and the error that carries them."""

from __future__ import annotations

from datetime import timedelta
from enum import IntEnum


class Code(IntEnum):
    """The codes of ``google.rpc.Code`` that this API answers with."""

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
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
