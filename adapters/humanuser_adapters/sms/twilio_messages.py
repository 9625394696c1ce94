"""Messages and errors, as Twilio's answers write them. Of a word that is none, nothing is kept: it may be a secret."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from humanuser import Sms
from humanuser_adapters.sms.retry_after import read_date

FAILED = {"failed", "undelivered", "canceled"}
"""What Twilio says of a message that did not arrive and never will."""

TAKEN = {"accepted", "scheduled", "queued", "sending", "sent", "delivered", "read"}
"""What it says of one that it has, or had."""

SID = r"(SM|MM)[0-9a-fA-F]{32}"
ERROR_CODE = r"[1-9][0-9]{4}"
Sid = Annotated[str, Field(pattern=f"^{SID}$")]
ErrorCode = Annotated[int, Field(ge=10_000, le=99_999)]


def _read_date(value: object) -> datetime | None:
    return read_date(value) if isinstance(value, str) else None


class CreatedMessage(BaseModel):
    """What Twilio made of an SMS."""

    sid: Sid
    status: str = ""
    error_code: ErrorCode | None = None


class ListedMessage(CreatedMessage):
    """A message in Twilio's list."""

    to: str
    body: str | None = None
    date_created: Annotated[datetime, BeforeValidator(_read_date)]

    def could_be(self, sms: Sms) -> bool:
        """Whether it went to that number with that text, as far as Twilio still shows them."""
        redacted = f"{sms.to.e164[:-4]}XXXX"
        is_its_text = self.body in (sms.text, "", None)
        return self.to in (sms.to.e164, redacted) and is_its_text and self.status not in FAILED


class TwilioMessages(BaseModel):
    """A page of Twilio's list, the newest first."""

    messages: list[ListedMessage]
    next_page_uri: str | None = None


def error_code(body: bytes) -> int | None:
    """The code of Twilio's own in an answer that is an error; None: there is none."""
    try:
        return _Problem.model_validate_json(body).code
    except ValidationError:
        return None


class _Problem(BaseModel):
    code: ErrorCode
