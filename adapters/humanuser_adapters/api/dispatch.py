"""Answers calls, whatever wire they come over: who calls, may they, are the fields in order, and then the method."""

from __future__ import annotations

import time
from asyncio import timeout, wait, wrap_future
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from humanuser import Authenticator, Caller, CodeUnreadable, StoreUnavailable, UnreadableEvent
from humanuser_adapters.api.access import authenticate, authorize
from humanuser_adapters.api.json_coding import decode, encode
from humanuser_adapters.api.methods import Method
from humanuser_adapters.api.rules import refuse_broken_rules
from humanuser_adapters.api.service import PhoneService
from humanuser_adapters.api.status import CallError, Code
from humanuser_adapters.log_fields import log_of, note

log = log_of(__name__)

Answer = TypeVar("Answer")
Headers = Mapping[str, str]
"""By name in lower case; of those that come twice the first one."""

LARGEST_OF_STRANGERS = 64 * 1024
"""Bytes of a body that is decoded before it is known who calls; the largest that the methods need is a few thousand."""
THREADS = 40
"""Calls that are answered at once; others wait for their turn."""
LONGEST_WAIT_SECONDS = 1.0
"""For that turn. Where the database is away, a call that begins then is answered before two seconds are over."""


class Dispatcher:
    """Answers calls of the methods of *service*."""

    def __init__(self, service: PhoneService, authenticator: Authenticator) -> None:
        self._service = service
        self._authenticator = authenticator
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api-call")

    async def run(self, method: Method, work: Callable[[], Answer], *, seconds: float | None = None) -> Answer:
        """What *work* gives, which runs in a thread, within *seconds*; *work* calls ``answer`` or ``answer_bytes``.

        The log tells how it ended. Raises ``CallError``: DeadlineExceeded if that takes longer; what *work* does
        meanwhile, it does all the same. Unavailable if no thread takes it up in ``LONGEST_WAIT_SECONDS``; nothing is
        done then, nor if it is given up before.
        """
        if seconds is not None and seconds <= 0:
            raise CallError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
        in_context = partial(copy_context().run, _logged, method, work)
        call = self._threads.submit(in_context)
        answer = wrap_future(call)
        try:
            async with timeout(seconds):
                await wait([answer], timeout=LONGEST_WAIT_SECONDS)
                if call.cancel():  # which what has begun does not let happen
                    raise _not_begun(method)
                return await answer
        except TimeoutError:
            raise CallError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from None
        finally:
            call.cancel()  # at once; the loop would come to it when this call is answered already
            answer.cancel()

    def answer(self, method: Method, headers: Headers, request: Message) -> Message:
        """The answer to *request*. Raises ``CallError``, and nothing else."""
        with _failures_told(method):
            caller = self._caller(headers)
            organization, command_key = headers.get("x-zitadel-orgid"), headers.get("idempotency-key")
            call = authorize(caller, method, organization=organization, command_key=command_key)
            refuse_broken_rules(request)
            note(user_id=getattr(request, "user_id", caller.user_id))
            answer: Message = getattr(self._service, method.function)(call, request)
        return answer

    def answer_json(self, method: Method, headers: Headers, body: bytes, **fields: str) -> bytes:
        """The same with JSON on both sides; *fields* win over the body's."""
        self.refuse_strangers(method, headers, body)
        return encode(self.answer(method, headers, decode(body, method.request, **fields)))

    def answer_bytes(self, method: Method, headers: Headers, request: bytes) -> bytes:
        """The same with protobuf's bytes on both sides."""
        try:
            message = method.request.FromString(request)
        except DecodeError:
            raise CallError(Code.INVALID_ARGUMENT, f"malformed request: no {method.request.__name__}") from None
        return self.answer(method, headers, message).SerializeToString()

    def refuse_strangers(self, method: Method, headers: Headers, body: bytes) -> None:
        """Raise ``CallError`` if *body* is larger than any that makes sense, and it is not known whose it is.

        What is wrong with a body is told before who may send it, so all of it is read; not that of strangers.
        """
        if len(body) > LARGEST_OF_STRANGERS:
            with _failures_told(method):
                self._caller(headers)

    def _caller(self, headers: Headers) -> Caller:
        caller = authenticate(self._authenticator, headers.get("authorization"))
        note(caller_id=caller.user_id)
        return caller


@contextmanager
def _failures_told(method: Method) -> Iterator[None]:
    """Have every failure be a ``CallError``, and the log say what a caller is not told."""
    try:
        yield
    except CallError:
        raise
    except StoreUnavailable as error:
        raise _failed(method, error, Code.UNAVAILABLE, "The store is not available now") from error
    except UnreadableEvent as error:
        raise _failed(method, error, Code.DATA_LOSS, "The history of this user cannot be read") from error
    except CodeUnreadable as error:
        raise _failed(
            method, error, Code.FAILED_PRECONDITION, "Code can no longer be read, ask for a new one"
        ) from error
    except Exception as error:
        log.exception("%s", method.name)
        raise CallError(Code.INTERNAL, "An internal error occurred") from error


def _logged(method: Method, work: Callable[[], Answer]) -> Answer:
    """What *work* gives; a line of the log says how that ended."""
    begin = time.perf_counter()
    outcome = Code.INTERNAL.name
    try:
        answer = work()
        outcome = "OK"
    except CallError as error:
        outcome = error.code.name
        raise
    finally:
        seconds = round(time.perf_counter() - begin, 6)
        fields = {"method": method.name, "outcome": outcome, "seconds": seconds}
        log.info("%s: %s in %.6f s", method.name, outcome, seconds, extra=fields)
    return answer


def _not_begun(method: Method) -> CallError:
    log.error("%s: all threads were at work for %s s", method.name, LONGEST_WAIT_SECONDS)
    return CallError(Code.UNAVAILABLE, "Too many calls wait, nothing was done")


def _failed(method: Method, error: Exception, code: Code, text: str) -> CallError:
    log.error("%s: %s", method.name, error)
    return CallError(code, text)
