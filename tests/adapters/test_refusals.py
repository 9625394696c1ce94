"""The table of refusals has a row for everything that a command can refuse, and for nothing else."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import ModuleType

import pytest

import humanuser
from humanuser import (
    CodeAskedTooSoon,
    CodeEmpty,
    CodeInvalid,
    CodeNotFound,
    CodeNotPending,
    CodeSuperseded,
    CodeUsedUp,
    CommandIdReused,
    Commands,
    DomainError,
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
    commands,
    human_user,
    phone_number,
)
from humanuser_adapters.api import Code
from humanuser_adapters.api.refusals import REFUSALS, call_error

COMMANDS = [name for name, _ in inspect.getmembers(Commands, inspect.isfunction) if not name.startswith("_")]

Functions = Mapping[str, list[ast.FunctionDef]]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_has_a_row_for_each_refusal_and_no_other(command: str) -> None:
    functions = _functions(commands, human_user, phone_number)

    assert set(REFUSALS[command]) == {_told_as(kind) for kind in _refusals(command, functions)}


def test_the_table_is_about_commands() -> None:
    assert set(REFUSALS) == set(COMMANDS)


ZITADEL = [
    ("change_phone", PhoneEmpty, Code.INVALID_ARGUMENT, "Phone is empty (PHONE-Zt0NV)"),
    ("change_phone", PhoneInvalid, Code.INVALID_ARGUMENT, "Phone is invalid (PHONE-so0wa)"),
    ("change_phone", UserNotFound, Code.FAILED_PRECONDITION, "User could not be found (COMMAND-3M0fs)"),
    ("change_phone", PhoneNotChanged, Code.FAILED_PRECONDITION, "Phone not changed (COMMAND-wF94r)"),
    ("verify_phone", UserIdMissing, Code.INVALID_ARGUMENT, "User ID missing (COMMAND-Km9ds)"),
    ("verify_phone", CodeEmpty, Code.INVALID_ARGUMENT, "Code is empty (COMMAND-wMe9f)"),
    ("verify_phone", UserNotFound, Code.FAILED_PRECONDITION, "User could not be found (COMMAND-Rsj8c)"),
    ("verify_phone", CodeNotFound, Code.NOT_FOUND, "Code not found (COMMAND-Rsj8c)"),
    ("verify_phone", CodeInvalid, Code.INVALID_ARGUMENT, "Code is invalid (COMMAND-sM0cs)"),
    ("add_phone_code", UserIdMissing, Code.INVALID_ARGUMENT, "User ID missing (COMMAND-4M0ds)"),
    ("add_phone_code", UserNotFound, Code.FAILED_PRECONDITION, "User could not be found (COMMAND-2M0fs)"),
    ("add_phone_code", PhoneNotFound, Code.NOT_FOUND, "Phone not found (COMMAND-2b7Hf)"),
    ("add_phone_code", PhoneAlreadyVerified, Code.FAILED_PRECONDITION, "Phone already verified (COMMAND-2M9sf)"),
    ("record_code_sent", UserIdMissing, Code.INVALID_ARGUMENT, "User ID missing (COMMAND-3m9Fs)"),
    ("record_code_sent", UserNotFound, Code.FAILED_PRECONDITION, "User could not be found (COMMAND-3M9fs)"),
    ("record_code_sent", PhoneNotFound, Code.NOT_FOUND, "Phone not found (COMMAND-66n8J)"),
    ("remove_phone", UserIdMissing, Code.INVALID_ARGUMENT, "User ID missing (COMMAND-6M0ds)"),
    ("remove_phone", UserNotFound, Code.FAILED_PRECONDITION, "User could not be found (COMMAND-3M9fs)"),
    ("remove_phone", PhoneNotFound, Code.NOT_FOUND, "Phone not found (COMMAND-p6rsc)"),
    *[
        row
        for command in ("set_phone", "resend_phone_code", "verify_user_phone", "remove_user_phone")
        for row in (
            (command, UserIdMissing, Code.INVALID_ARGUMENT, "User ID missing (COMMAND-xP292j)"),
            (command, UserNotFound, Code.NOT_FOUND, "User could not be found (COMMAND-ieJ2e)"),
            (command, UserNotInitialised, Code.FAILED_PRECONDITION, "User is not yet initialized (COMMAND-uz0Uu)"),
        )
    ],
    ("set_phone", PhoneNotChanged, Code.FAILED_PRECONDITION, "Phone not changed (COMMAND-Uch5e)"),
    ("resend_phone_code", CodeNotPending, Code.FAILED_PRECONDITION, "Code is empty (PHONE-5xrra88eq8)"),
    ("verify_user_phone", CodeEmpty, Code.INVALID_ARGUMENT, "Code is empty (COMMAND-Fia4a)"),
    ("verify_user_phone", CodeNotFound, Code.INVALID_ARGUMENT, "Code not found (COMMAND-eis9R)"),
    ("verify_user_phone", CodeInvalid, Code.INVALID_ARGUMENT, "Code is invalid (COMMAND-eis9R)"),
    ("remove_user_phone", PhoneNotFound, Code.FAILED_PRECONDITION, "Phone not found (COMMAND-ieJ2e)"),
]


@pytest.mark.parametrize(("command", "refusal", "code", "message"), ZITADEL)
def test_what_zitadel_refuses_is_told_in_its_words(
    command: str, refusal: type[DomainError], code: Code, message: str
) -> None:
    error = call_error(command, refusal())

    assert (error.code, str(error)) == (code, message)


OURS = {
    CodeAskedTooSoon: Code.RESOURCE_EXHAUSTED,
    CodeUsedUp: Code.RESOURCE_EXHAUSTED,
    TooManyCodes: Code.RESOURCE_EXHAUSTED,
    TooManyFailures: Code.RESOURCE_EXHAUSTED,
    CodeSuperseded: Code.FAILED_PRECONDITION,
    CommandIdReused: Code.ALREADY_EXISTS,
    UserAlreadyExists: Code.ALREADY_EXISTS,
    TextInvalid: Code.INVALID_ARGUMENT,
    TooMuchContention: Code.ABORTED,
    UserIdMissing: Code.INVALID_ARGUMENT,
}


def test_what_zitadel_does_not_know_has_an_id_of_ours_that_is_named_after_it() -> None:
    known = {(command, refusal) for command, refusal, _, _ in ZITADEL}

    for command, answers in REFUSALS.items():
        for refusal, answer in answers.items():
            if (command, refusal) not in known and refusal not in (PhoneEmpty, PhoneInvalid):
                assert answer == (OURS[refusal], f"HU-{refusal.__name__}"), command


def test_a_phone_is_told_alike_wherever_it_is_refused() -> None:
    for refusal in (PhoneEmpty, PhoneInvalid):
        assert REFUSALS["add_human_user"][refusal] == REFUSALS["change_phone"][refusal]


@pytest.mark.parametrize("kind", PhoneInvalid.__subclasses__())
def test_a_kind_of_invalid_phone_has_its_own_words_and_the_common_id(kind: type[DomainError]) -> None:
    error = call_error("change_phone", kind())

    assert str(error) == f"{kind.message} (PHONE-so0wa)"


def test_how_long_to_wait_is_told() -> None:
    error = call_error("add_phone_code", CodeAskedTooSoon(timedelta(seconds=50)))

    assert error.retry_after == timedelta(seconds=50)


def _functions(*modules: ModuleType) -> Functions:
    """All functions and methods by name. One name is one meaning, so it does not matter whose it is."""
    functions = defaultdict(list)
    for module in modules:
        body = ast.parse(inspect.getsource(module)).body
        methods = [node for part in body if isinstance(part, ast.ClassDef) for node in part.body]
        for node in (*body, *methods):
            if isinstance(node, ast.FunctionDef):
                functions[node.name].append(node)
    return functions


def _refusals(command: str, functions: Functions) -> set[type[DomainError]]:
    """What *command*, and all that it calls, can raise."""
    found: set[type[DomainError]] = set()
    reached: set[str] = set()
    ahead = {command}
    while ahead:
        name = ahead.pop()
        reached.add(name)
        for function in functions.get(name, ()):
            found.update(_raised(function))
            ahead |= _called(function) - reached
    return found


def _raised(function: ast.FunctionDef) -> Iterator[type[DomainError]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Raise):
            kind = getattr(humanuser, _first_name(node.exc), None)
            if isinstance(kind, type) and issubclass(kind, DomainError):
                yield kind


def _first_name(node: ast.expr | None) -> str:
    """``X`` of ``X``, ``X(...)`` and ``X.named(...)``."""
    match node:
        case ast.Call(func=inner) | ast.Attribute(value=inner):
            return _first_name(inner)
        case ast.Name(id=name):
            return name
        case _:
            return ""


def _called(function: ast.FunctionDef) -> set[str]:
    """The last names of all that *function* calls: ``verify_phone`` of ``user.verify_phone(...)``."""
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    return names | {call.attr for call in calls if isinstance(call, ast.Attribute)}


def _told_as(kind: type[DomainError]) -> type[DomainError]:
    return PhoneInvalid if issubclass(kind, PhoneInvalid) else kind
