"""An SMS as JSON, for those who pass it on."""

from __future__ import annotations

import json
from datetime import datetime

from humanuser import Sms


def sms_json(sms: Sms) -> str:
    """One line: ``message_id``, ``to``, ``text``, ``expires_at``."""
    return json.dumps(
        {"message_id": sms.message_id, "to": sms.to.e164, "text": sms.text, "expires_at": sms.expires_at},
        default=datetime.isoformat,
    )
