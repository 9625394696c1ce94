"""What Twilio tells about an SMS after it took it."""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

from humanuser import Accepted, Permanent
from humanuser_adapters.sms.twilio_messages import ERROR_CODE, FAILED, SID, TAKEN

MESSAGE_ID = "message_id"
"""The parameter of the URL in which the SMS's own id travels; the signature covers it."""


@dataclass(frozen=True, slots=True)
class TwilioStatus:
    """What became of an SMS. It may come several times, and in any order."""

    message_id: str
    provider_id: str
    status: str
    """Twilio's word, such as ``sent``, ``delivered``, ``undelivered`` or ``failed``."""
    error_code: str = ""
    """Why it did not arrive, in Twilio's numbers."""

    @property
    def outcome(self) -> Accepted | Permanent | None:
        """What that means for the SMS; None: a word that we do not know, and that so changes nothing."""
        if self.status in FAILED:
            return Permanent(f"Twilio says {self.status}" + (f", error {self.error_code}" if self.error_code else ""))
        return Accepted(self.provider_id) if self.status in TAKEN else None


def callback_url(url: str, message_id: str) -> str:
    """*url* with the id of an SMS."""
    return f"{url}{'&' if '?' in url else '?'}{MESSAGE_ID}={quote(message_id, safe='')}"


def read_twilio_callback(url: str, body: bytes, signature: str, *, auth_token: str) -> TwilioStatus | None:
    """What a POST to *url* with the form *body* tells; None: it is not from Twilio, or not about an SMS of ours.

    *url* is whole and as Twilio called it, not as a proxy passed it on; *signature* is the header
    ``X-Twilio-Signature``.
    """
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=100)
        if not is_from_twilio(url, fields, signature, auth_token=auth_token):
            return None
    except ValueError:  # a body or a URL that is none
        return None
    told = dict(fields)
    message_id = dict(parse_qsl(urlsplit(url).query)).get(MESSAGE_ID, "")
    provider_id, status = told.get("MessageSid", ""), told.get("MessageStatus", "")
    error_code = told.get("ErrorCode", "")
    if not (message_id and re.fullmatch(SID, provider_id) and re.fullmatch("[a-z_-]{1,20}", status)):
        return None
    return TwilioStatus(message_id, provider_id, status, error_code if re.fullmatch(ERROR_CODE, error_code) else "")


def is_from_twilio(url: str, fields: Iterable[tuple[str, str]], signature: str, *, auth_token: str) -> bool:
    """Whether who knows *auth_token* signed a request to *url* with the form *fields*.

    Twilio signs a URL now with its port and now without it. Raises ``ValueError`` for a URL that is none.
    """
    parts = urlsplit(url)
    host = parts.netloc.removesuffix(f":{parts.port}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    urls = [parts._replace(netloc=netloc).geturl() for netloc in (host, f"{host}:{port}")]
    given = signature.encode(errors="replace")
    matches = [hmac.compare_digest(given, _sign(one, fields, auth_token)) for one in urls]
    return any(matches) and bool(auth_token)


def _sign(url: str, fields: Iterable[tuple[str, str]], auth_token: str) -> bytes:
    """The URL and the sorted fields, in one, under HMAC-SHA1. (https://www.twilio.com/docs/usage/security)"""
    text = url + "".join(name + value for name, value in sorted(set(fields)))
    return b64encode(hmac.digest(auth_token.encode(), text.encode(), "sha1"))
