"""SMS through Twilio's Messages API."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import datetime, timedelta
from urllib.parse import urlencode

from pydantic import ValidationError

from humanuser import Accepted, Clock, Misconfigured, Permanent, Retryable, Sms, SmsOutcome, Unknown
from humanuser_adapters.forks import ForkSafeLock
from humanuser_adapters.sms.endpoint import Answer, Endpoint, NotAllowed, NotAnswered, NotWritten
from humanuser_adapters.sms.refusal import refusal
from humanuser_adapters.sms.retry_after import read_retry_after
from humanuser_adapters.sms.twilio_callback import callback_url
from humanuser_adapters.sms.twilio_errors import MISCONFIGURED, PERMANENT, RETRYABLE
from humanuser_adapters.sms.twilio_messages import FAILED, CreatedMessage, TwilioMessages, error_code

API = "https://api.twilio.com"
LONGEST_VALIDITY_SECONDS = 36_000


class TwilioSms:
    """Hands each SMS to Twilio once: the API knows no key that would make a repetition safe.

    *sender* is a number, a name, or the SID (``MG…``) of a messaging service. *status_callback* is the URL that is told
    what becomes of each SMS; see ``read_twilio_callback``. *redact* asks Twilio to keep neither text nor number; the
    account needs Message Redaction for that. *code_lifetime* is how long before its end a code can have been sent.
    Raises ``ValueError`` for an *account_sid* that is none, and for an empty *auth_token* or *sender*.
    """

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        sender: str,
        clock: Clock,
        *,
        endpoint: Endpoint | None = None,
        status_callback: str = "",
        redact: bool = True,
        code_lifetime: timedelta = timedelta(minutes=10),
    ) -> None:
        if not re.fullmatch(r"AC[0-9A-Za-z]+", account_sid):
            raise ValueError("the SID of an account begins with AC")
        if not auth_token or not sender:
            raise ValueError("the auth token or the sender is empty")
        credentials = b64encode(f"{account_sid}:{auth_token}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}"}
        self._target = f"/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._sender = sender
        self._clock = clock
        self._endpoint = endpoint or Endpoint(API)
        self._status_callback = status_callback
        self._redact = redact
        self._code_lifetime = code_lifetime
        self._taken = _Taken()

    def send(self, sms: Sms) -> SmsOutcome:
        headers = self._headers | {"Content-Type": "application/x-www-form-urlencoded"}
        exchange = self._endpoint.exchange("POST", headers, urlencode(self._form(sms)).encode(), target=self._target)
        match exchange:
            case NotAllowed(reason):
                return Misconfigured(f"Twilio cannot be called: {reason}")
            case NotWritten(reason):
                return Retryable(f"Twilio cannot be reached: {reason}")
            case NotAnswered(reason):
                return Unknown(f"Twilio did not answer: {reason}")
            case Answer(is_success=True):
                return self._taken_over(sms, exchange)
            case Answer():
                return self._refused(exchange)

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:
        """Whether Twilio's list has an SMS to that number, of the time of that code, with that text.

        With *redact* the list shows no text, so number and time decide. Where it shows no number either, nothing is
        found and the SMS may be repeated: the same code twice does no harm, a code that never comes does.
        """
        since = (sms.expires_at or self._clock()) - self._code_lifetime - CLOCK_SKEW
        listed = self._list(sms, since)
        if isinstance(listed, Unknown):
            return listed
        recent = [message for message in listed.messages if message.date_created >= since]
        for message in recent:
            if message.could_be(sms) and self._taken.could_be(message.sid, sms.message_id):
                return Accepted(message.sid)
        if listed.next_page_uri and len(recent) == len(listed.messages):
            return Unknown("Twilio lists more SMS to this number than are looked at")
        return None

    def _list(self, sms: Sms, since: datetime) -> TwilioMessages | Unknown:
        query = urlencode({"To": sms.to.e164, "DateSent>": f"{since:%Y-%m-%dT00:00:00Z}", "PageSize": PAGE_SIZE})
        exchange = self._endpoint.exchange("GET", self._headers, target=f"{self._target}?{query}")
        if not isinstance(exchange, Answer):
            return Unknown(f"Twilio cannot be asked: {exchange.reason}")
        if not exchange.is_success:
            return Unknown(f"Twilio cannot be asked: it answered {exchange.status}")
        try:
            return TwilioMessages.model_validate_json(exchange.body)
        except ValidationError:
            return Unknown("Twilio cannot be asked: its list cannot be read")

    def _form(self, sms: Sms) -> dict[str, str | int]:
        is_service = re.fullmatch(r"MG[0-9a-f]{32}", self._sender)
        form: dict[str, str | int] = {
            "To": sms.to.e164,
            "MessagingServiceSid" if is_service else "From": self._sender,
            "Body": sms.text,
        }
        if self._redact:
            form |= {"ContentRetention": "discard", "AddressRetention": "obfuscate"}
        if sms.expires_at:
            remaining = sms.expires_at - self._clock() if sms.expires_in is None else sms.expires_in
            form["ValidityPeriod"] = max(1, min(int(remaining.total_seconds()), LONGEST_VALIDITY_SECONDS))
        if self._status_callback:
            form["StatusCallback"] = callback_url(self._status_callback, sms.message_id)
        return form

    def _taken_over(self, sms: Sms, answer: Answer) -> SmsOutcome:
        """A success without a message is nobody's word: a proxy in between says 200, too. It is not repeated either."""
        try:
            created = CreatedMessage.model_validate_json(answer.body)
        except ValidationError:
            return Unknown(f"Twilio answered {answer.status}, and nothing that can be read")
        if created.status in FAILED:
            return self._refused(answer, created.error_code)
        self._taken.remember(created.sid, sms.message_id)
        return Accepted(created.sid)

    def _refused(self, answer: Answer, code: int | None = None) -> Retryable | Permanent | Misconfigured:
        """Twilio's own code says more than the status does."""
        code = code or error_code(answer.body)
        reason = f"Twilio answered {answer.status}" + (f" with error {code}" if code else "")
        if code in MISCONFIGURED:
            return Misconfigured(reason)
        if code in RETRYABLE:
            return Retryable(reason, read_retry_after(answer.retry_after, self._clock()))
        if code in PERMANENT or answer.is_success:  # it made a message that failed, and says no more
            return Permanent(reason)
        outcome = refusal(answer, reason, self._clock())
        return Misconfigured(reason) if isinstance(outcome, Permanent) else outcome


CLOCK_SKEW = timedelta(seconds=5)
"""By how much Twilio's clock may be behind ours. More would make an older code's SMS look like this one's."""
PAGE_SIZE = 20
"""As many of Twilio's messages as surely fit into what is read of a body."""


class _Taken:
    """Which message Twilio made of which SMS, of the last ones: so one is never taken for another."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._message_ids: dict[str, str] = {}

    def remember(self, sid: str, message_id: str) -> None:
        with self._lock:
            self._message_ids[sid] = message_id
            if len(self._message_ids) > REMEMBERED:
                del self._message_ids[next(iter(self._message_ids))]

    def could_be(self, sid: str, message_id: str) -> bool:
        with self._lock:
            return self._message_ids.get(sid, message_id) == message_id


REMEMBERED = 1000
