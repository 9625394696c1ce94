"""An SMS as a webhook in the form of ZITADEL's, for receivers that were built for it."""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from datetime import datetime

from humanuser import PhoneVerificationCodeAdded, Sms


class ZitadelWebhook:
    """Signs with each of the *keys*, whose characters are the key. Raises ``ValueError`` for an empty one.

    The body has what an SMS knows: the texts and colours of a page, and the user's names, are left out.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not all(keys):
            raise ValueError("a webhook's key is empty")
        self._keys = [key.encode() for key in keys]

    def body(self, sms: Sms) -> bytes:
        """The same on every attempt."""
        code = sms.code.characters if sms.code else ""
        return json.dumps(
            {
                "contextInfo": {
                    "eventType": PhoneVerificationCodeAdded.type,
                    "provider": {"id": "humanuser", "description": ""},
                    "recipientPhoneNumber": sms.to.e164,
                },
                "templateData": {"text": sms.text},
                "args": {"code": code, "codeID": sms.message_id, "lastPhone": sms.to.e164},
            }
        ).encode()

    def headers(self, sms: Sms, body: bytes, now: datetime) -> dict[str, str]:
        """Time and signatures; and the id that ZITADEL has none of, for receivers that want to tell a repetition."""
        timestamp = str(int(now.timestamp()))
        signatures = [hmac.digest(key, f"{timestamp}.".encode() + body, "sha256").hex() for key in self._keys]
        return {
            "ZITADEL-Signature": ",".join((f"t={timestamp}", *(f"v1={signature}" for signature in signatures))),
            "webhook-id": sms.message_id,
        }
