"""The one table from (command, refusal) to code and id. ZITADEL's ids where it has them, ours begin with ``HU-``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from humanuser import (
    CodeAskedTooSoon,
    CodeEmpty,
    CodeInvalid,
    CodeNotFound,
    CodeNotPending,
    CodeSuperseded,
    CodeUsedUp,
    CommandIdReused,
    DomainError,
    LimitReached,
    PhoneAlreadyVerified,
    PhoneEmpty,
    PhoneInvalid,
    PhoneNotChanged,
    PhoneNotFound,
    TextInvalid,
    TooManyCodes,
    TooManyFailures,
    TooMuchContention,
    UserAlreadyExists,
    UserIdMissing,
    UserNotFound,
    UserNotInitialised,
)
from humanuser_adapters.api.status import CallError, Code


class Answer(NamedTuple):
    """How a refusal is told."""

    code: Code
    id: str


_ANY_COMMAND: Mapping[type[DomainError], Answer] = {
    TextInvalid: Answer(Code.INVALID_ARGUMENT, "HU-TextInvalid"),
    CommandIdReused: Answer(Code.ALREADY_EXISTS, "HU-CommandIdReused"),
    TooMuchContention: Answer(Code.ABORTED, "HU-TooMuchContention"),
}
_TOO_MANY_CODES = Answer(Code.RESOURCE_EXHAUSTED, "HU-TooManyCodes")
_CODE_ASKED_TOO_SOON = Answer(Code.RESOURCE_EXHAUSTED, "HU-CodeAskedTooSoon")
_CODE_USED_UP = Answer(Code.RESOURCE_EXHAUSTED, "HU-CodeUsedUp")
_V2_USER_ID_MISSING = Answer(Code.INVALID_ARGUMENT, "COMMAND-xP292j")
_V2_NOT_FOUND = Answer(Code.NOT_FOUND, "COMMAND-ieJ2e")
_V2_NOT_INITIALISED = Answer(Code.FAILED_PRECONDITION, "COMMAND-uz0Uu")
_TOO_MANY_FAILURES = Answer(Code.RESOURCE_EXHAUSTED, "HU-TooManyFailures")

REFUSALS: Mapping[str, Mapping[type[DomainError], Answer]] = {
    "add_human_user": {
        **_ANY_COMMAND,
        UserIdMissing: Answer(Code.INVALID_ARGUMENT, "HU-UserIdMissing"),
        PhoneEmpty: Answer(Code.INVALID_ARGUMENT, "PHONE-Zt0NV"),
        PhoneInvalid: Answer(Code.INVALID_ARGUMENT, "PHONE-so0wa"),
        UserAlreadyExists: Answer(Code.ALREADY_EXISTS, "HU-UserAlreadyExists"),
    },
    "change_phone": {
        **_ANY_COMMAND,
        TooManyFailures: _TOO_MANY_FAILURES,
        TooManyCodes: _TOO_MANY_CODES,
        PhoneEmpty: Answer(Code.INVALID_ARGUMENT, "PHONE-Zt0NV"),
        PhoneInvalid: Answer(Code.INVALID_ARGUMENT, "PHONE-so0wa"),
        UserIdMissing: Answer(Code.INVALID_ARGUMENT, "HU-UserIdMissing"),
        UserNotFound: Answer(Code.FAILED_PRECONDITION, "COMMAND-3M0fs"),
        PhoneNotChanged: Answer(Code.FAILED_PRECONDITION, "COMMAND-wF94r"),
    },
    "verify_phone": {
        **_ANY_COMMAND,
        TooManyFailures: _TOO_MANY_FAILURES,
        UserIdMissing: Answer(Code.INVALID_ARGUMENT, "COMMAND-Km9ds"),
        CodeEmpty: Answer(Code.INVALID_ARGUMENT, "COMMAND-wMe9f"),
        UserNotFound: Answer(Code.FAILED_PRECONDITION, "COMMAND-Rsj8c"),
        CodeNotFound: Answer(Code.NOT_FOUND, "COMMAND-Rsj8c"),
        CodeUsedUp: _CODE_USED_UP,
        CodeInvalid: Answer(Code.INVALID_ARGUMENT, "COMMAND-sM0cs"),
    },
    "add_phone_code": {
        **_ANY_COMMAND,
        TooManyFailures: _TOO_MANY_FAILURES,
        TooManyCodes: _TOO_MANY_CODES,
        CodeAskedTooSoon: _CODE_ASKED_TOO_SOON,
        UserIdMissing: Answer(Code.INVALID_ARGUMENT, "COMMAND-4M0ds"),
        UserNotFound: Answer(Code.FAILED_PRECONDITION, "COMMAND-2M0fs"),
        PhoneNotFound: Answer(Code.NOT_FOUND, "COMMAND-2b7Hf"),
        PhoneAlreadyVerified: Answer(Code.FAILED_PRECONDITION, "COMMAND-2M9sf"),
    },
    "record_code_sent": {
        **_ANY_COMMAND,
        UserIdMissing: Answer(Code.INVALID_ARGUMENT, "COMMAND-3m9Fs"),
        UserNotFound: Answer(Code.FAILED_PRECONDITION, "COMMAND-3M9fs"),
        PhoneNotFound: Answer(Code.NOT_FOUND, "COMMAND-66n8J"),
        CodeSuperseded: Answer(Code.FAILED_PRECONDITION, "HU-CodeSuperseded"),
    },
    "remove_phone": {
        **_ANY_COMMAND,
        UserIdMissing: Answer(Code.INVALID_ARGUMENT, "COMMAND-6M0ds"),
        UserNotFound: Answer(Code.FAILED_PRECONDITION, "COMMAND-3M9fs"),
        PhoneNotFound: Answer(Code.NOT_FOUND, "COMMAND-p6rsc"),
    },
    "set_phone": {
        **_ANY_COMMAND,
        TooManyFailures: _TOO_MANY_FAILURES,
        TooManyCodes: _TOO_MANY_CODES,
        UserIdMissing: _V2_USER_ID_MISSING,
        UserNotFound: _V2_NOT_FOUND,
        UserNotInitialised: _V2_NOT_INITIALISED,
        PhoneEmpty: Answer(Code.INVALID_ARGUMENT, "PHONE-Zt0NV"),
        PhoneInvalid: Answer(Code.INVALID_ARGUMENT, "PHONE-so0wa"),
        PhoneNotChanged: Answer(Code.FAILED_PRECONDITION, "COMMAND-Uch5e"),
    },
    "resend_phone_code": {
        **_ANY_COMMAND,
        TooManyFailures: _TOO_MANY_FAILURES,
        TooManyCodes: _TOO_MANY_CODES,
        CodeAskedTooSoon: _CODE_ASKED_TOO_SOON,
        UserIdMissing: _V2_USER_ID_MISSING,
        UserNotFound: _V2_NOT_FOUND,
        UserNotInitialised: _V2_NOT_INITIALISED,
        CodeNotPending: Answer(Code.FAILED_PRECONDITION, "PHONE-5xrra88eq8"),
    },
    "verify_user_phone": {
        **_ANY_COMMAND,
        TooManyFailures: _TOO_MANY_FAILURES,
        UserIdMissing: _V2_USER_ID_MISSING,
        UserNotFound: _V2_NOT_FOUND,
        UserNotInitialised: _V2_NOT_INITIALISED,
        CodeEmpty: Answer(Code.INVALID_ARGUMENT, "COMMAND-Fia4a"),
        CodeNotFound: Answer(Code.INVALID_ARGUMENT, "COMMAND-eis9R"),
        CodeUsedUp: _CODE_USED_UP,
        CodeInvalid: Answer(Code.INVALID_ARGUMENT, "COMMAND-eis9R"),
    },
    "remove_user_phone": {
        **_ANY_COMMAND,
        UserIdMissing: _V2_USER_ID_MISSING,
        UserNotFound: _V2_NOT_FOUND,
        UserNotInitialised: _V2_NOT_INITIALISED,
        PhoneNotFound: Answer(Code.FAILED_PRECONDITION, "COMMAND-ieJ2e"),
    },
}
"""By the command's name in ``Commands``; a refusal without a row of its own is told like the kind that it is."""


def call_error(command: str, refusal: DomainError) -> CallError:
    """How the API tells that *command* was refused."""
    answers = REFUSALS[command]
    answer = next((answers[kind] for kind in type(refusal).__mro__ if kind in answers), None)
    if answer is None:
        return CallError(Code.UNKNOWN, str(refusal))
    retry_after = refusal.retry_after if isinstance(refusal, LimitReached) else None
    return CallError(answer.code, str(refusal), answer.id, retry_after=retry_after)
