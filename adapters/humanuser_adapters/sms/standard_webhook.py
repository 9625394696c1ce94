"""An SMS as a webhook in the form of Standard Webhooks. (https://www.standardwebhooks.com)"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime

from humanuser import Sms
from humanuser_adapters.sms.sms_json import sms_json

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


class StandardWebhook:
    """Signs with each of the *keys*, so that a receiver may have the old or the new one while they change.

    A key is written ``whsec_`` and base64 of 24 to 64 bytes. Raises ``ValueError`` for any other.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [_key(key) for key in keys]

    def body(self, sms: Sms) -> bytes:
        """The same on every attempt."""
        return sms_json(sms).encode()

    def headers(self, sms: Sms, body: bytes, now: datetime) -> dict[str, str]:
        """The id is the SMS's, which stays the same on every attempt; time and signature are of this one."""
        timestamp = str(int(now.timestamp()))
        signed = b".".join((sms.message_id.encode(), timestamp.encode(), body))
        signatures = [b64encode(hmac.digest(key, signed, "sha256")).decode() for key in self._keys]
        return {
            "webhook-id": sms.message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }


def _key(written: str) -> bytes:
    """The bytes of a key. What is wrong is said without it."""
    try:
        key = b64decode(written.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not written.startswith(PREFIX) or len(key) not in KEY_BYTES:
        raise ValueError(f"a webhook's key is written {PREFIX} and base64 of 24 to 64 bytes")
    return key
