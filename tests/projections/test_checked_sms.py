"""Whatever a host's sender does is an outcome, and tells nobody a number or a code."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest

from humanuser import (
    Accepted,
    Misconfigured,
    Permanent,
    PhoneNumber,
    Retryable,
    Sms,
    SmsOutcome,
    Unknown,
    VerificationCode,
)
from humanuser.testing import AT
from humanuser_projections import CheckedSms, checked_report
from humanuser_projections.checked_sms import HIDDEN, LONGEST_TEXT, LONGEST_WAIT

SMS = Sms(
    message_id="message1",
    to=PhoneNumber("+41791234567"),
    text="271828 is your code",
    expires_at=AT,
    code=VerificationCode("271828"),
)


class Sender:
    """Does what it is told."""

    def __init__(self, send: Callable[[], object], look_up: Callable[[], object] = lambda: None) -> None:
        self._send = send
        self._look_up = look_up

    def send(self, _: Sms) -> Any:  # Any: whatever a host may return
        return self._send()

    def look_up(self, _: Sms) -> Any:  # as above
        return self._look_up()


class Busy(Retryable):
    """A host's own kind of outcome."""


def raising(error: BaseException) -> Callable[[], object]:
    return Mock(side_effect=error)


async def coroutine() -> Accepted:
    return Accepted()


async def async_generator() -> AsyncIterator[Accepted]:
    yield Accepted()


def generator() -> Iterator[Accepted]:
    yield Accepted()


@pytest.mark.parametrize(
    "outcome",
    [
        Accepted("id"),
        Retryable("busy", timedelta(seconds=3)),
        Retryable("busy"),
        Busy("busy"),
        Permanent("no"),
        Misconfigured("no account"),
        Unknown("no answer"),
    ],
)
def test_an_outcome_is_passed_on_as_it_is(outcome: SmsOutcome) -> None:
    assert CheckedSms(Sender(lambda: outcome)).send(SMS) is outcome


@pytest.mark.parametrize(
    "value", [None, True, "accepted", 200, {"accepted": True}, (), object(), "+41791234567 271828"]
)
def test_a_value_that_is_no_outcome_is_unknown_with_the_name_of_its_type(value: object) -> None:
    sender = CheckedSms(Sender(lambda: value, lambda: value))

    assert sender.send(SMS) == Unknown(f"the sender returned {type(value).__name__}")
    assert sender.look_up(SMS) == (None if value is None else Unknown(f"the sender returned {type(value).__name__}"))


def test_a_class_instead_of_an_outcome_is_unknown() -> None:
    assert CheckedSms(Sender(lambda: Accepted)).send(SMS) == Unknown("the sender returned the class Accepted")


@pytest.mark.parametrize(
    ("make", "name"), [(coroutine, "coroutine"), (async_generator, "async_generator"), (generator, "generator")]
)
def test_a_coroutine_is_unknown_and_python_does_not_warn_of_it(make: Callable[[], object], name: str) -> None:
    sender = CheckedSms(Sender(make, make))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcomes = [sender.send(SMS), sender.look_up(SMS)]
        gc.collect()

    assert outcomes == [Unknown(f"the sender returned {name}")] * 2


@pytest.mark.parametrize(
    "error", [ValueError("271828 to +41791234567"), TimeoutError(), AssertionError("271828"), RecursionError()]
)
def test_an_exception_is_unknown_with_the_name_of_its_type(error: Exception) -> None:
    sender = CheckedSms(Sender(raising(error), raising(error)))

    assert sender.send(SMS) == Unknown(f"the sender raised {type(error).__name__}")
    assert sender.look_up(SMS) == Unknown(f"the sender's look_up raised {type(error).__name__}")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_ends_a_process_or_a_task_is_not_caught(error: type[BaseException]) -> None:
    with pytest.raises(error):
        CheckedSms(Sender(raising(error()))).send(SMS)


@pytest.mark.parametrize("outcome", [Retryable("no"), Permanent("no"), Misconfigured("no")])
def test_a_look_up_that_says_something_else_than_it_may_is_unknown(outcome: SmsOutcome) -> None:
    sender = CheckedSms(Sender(Accepted, lambda: outcome))

    assert sender.look_up(SMS) == Unknown(f"the sender's look_up returned {type(outcome).__name__}")


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Retryable, ("busy", 5)),
        (Retryable, ("busy", "5")),
        (Retryable, (None,)),
        (Permanent, (ValueError("271828"),)),
        (Misconfigured, (b"no",)),
        (Unknown, (7,)),
    ],
)
def test_an_outcome_with_a_field_of_another_type_is_unknown(kind: Any, arguments: tuple[object, ...]) -> None:
    outcome = CheckedSms(Sender(partial(kind, *arguments))).send(SMS)

    assert isinstance(outcome, Unknown)
    assert outcome.reason.startswith(f"the sender returned {kind.__name__}")


def test_an_outcome_that_was_never_made_whole_is_unknown() -> None:
    assert isinstance(CheckedSms(Sender(lambda: object.__new__(Permanent))).send(SMS), Unknown)


