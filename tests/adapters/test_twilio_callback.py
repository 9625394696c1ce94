"""What Twilio tells about an SMS later, and that nobody else can tell it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import pytest

from humanuser import Accepted, Permanent
from humanuser_adapters.sms import TwilioStatus, read_twilio_callback
from humanuser_adapters.sms.twilio_callback import callback_url, is_from_twilio
from twilio_api import TOKEN

SID = "SM0123456789abcdef0123456789abcdef"

CALL_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
CALL = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
    ("Caller", "+14158675309"),
]
TWICE = [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234")]


@pytest.mark.parametrize(
    ("url", "fields", "signature"),
    [
        (CALL_URL, CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        (CALL_URL, TWICE, "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
        (CALL_URL.replace(".com", ".com:1234"), CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        (CALL_URL, CALL, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        (CALL_URL.replace("https", "http"), CALL, "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        (CALL_URL.replace("https://mycompany.com", "http://mycompany.com:1234"), CALL, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
    ],
    ids=["plain", "twice", "port left out", "443 added", "80 added", "port kept"],
)
def test_the_signatures_that_twilio_publishes_are_right(
    url: str, fields: list[tuple[str, str]], signature: str
) -> None:
    """Those of its SDK's own tests, under the token 12345."""
    assert is_from_twilio(url, fields, signature, auth_token="12345")  # noqa: S106 - the published one
    assert not is_from_twilio(url, fields, signature, auth_token="12346")  # noqa: S106


def signed(url: str, fields: list[tuple[str, str]], token: str = TOKEN) -> str:
    """Twilio's signature, made the other way round from how we check it."""
    text = url
    for name in sorted({name for name, _ in fields}):
        for value in sorted({value for other, value in fields if other == name}):
            text += name + value
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


class TestCallbacks:
    URL = callback_url("https://example.com/twilio", "message1")
    FIELDS = (("MessageSid", SID), ("MessageStatus", "delivered"), ("To", "+41791234567"), ("ErrorCode", ""))

    def read(self, url: str = URL, fields: Sequence[tuple[str, str]] = FIELDS, **more: Any) -> TwilioStatus | None:
        signature = more.pop("signature", signed(self.URL, list(self.FIELDS)))
        body = more.pop("body", urlencode(fields).encode())
        return read_twilio_callback(url, body, signature, auth_token=more.pop("token", TOKEN))

    def test_it_tells_what_became_of_an_sms(self) -> None:
        assert self.read() == TwilioStatus("message1", SID, "delivered")

    def test_it_may_come_twice(self) -> None:
        assert [self.read(), self.read()] == [TwilioStatus("message1", SID, "delivered")] * 2

    @pytest.mark.parametrize("message_id", ["message1", "a b&c=d#e", "ä/?"])
    def test_the_message_id_comes_back_as_it_was(self, message_id: str) -> None:
        url = callback_url("https://example.com/twilio?tenant=1", message_id)

        status = self.read(url, signature=signed(url, list(self.FIELDS)))

        assert status == TwilioStatus(message_id, SID, "delivered")

    @pytest.mark.parametrize(
        ("changed", "value"),
        [
            ("url", callback_url("https://example.com/twilio", "message2")),
            ("url", callback_url("https://example.org/twilio", "message1")),
            ("url", callback_url("http://example.com/twilio", "message1")),
            ("url", "https://[broken"),
            ("url", "https://example.com:port/"),
            ("body", urlencode([("MessageSid", SID), ("MessageStatus", "failed")]).encode()),
            ("body", b""),
            ("body", b"\xff\xfe"),
            ("body", b"&".join(b"a=b" for _ in range(1000))),
            ("token", "another"),
            ("token", ""),
            ("signature", ""),
            ("signature", "x"),
            ("signature", "ä\udc80"),
            ("signature", signed(URL, list(FIELDS), token="")),
            ("signature", signed(URL, list(FIELDS)).lower()),
            ("signature", signed(URL, list(FIELDS)) + "="),
        ],
    )
    def test_what_is_forged_tells_nothing(self, changed: str, value: Any) -> None:
        assert self.read(**{changed: value}) is None

    @pytest.mark.parametrize(
        ("status", "error_code", "outcome"),
        [
            ("queued", "", Accepted(SID)),
            ("sent", "", Accepted(SID)),
            ("delivered", "", Accepted(SID)),
            ("failed", "30003", Permanent("Twilio says failed, error 30003")),
            ("undelivered", "", Permanent("Twilio says undelivered")),
            ("undelivered", "30003\r\n", Permanent("Twilio says undelivered")),
            ("a_new_word", "", None),
        ],
    )
    def test_it_means_something_for_the_sms(
        self, status: str, error_code: str, outcome: Accepted | Permanent | None
    ) -> None:
        fields = [("MessageSid", SID), ("MessageStatus", status), ("ErrorCode", error_code)]

        told = self.read(fields=fields, signature=signed(self.URL, fields))

        assert told is not None
        assert told.outcome == outcome

    @pytest.mark.parametrize("field", [("MessageSid", "SM1\nx"), ("MessageStatus", "sent\x1b[2J")])
    def test_what_no_twilio_writes_tells_nothing(self, field: tuple[str, str]) -> None:
        fields = [*dict([*self.FIELDS, field]).items()]

        assert self.read(fields=fields, signature=signed(self.URL, fields)) is None

    @pytest.mark.parametrize("missing", ["MessageSid", "MessageStatus", "message_id"])
    def test_what_is_about_no_sms_of_ours_tells_nothing(self, missing: str) -> None:
        fields = [(name, value) for name, value in self.FIELDS if name != missing]
        url = self.URL.replace("message_id", "other") if missing == "message_id" else self.URL

        assert self.read(url, fields, signature=signed(url, fields)) is None

    def test_signatures_are_compared_as_wholes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        compared: list[tuple[bytes, bytes]] = []

        def compare_digest(one: bytes, other: bytes) -> bool:
            compared.append((one, other))
            return False

        monkeypatch.setattr(hmac, "compare_digest", compare_digest)

        assert self.read() is None
        assert len(compared) == 2
        assert all(len(other) == 28 for _, other in compared)
