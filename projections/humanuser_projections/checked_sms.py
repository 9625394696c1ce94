"""The border to a host's SMS sender: whatever it does becomes an outcome."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Coroutine, Generator
from dataclasses import replace
from datetime import timedelta

from humanuser import Accepted, Misconfigured, Permanent, Retryable, Sms, SmsOutcome, SmsSender, Unknown

LONGEST_TEXT = 300
"""Characters of a reason or a provider's id that are kept."""
LONGEST_WAIT = timedelta(days=1)
"""A sender that asks for more is asked again after this."""
HIDDEN = "the sender's reason is hidden: it contains the number or the code"

_LAST_DIGITS = 7
"""Of a number, however it is written: with or without its country code."""


class CheckedSms:
    """Calls *sender*, and returns an outcome whatever it does.

    A returned value that is no outcome, and an exception, become ``Unknown`` with the name of the type only, because
    their text may contain the number and the code. Reasons are kept to one short line without either.
    Raises ``TypeError`` if *sender* cannot be called as an ``SmsSender``.
    """

    def __init__(self, sender: SmsSender) -> None:
        _require_sender(sender)
        self._sender = sender

    def send(self, sms: Sms) -> SmsOutcome:
        try:
            returned = self._sender.send(sms)
        except Exception as error:  # noqa: BLE001 - it is the host's code
            return Unknown(_text(f"the sender raised {_type_name(error)}", sms))
        return _outcome(returned, sms)

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:
        try:
            returned = self._sender.look_up(sms)
        except Exception as error:  # noqa: BLE001 - it is the host's code
            return Unknown(_text(f"the sender's look_up raised {_type_name(error)}", sms))
        if returned is None:
            return None
        outcome = _outcome(returned, sms)
        if isinstance(outcome, Accepted | Unknown):
            return outcome
        return Unknown(_text(f"the sender's look_up returned {_type_name(returned)}", sms))


def checked_report(outcome: Accepted | Permanent) -> Accepted | Permanent:
    """*outcome* as it may be stored. Raises ``TypeError`` if it is neither ``Accepted`` nor ``Permanent``."""
    match outcome:
        case Accepted(provider_id=str() as provider_id):
            return Accepted(_line(provider_id))
        case Permanent(reason=str() as reason):
            return Permanent(_LONG_NUMBER.sub("...", _line(reason)))
        case _:
            raise TypeError(f"a report must be Accepted or Permanent with a text, not {_type_name(outcome)}")


_LONG_NUMBER = re.compile(r"\+?\d(?:[ ().-]?\d){5,}")


def _outcome(returned: object, sms: Sms) -> SmsOutcome:
    """*returned*, if it is an outcome with fields of the right types."""
    if isinstance(returned, Coroutine | Generator):
        with contextlib.suppress(Exception):
            returned.close()  # or Python warns that nobody awaited it
    try:
        if isinstance(returned, Accepted):
            return _accepted(returned, sms)
        if isinstance(returned, Retryable | Permanent | Misconfigured | Unknown) and isinstance(returned.reason, str):
            return _refused(returned, sms)
    except Exception:  # noqa: BLE001, S110 - a subclass of the host's can do anything
        pass
    return Unknown(_text(f"the sender returned {_type_name(returned)}", sms))


def _accepted(accepted: Accepted, sms: Sms) -> Accepted:
    """The provider has the SMS: it must not be sent again, however odd its id is."""
    provider_id: object = accepted.provider_id
    shown = _line(provider_id) if isinstance(provider_id, str) and not _tells(provider_id, sms) else ""
    return accepted if shown == provider_id else Accepted(shown)


def _refused(outcome: Retryable | Permanent | Misconfigured | Unknown, sms: Sms) -> SmsOutcome:
    reason = _text(outcome.reason, sms)
    if not isinstance(outcome, Retryable):
        return outcome if reason == outcome.reason else replace(outcome, reason=reason)
    wait: object = outcome.retry_after
    if not isinstance(wait, timedelta | None):
        return Unknown(f"the sender returned Retryable with a retry_after of type {_type_name(wait)}")
    bounded = None if wait is None else min(max(wait, timedelta(0)), LONGEST_WAIT)
    if (reason, bounded) == (outcome.reason, wait):
        return outcome
    return replace(outcome, reason=reason, retry_after=bounded)


def _text(text: str, sms: Sms) -> str:
    """*text* on one line, or a fixed text if it tells a secret of *sms*."""
    return HIDDEN if _tells(text, sms) else _line(text)


def _line(text: str) -> str:
    """Printable characters only: databases refuse NUL and lone surrogates, and a line break forges a line of a log."""
    return "".join(character if character.isprintable() else " " for character in text[:LONGEST_TEXT])


def _tells(text: str, sms: Sms) -> bool:
    """Whether *text* contains the number or the code, with whatever is written between their characters."""
    secrets = (_bare(sms.to.e164)[-_LAST_DIGITS:], _bare(sms.code.characters) if sms.code else "")
    bare = _bare(text)
    return any(secret and secret in bare for secret in secrets)


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


def _type_name(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _require_sender(sender: object) -> None:
    """Find mistakes while the program starts, and not with the first SMS. Raises ``TypeError``."""
    if isinstance(sender, type):
        raise TypeError(f"the SMS sender must be an instance, not the class {sender.__name__}")
    for name in ("send", "look_up"):
        method = getattr(sender, name, None)
        whose = f"{type(sender).__name__}.{name}"
        if not callable(method):
            raise TypeError(f"the SMS sender has no method {whose}(sms)")
        if _is_asynchronous(method) or _is_asynchronous(getattr(method, "__call__", None)):  # noqa: B004 - its code
            raise TypeError(f"{whose} must be a plain method: senders are called in threads, without an event loop")
        if not _takes_one_argument(method):
            raise TypeError(f"{whose} must take one argument, the SMS")


def _is_asynchronous(method: object) -> bool:
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    return any(is_kind(method) for is_kind in kinds)


def _takes_one_argument(method: object) -> bool:
    try:
        signature = inspect.signature(method)  # type: ignore[arg-type]  # it is callable
    except (TypeError, ValueError):  # it has none that Python knows
        return True
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True