@pytest.mark.parametrize("provider_id", [None, b"id", 7, object()])
def test_what_was_accepted_stays_accepted_whatever_its_id(provider_id: Any) -> None:
    assert CheckedSms(Sender(lambda: Accepted(provider_id))).send(SMS) == Accepted()


@pytest.mark.parametrize(
    ("wait", "kept"),
    [
        (timedelta(seconds=-5), timedelta(0)),
        (timedelta.min, timedelta(0)),
        (timedelta.max, LONGEST_WAIT),
        (timedelta(hours=1), timedelta(hours=1)),
    ],
)
def test_a_time_to_wait_is_between_none_and_a_day(wait: timedelta, kept: timedelta) -> None:
    assert CheckedSms(Sender(lambda: Retryable("busy", wait))).send(SMS) == Retryable("busy", kept)


@pytest.mark.parametrize(
    "text",
    [
        "+41791234567 is no number",
        "0041 79 123 45 67",
        "(079) 123-45-67",
        "tel:0791234567",
        "the code 271828",
        "2 7 1 8 2 8",
        "271-828",
        "271828 is your code",
    ],
)
def test_a_reason_with_the_number_or_the_code_is_hidden(text: str) -> None:
    sender = CheckedSms(Sender(lambda: Permanent(text), lambda: Accepted(text)))

    assert sender.send(SMS) == Permanent(HIDDEN)
    assert sender.look_up(SMS) == Accepted()


def test_a_type_that_is_named_after_a_code_is_hidden() -> None:
    error = type("Code271828", (Exception,), {})

    assert CheckedSms(Sender(raising(error()))).send(SMS) == Unknown(HIDDEN)


@pytest.mark.parametrize("bad", ["\0", "\r\n", "\x1b[31m", "\ud800", "\u2028", "\u202e"])
def test_a_text_is_one_line_of_printable_characters(bad: str) -> None:
    sender = CheckedSms(Sender(lambda: Permanent(f"a{bad}b"), lambda: Accepted(f"a{bad}b")))

    sent = sender.send(SMS)
    assert isinstance(sent, Permanent)
    assert sent.reason.isprintable()
    found = sender.look_up(SMS)
    assert isinstance(found, Accepted)
    assert found.provider_id.isprintable()


def test_a_text_is_not_longer_than_a_line_of_a_log() -> None:
    assert CheckedSms(Sender(lambda: Permanent("x" * 10_000_000))).send(SMS) == Permanent("x" * LONGEST_TEXT)


class Asynchronous:
    async def send(self, _: Sms) -> Accepted:
        return Accepted()

    def look_up(self, _: Sms) -> None:
        return None


class AsynchronousLookUp:
    def send(self, _: Sms) -> Accepted:
        return Accepted()

    async def look_up(self, _: Sms) -> None:
        return None


class AsynchronousCall:
    async def __call__(self, _: Sms) -> Accepted:
        return Accepted()


class CallableSend:
    send = AsynchronousCall()

    def look_up(self, _: Sms) -> None:
        return None


class WithoutLookUp:
    def send(self, _: Sms) -> Accepted:
        return Accepted()


class TooManyArguments:
    def send(self, number: str, text: str) -> Accepted:  # noqa: ARG002
        return Accepted()

    def look_up(self, _: Sms) -> None:
        return None


class TooFewArguments(Asynchronous):
    def send(self) -> Accepted:  # type: ignore[override]  # that is the mistake
        return Accepted()


@pytest.mark.parametrize(
    ("sender", "message"),
    [
        (Sender, "not the class Sender"),
        (WithoutLookUp(), r"no method WithoutLookUp.look_up"),
        (object(), r"no method object.send"),
        ("twilio", r"no method str.send"),
        (Mock(send=None), r"no method Mock.send"),
        (Asynchronous(), r"Asynchronous.send must be a plain method"),
        (AsynchronousLookUp(), r"AsynchronousLookUp.look_up must be a plain method"),
        (CallableSend(), r"CallableSend.send must be a plain method"),
        (Mock(send=partial(coroutine)), r"Mock.send must be a plain method"),
        (TooManyArguments(), r"TooManyArguments.send must take one argument"),
        (TooFewArguments(), r"TooFewArguments.send must take one argument"),
    ],
)
def test_a_sender_that_cannot_be_called_is_refused_at_once(sender: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        CheckedSms(sender)


@pytest.mark.parametrize(
    "sender", [Mock(), Sender(Accepted), CheckedSms(Sender(Accepted)), Mock(send=print, look_up=bool)]
)
def test_a_sender_of_any_shape_that_can_be_called_is_taken(sender: Any) -> None:
    CheckedSms(sender)


@pytest.mark.parametrize(
    "outcome",
    [None, "delivered", Accepted, Unknown("?"), Retryable("busy"), Accepted(None), Permanent(7)],  # type: ignore[arg-type]
)
def test_a_report_of_anything_else_is_refused(outcome: Any) -> None:
    with pytest.raises(TypeError, match="a report must be Accepted or Permanent"):
        checked_report(outcome)


def test_a_report_is_one_line_without_long_numbers() -> None:
    assert checked_report(Accepted("SM1\n")) == Accepted("SM1 ")
    assert checked_report(Permanent("error 30003 for +41 79 123 45 67\n271828")) == Permanent("error 30003 for ...")
