"""Every public value and every error survives pickle and copies as it is."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from pydantic import BaseModel

import humanuser
import humanuser_adapters
import humanuser_projections
from humanuser import (
    CodeFormat,
    CommandIdReused,
    HumanUser,
    LimitReached,
    PhoneNumber,
    Policy,
    Recorded,
    Sms,
    TextInvalid,
    UnreadableEvent,
    VerificationCode,
)
from humanuser.testing import AT, histories, legal_histories
from humanuser_adapters.api.status import CallError, Code
from humanuser_adapters.rebuild import RebuildSuperseded
from humanuser_adapters.replay.check import Problem
from humanuser_adapters.replay.importer import ChangedMeanwhile, ImportRefused
from humanuser_adapters.subscription import ConsumerFailed
from humanuser_projections import explain, past_commands, user_as_of, user_details, user_phone, what_if

Copy = Callable[[Any], Any]  # any value


def pickled(protocol: int, value: Any) -> Any:  # as above
    return pickle.loads(pickle.dumps(value, protocol))


COPIES: dict[str, Copy] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle protocol {one}": partial(pickled, one) for one in range(2, pickle.HIGHEST_PROTOCOL + 1)},
}
SECONDS = timedelta(seconds=3)
ERRORS: list[BaseException] = [
    LimitReached(SECONDS),
    *(kind(SECONDS) for kind in LimitReached.__subclasses__()),
    CommandIdReused("ada"),
    TextInvalid.named("User name", 200),
    UnreadableEvent(7, "corrupt"),
    CallError(Code.NOT_FOUND, "User could not be found", "COMMAND-3M0fs", retry_after=SECONDS),
    ImportRefused("a.csv", [Problem(7, "a gap", None)], 2),
    ChangedMeanwhile("a.csv"),
    ConsumerFailed("users", 7, ValueError("corrupt")),
    RebuildSuperseded(),
]


def modules() -> Iterator[Any]:
    for package in (humanuser, humanuser_projections, humanuser_adapters):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                yield importlib.import_module(module.name)


def error_classes() -> list[type[BaseException]]:
    found = {
        thing
        for module in modules()
        for thing in vars(module).values()
        if inspect.isclass(thing) and issubclass(thing, BaseException) and thing.__module__.startswith("humanuser")
    }
    return sorted(found, key=lambda one: (one.__module__, one.__qualname__))


def content(error: BaseException) -> object:
    return type(error), str(error), repr(error), error.args, vars(error)


@pytest.fixture(params=COPIES)
def copied(request: pytest.FixtureRequest) -> Copy:
    return COPIES[request.param]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_copied_as_it_is(copied: Copy, error: BaseException) -> None:
    assert content(copied(error)) == content(error)


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__qualname__)
def test_every_kind_of_error_is_copied_as_it_is(copied: Copy, kind: type[BaseException]) -> None:
    parameters = inspect.signature(kind.__init__).parameters.values()
    needed = [one for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD and one.default is one.empty][1:]
    if any(kind is type(error) for error in ERRORS) or kind.__name__.startswith("_"):
        return
    assert not needed, "an example belongs into ERRORS"

    error = kind("what went wrong") if not issubclass(kind, LimitReached) else kind()

    assert content(copied(error)) == content(error)


@pytest.mark.parametrize("copies", COPIES.values(), ids=COPIES)
@given(history=histories(max_size=6) | legal_histories(max_commands=4))
def test_events_users_and_read_models_are_copied_as_they_are(copies: Copy, history: list[Recorded]) -> None:
    user = HumanUser.replay(history)
    policy = Policy.recommended()
    values = [
        *(history, user, policy, user_as_of(history), explain(history, now=AT), list(what_if(history, policy))),
        *(user_details(None, one) for one in history),
        *(user_phone(None, one) for one in history),
    ]

    for value in values:
        assert copies(value) == value
        assert type(copies(value)) is type(value)


@pytest.mark.parametrize("copies", COPIES.values(), ids=COPIES)
@given(history=legal_histories(max_commands=4))
def test_past_commands_are_copied_and_decide_the_same(copies: Copy, history: list[Recorded]) -> None:
    for command in past_commands(history):
        copied = copies(command)

        assert copied.recorded == command.recorded
        assert copied.answer(command.before, Policy.zitadel()) == command.answer(command.before, Policy.zitadel())


def test_a_secret_is_copied_and_stays_hidden(copied: Copy) -> None:
    code = VerificationCode("123456")
    sms = Sms(message_id="1", to=PhoneNumber("+41791234567"), text="123456", expires_at=None, code=code)

    assert copied(code).matches(code)
    assert copied(sms) == sms
    assert "123456" not in repr(copied(sms))


def test_public_choices_and_models_are_copied(copied: Copy) -> None:
    public = [getattr(package, name) for package in (humanuser, humanuser_projections) for name in package.__all__]
    choices = [one for kind in public if inspect.isclass(kind) and issubclass(kind, Enum) for one in kind]
    models = [
        kind()
        for kind in public
        if inspect.isclass(kind)
        and issubclass(kind, BaseModel)
        and not any(one.is_required() for one in kind.model_fields.values())
    ]

    assert CodeFormat() in models
    assert all(copied(choice) is choice for choice in choices)
    assert all(copied(model) == model for model in models)


def test_the_time_of_an_event_is_in_utc() -> None:
    elsewhere = timezone(timedelta(hours=-7))
    given_values: dict[str, Any] = {  # Any: of several types
        "instance_id": "1", "user_id": "ada", "sequence": 1, "creator": "a", "resource_owner": "o",
        "event": humanuser.PhoneVerified(),
    }  # fmt: skip

    recorded = Recorded(created_at=datetime(2026, 1, 1, tzinfo=elsewhere), **given_values)

    assert (recorded.created_at.tzinfo, recorded.created_at.hour) == (UTC, 7)
    with pytest.raises(ValueError, match="no time zone"):
        Recorded(created_at=datetime(2026, 1, 1), **given_values)  # noqa: DTZ001 - that is the point
