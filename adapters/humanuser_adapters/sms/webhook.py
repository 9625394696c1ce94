"""SMS through a receiver of one's own: a signed POST of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from humanuser import Accepted, Clock, Misconfigured, Permanent, Retryable, Sms, SmsOutcome
from humanuser_adapters.sms.circuit_breaker import Pause, Paused
from humanuser_adapters.sms.endpoint import Answer, Endpoint, Exchange, NotAllowed, NotAnswered, NotWritten
from humanuser_adapters.sms.refusal import refusal
from humanuser_adapters.sms.standard_webhook import StandardWebhook
from humanuser_adapters.sms.zitadel_webhook import ZitadelWebhook

GONE = 410
WRONG_SET_UP = {402, 404, 405, 406, 407, 410, 411, 415, 421, 426, 428, 431, 505, 511}
"""Statuses about the receiver and the way to it (unpaid, moved, another method, a proxy), and not about one SMS."""
LONGEST_BODY = 20_000
"""Bytes that every receiver takes, says Standard Webhooks."""


class WebhookStyle(StrEnum):
    """Whose body and signature a receiver expects."""

    STANDARD = "standard"
    ZITADEL = "zitadel"


class WebhookSms:
    """Posts each SMS to *endpoint*, signed with each of the *keys*.

    The id of an SMS is the same on every attempt, and a receiver that takes no id twice makes repetition safe. So
    silence is retryable here, not unknown: a code that never comes does more harm than one that comes twice. A
    receiver that says it is gone (410) is left alone for half a minute; then one SMS tries whether it is back.
    Raises ``ValueError`` for a bad key or none.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        keys: Sequence[str],
        clock: Clock,
        *,
        style: WebhookStyle | str = WebhookStyle.STANDARD,
    ) -> None:
        if not keys:
            raise ValueError("a webhook needs a key")
        form = StandardWebhook if WebhookStyle(style) is WebhookStyle.STANDARD else ZitadelWebhook
        self._form = form(keys)
        self._endpoint = endpoint
        self._clock = clock
        self._gone = Pause(clock)

    def send(self, sms: Sms) -> SmsOutcome:
        if wait := self._gone.wait():
            return Paused("the webhook is gone", wait)
        body = self._form.body(sms)
        if len(body) > LONGEST_BODY:
            return Permanent("the text is too long for a webhook")
        headers = {"Content-Type": "application/json", **self._form.headers(sms, body, self._clock())}
        exchange = self._endpoint.exchange("POST", headers, body)
        if isinstance(exchange, Answer) and exchange.status == GONE:
            self._gone.begin()
        elif isinstance(exchange, Answer):
            self._gone.end()
        return self._outcome(exchange)

    def look_up(self, sms: Sms) -> None:  # noqa: ARG002 - the port's shape
        """A webhook cannot be asked; to post the same id again does no harm."""
        return

    def _outcome(self, exchange: Exchange) -> SmsOutcome:
        match exchange:
            case NotAllowed(reason):
                return Misconfigured(f"the webhook cannot be called: {reason}")
            case NotWritten(reason):
                return Retryable(f"the webhook cannot be reached: {reason}")
            case NotAnswered(reason):
                return Retryable(f"the webhook did not answer: {reason}")
            case Answer(is_success=True):
                return Accepted()
            case Answer(status=status):
                reason = f"the webhook answered {status}"
                return Misconfigured(reason) if status in WRONG_SET_UP else refusal(exchange, reason, self._clock())
