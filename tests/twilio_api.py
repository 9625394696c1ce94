"""Twilio's Messages API on loopback, as far as we use it."""

from __future__ import annotations

import base64
import secrets
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from humanuser.testing import AT
from web import Request, answers

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
TOKEN = "auth-token-that-nobody-may-see"  # noqa: S105 - nobody's
SERVICE = "MG0123456789abcdef0123456789abcdef"


class Twilio:
    """The two methods of the Messages API that we use, as their documentation has them."""

    def __init__(self, clock: Callable[[], datetime] = lambda: AT) -> None:
        self.clock = clock
        self.messages: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def __call__(self, request: Request, connection: socket.socket) -> None:
        target = urlsplit(request.target)
        credentials = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {credentials}":
            behave = answers(401, {"code": 20003, "message": "Authenticate", "status": 401})
        elif target.path != f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json":
            behave = answers(404, {"code": 20404, "message": "not found", "status": 404})
        elif request.method == "POST":
            behave = answers(201, self.create(dict(parse_qsl(request.body.decode(), strict_parsing=True))))
        else:
            behave = answers(200, self.list(parse_qs(target.query, strict_parsing=True)))
        behave(request, connection)

    def create(self, form: dict[str, str]) -> dict[str, Any]:
        assert ("From" in form) != ("MessagingServiceSid" in form)
        message = {
            "sid": f"SM{secrets.token_hex(16)}",
            "account_sid": ACCOUNT,
            "to": form["To"],
            "from": form.get("From"),
            "messaging_service_sid": form.get("MessagingServiceSid"),
            "body": form["Body"],
            "status": "queued",
            "direction": "outbound-api",
            "date_created": format_datetime(self.clock()),
            "date_sent": None,
            "error_code": None,
            "error_message": None,
            "num_segments": "1",
        }
        with self._lock:
            self.messages.insert(0, {"form": form, **message})
        return message

    def list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        """The newest first; without text and the last digits, where that was asked for."""
        ((to,), (since,), (size,)) = (query[name] for name in ("To", "DateSent>", "PageSize"))
        found = [
            {**message, **self._redacted(message)}
            for message in self.messages
            if message["to"] == to and parsedate_to_datetime(message["date_created"]) >= datetime.fromisoformat(since)
        ]
        page = [{name: one[name] for name in one if name != "form"} for one in found[: int(size)]]
        return {"messages": page, "next_page_uri": "/more" if len(found) > int(size) else None, "page": 0}

    @staticmethod
    def _redacted(message: dict[str, Any]) -> dict[str, Any]:
        redacted = {}
        if message["form"].get("ContentRetention") == "discard":
            redacted["body"] = ""
        if message["form"].get("AddressRetention") == "obfuscate":
            redacted["to"] = f"{message['to'][:-4]}XXXX"
        return redacted
