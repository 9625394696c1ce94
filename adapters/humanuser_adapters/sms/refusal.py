"""What the status of an answer means for an SMS, where the provider says no more."""

from __future__ import annotations

from datetime import datetime

from humanuser import Misconfigured, Permanent, Retryable
from humanuser_adapters.sms.endpoint import Answer
from humanuser_adapters.sms.retry_after import read_retry_after


def refusal(answer: Answer, reason: str, now: datetime) -> Retryable | Permanent | Misconfigured:
    """The outcome of an *answer* that is no success.

    A redirect is misconfigured and is not followed: the text holds a code, and would go to an address that nobody
    chose. An operator who sees it sets the new address.
    """
    match answer.status:
        case 401 | 403:
            return Misconfigured(reason)
        case 408 | 425 | 429:
            return Retryable(reason, read_retry_after(answer.retry_after, now))
        case status if status >= 500:  # noqa: PLR2004 - as the protocol has it
            return Retryable(reason, read_retry_after(answer.retry_after, now))
        case status if status >= 400:  # noqa: PLR2004
            return Permanent(reason)
        case _:
            return Misconfigured(reason)
