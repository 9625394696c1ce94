"""SMS through a webhook: what a receiver can check, and what its answers mean."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import re
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from fakes import FakeClock
from humanuser import (
    Accepted,
    Misconfigured,
    Permanent,
    PhoneNumber,
    Retryable,
    Sms,
    SmsOutcome,
    SmsSender,
    VerificationCode,
)
from humanuser.testing import AT, Received, SmsSenderContract
from humanuser_adapters.sms import Endpoint, Paused, WebhookSms, WebhookStyle
from humanuser_adapters.sms.circuit_breaker import PAUSE
from web import (
    SHORT,
    Behaviour,
    Request,
    WebServer,
    answers,
    head,
    in_turn,
    keeps_silent,
    resets_after,
    served,
    unused_port,
    writes,
    writes_slowly,
)


def a_key(byte: int, length: int = 32) -> str:
    return f"whsec_{base64.b64encode(bytes([byte]) * length).decode()}"


KEY, OTHER_KEY = a_key(1), a_key(2)
ZITADEL_KEY, OTHER_ZITADEL_KEY = "zitadel-signing-key", "zitadel-signing-key-of-before"
CODE = "271828"


def an_sms(message_id: str = "message1", text: str = f"{CODE} is your code", *, to: str = "+41791234567") -> Sms:
    return Sms(
        message_id=message_id,
        to=PhoneNumber(to),
        text=text,
        expires_at=AT + timedelta(minutes=10),
        code=VerificationCode(CODE),
    )


def sender_to(server: WebServer, *keys: str, **more: Any) -> WebhookSms:
    timeout = more.pop("timeout", timedelta(seconds=8))
    clock = more.pop("clock", lambda: datetime.now(UTC))
    return WebhookSms(server.endpoint("/sms", timeout=timeout), keys or (KEY,), clock, **more)


def outcome_of(behaviour: Behaviour, **more: Any) -> SmsOutcome:
    """What comes of an SMS to a receiver with that *behaviour*."""
    with served(behaviour) as server:
        return sender_to(server, **more).send(an_sms())


@pytest.fixture
def server() -> Iterator[WebServer]:
    with served(answers(200)) as server:
        yield server


class TestWebhookSms(SmsSenderContract):
    """Its receiver is Standard Webhooks' own library."""

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with served(self._take) as self.server:
            yield

    def create_sender(self) -> SmsSender:
        self.taken: dict[str, Received] = {}
        return sender_to(self.server)

    def received(self, sender: SmsSender) -> Sequence[Received]:  # noqa: ARG002 - the counterpart is the server
        return list(self.taken.values())

    def create_broken_sender(self) -> SmsSender:
        endpoint = Endpoint(f"http://localhost:{unused_port()}", allow_http=True, allow_private=True)
        return WebhookSms(endpoint, [KEY], lambda: AT)

    def _take(self, request: Request, connection: socket.socket) -> None:
        sms = Webhook(KEY).verify(request.body, dict(request.headers))
        assert request.headers["webhook-id"] == sms["message_id"]
        self.taken[sms["message_id"]] = (sms["message_id"], sms["to"], sms["text"])
        answers(204)(request, connection)


class TestZitadelWebhookSms(SmsSenderContract):
    """Its receiver checks ZITADEL's signature and reads ZITADEL's body."""

    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with served(self._take) as self.server:
            yield

    def create_sender(self) -> SmsSender:
        self.taken: list[Received] = []
        return sender_to(self.server, ZITADEL_KEY, style="zitadel")

    def received(self, sender: SmsSender) -> Sequence[Received]:  # noqa: ARG002 - the counterpart is the server
        return self.taken

    def create_broken_sender(self) -> SmsSender:
        self.server.behaviour = answers(500, f"{CODE} to +41791234567".encode())
        return sender_to(self.server, ZITADEL_KEY, style="zitadel")

    def _take(self, request: Request, connection: socket.socket) -> None:
        assert zitadel_accepts(request, ZITADEL_KEY)
        context, texts = request.json["contextInfo"], request.json["templateData"]
        self.taken.append((None, context["recipientPhoneNumber"], texts["text"]))
        answers(200)(request, connection)


def zitadel_accepts(request: Request, key: str, *, now: datetime | None = None) -> bool:
    """Whether a receiver of ZITADEL's would: one signature of several is right, and no more than 300 s old."""
    parts = [part.partition("=")[::2] for part in request.headers["zitadel-signature"].split(",")]
    ((_, timestamp),) = [part for part in parts if part[0] == "t"]
    right = hmac.new(key.encode(), f"{timestamp}.".encode() + request.body, hashlib.sha256).hexdigest()
    age = abs((now or datetime.now(UTC)).timestamp() - int(timestamp))
    return age <= 300 and any(name == "v1" and value == right for name, value in parts)


class TestStandardWebhook:
    def test_it_is_a_post_of_json_to_the_url(self, server: WebServer) -> None:
        sender_to(server).send(an_sms())

        (request,) = server.requests
        assert (request.method, request.target) == ("POST", "/sms")
        assert request.headers["content-type"] == "application/json"
        assert request.json == {
            "message_id": "message1",
            "to": "+41791234567",
            "text": f"{CODE} is your code",
            "expires_at": "2026-05-10T12:10:00+00:00",
        }

    def test_its_signature_is_the_one_of_the_specification(self, server: WebServer) -> None:
        sender_to(server, clock=lambda: AT).send(an_sms())

        (request,) = server.requests
        assert request.headers["webhook-timestamp"] == str(int(AT.timestamp()))
        library = Webhook(KEY).sign("message1", AT, request.body.decode())
        assert request.headers["webhook-signature"] == library

    def test_a_receiver_with_another_key_does_not_take_it(self, server: WebServer) -> None:
        sender_to(server).send(an_sms())

        with pytest.raises(WebhookVerificationError):
            Webhook(OTHER_KEY).verify(server.requests[0].body, dict(server.requests[0].headers))

    @pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp", "body"])
    def test_a_receiver_does_not_take_what_was_changed(self, server: WebServer, changed: str) -> None:
        sender_to(server).send(an_sms())
        headers, body = dict(server.requests[0].headers), server.requests[0].body
        if changed == "body":
            body = body.replace(CODE.encode(), b"314159")
        else:
            headers[changed] = str(int(datetime.now(UTC).timestamp()) - 60)

        with pytest.raises(WebhookVerificationError):
            Webhook(KEY).verify(body, headers)

    @pytest.mark.parametrize("key", [KEY, OTHER_KEY])
    def test_while_keys_change_a_receiver_may_have_either(self, server: WebServer, key: str) -> None:
        sender_to(server, KEY, OTHER_KEY).send(an_sms())

        (request,) = server.requests
        assert len(request.headers["webhook-signature"].split(" ")) == 2
        assert Webhook(key).verify(request.body, dict(request.headers)) == request.json

    def test_a_retry_has_the_same_id_and_body_and_a_time_of_its_own(self) -> None:
        times = iter(AT + timedelta(minutes=minute) for minute in range(9))
        with served(in_turn([answers(503), keeps_silent, answers(200)])) as server:
            sender = sender_to(server, clock=lambda: next(times), timeout=SHORT)
            outcomes = [sender.send(an_sms()) for _ in range(3)]

        assert [type(outcome) for outcome in outcomes] == [Retryable, Retryable, Accepted]
        assert len({(request.headers["webhook-id"], request.body) for request in server.requests}) == 1
        assert len({request.headers["webhook-timestamp"] for request in server.requests}) == 3
        assert len({request.headers["webhook-signature"] for request in server.requests}) == 3

    @pytest.mark.parametrize("length", [24, 32, 64])
    def test_a_key_has_24_to_64_bytes(self, server: WebServer, length: int) -> None:
        sender_to(server, a_key(7, length)).send(an_sms())

        assert Webhook(a_key(7, length)).verify(server.requests[0].body, dict(server.requests[0].headers))

    @pytest.mark.parametrize(
        "key",
        ["", "whsec_", KEY.removeprefix("whsec_"), "whsec_!!!!", f"{KEY[:-2]}é=", KEY[:-1], a_key(1, 23), a_key(1, 65)],
    )
    def test_any_other_key_is_refused_and_not_shown(self, server: WebServer, key: str) -> None:
        with pytest.raises(ValueError, match="24 to 64 bytes") as error:
            sender_to(server, KEY, key)

        assert len(key) <= len("whsec_") or key not in repr(error.value)

    def test_without_a_key_nothing_is_signed_so_nothing_is_sent(self, server: WebServer) -> None:
        with pytest.raises(ValueError, match="needs a key"):
            WebhookSms(server.endpoint(), [], lambda: AT)

    def test_a_text_that_is_too_long_for_a_webhook_is_not_sent(self, server: WebServer) -> None:
        outcome = sender_to(server).send(an_sms(text="x" * 20_000))

        assert isinstance(outcome, Permanent)
        assert server.connections == 0

    def test_an_id_that_would_break_a_header_is_not_sent(self, server: WebServer) -> None:
        outcome = sender_to(server).send(an_sms("id\r\nwebhook-id: other"))

        assert isinstance(outcome, Misconfigured)
        assert server.connections == 0


class TestZitadelWebhook:
    def test_its_body_has_what_an_sms_knows_in_zitadels_words(self, server: WebServer) -> None:
        sender_to(server, ZITADEL_KEY, style=WebhookStyle.ZITADEL).send(an_sms())

        (request,) = server.requests
        assert list(request.json) == ["contextInfo", "templateData", "args"]
        assert request.json["contextInfo"] == {
            "eventType": "user.human.phone.code.added",
            "provider": {"id": "humanuser", "description": ""},
            "recipientPhoneNumber": "+41791234567",
        }
        assert request.json["templateData"] == {"text": f"{CODE} is your code"}
        assert request.json["args"] == {"code": CODE, "codeID": "message1", "lastPhone": "+41791234567"}
        assert request.headers["content-type"] == "application/json"

    def test_its_signature_is_of_the_time_and_the_body(self, server: WebServer) -> None:
        sender_to(server, ZITADEL_KEY, style="zitadel", clock=lambda: AT).send(an_sms())

        (request,) = server.requests
        assert re.fullmatch(rf"t={int(AT.timestamp())},v1=[0-9a-f]{{64}}", request.headers["zitadel-signature"])
        assert zitadel_accepts(request, ZITADEL_KEY, now=AT + timedelta(seconds=300))
        assert not zitadel_accepts(request, ZITADEL_KEY, now=AT + timedelta(seconds=301))
        assert not zitadel_accepts(request, OTHER_ZITADEL_KEY, now=AT)

    def test_while_keys_change_a_receiver_may_have_either(self, server: WebServer) -> None:
        sender_to(server, ZITADEL_KEY, OTHER_ZITADEL_KEY, style="zitadel").send(an_sms())

        (request,) = server.requests
        assert request.headers["zitadel-signature"].count("v1=") == 2
        assert all(zitadel_accepts(request, key) for key in (ZITADEL_KEY, OTHER_ZITADEL_KEY))

    def test_the_id_of_the_sms_goes_along_for_who_wants_it(self, server: WebServer) -> None:
        sender_to(server, ZITADEL_KEY, style="zitadel").send(an_sms())

        assert server.requests[0].headers["webhook-id"] == "message1"
        assert "webhook-signature" not in server.requests[0].headers

    def test_an_empty_key_is_refused(self, server: WebServer) -> None:
        with pytest.raises(ValueError, match="empty"):
            sender_to(server, "", style="zitadel")

    def test_a_style_that_nobody_knows_is_refused(self, server: WebServer) -> None:
        with pytest.raises(ValueError, match="pigeon"):
            sender_to(server, style="pigeon")


class TestAnswers:
    """The outcomes, row by row."""

    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
    def test_a_success_is_accepted_whatever_the_body_says(self, status: int) -> None:
        assert outcome_of(answers(status, {"error": "no"})) == Accepted()

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
    def test_a_receiver_that_is_busy_or_broken_is_tried_again(self, status: int) -> None:
        assert outcome_of(answers(status)) == Retryable(f"the webhook answered {status}")

    @pytest.mark.parametrize("status", [408, 425, 429, 503])
    @pytest.mark.parametrize("wait", ["30", format_datetime(AT + timedelta(seconds=30), usegmt=True)])
    def test_it_is_tried_again_when_the_receiver_says(self, status: int, wait: str) -> None:
        outcome = outcome_of(answers(status, retry_after=wait), clock=lambda: AT)

        assert outcome == Retryable(f"the webhook answered {status}", timedelta(seconds=30))

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_signature_that_is_refused_is_misconfigured(self, status: int) -> None:
        assert outcome_of(answers(status)) == Misconfigured(f"the webhook answered {status}")

    @pytest.mark.parametrize("status", [402, 404, 405, 407, 415, 421, 505, 511])
    def test_a_receiver_that_is_not_there_or_not_reached_is_misconfigured(self, status: int) -> None:
        assert outcome_of(answers(status)) == Misconfigured(f"the webhook answered {status}")

    @pytest.mark.parametrize("status", [400, 409, 413, 422, 451])
    def test_every_other_refusal_is_permanent(self, status: int) -> None:
        assert outcome_of(answers(status)) == Permanent(f"the webhook answered {status}")

    def test_a_receiver_that_is_gone_is_left_alone_and_tried_again(self, clock: FakeClock) -> None:
        with served(in_turn([answers(410), answers(410), answers(200), answers(200)])) as server:
            sender = sender_to(server, clock=clock)

            outcomes = [sender.send(an_sms()) for _ in range(3)]
            clock.now += PAUSE
            outcomes += [sender.send(an_sms()) for _ in range(2)]
            clock.now += PAUSE
            outcomes += [sender.send(an_sms()) for _ in range(2)]

        gone, paused = Misconfigured("the webhook answered 410"), Paused("the webhook is gone", PAUSE)
        assert outcomes == [gone, paused, paused, gone, paused, Accepted(), Accepted()]
        assert server.connections == 4

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_misconfigured_and_not_followed(self, status: int) -> None:
        with served(answers(200)) as elsewhere:
            outcome = outcome_of(answers(status, Location=elsewhere.url))

            assert outcome == Misconfigured(f"the webhook answered {status}")
            assert elsewhere.connections == 0


class TestSilence:
    """The id makes a repetition safe, so nothing is unknown."""

    def test_a_connection_that_is_refused_is_tried_again(self) -> None:
        endpoint = Endpoint(f"http://localhost:{unused_port()}", allow_http=True, allow_private=True)

        outcome = WebhookSms(endpoint, [KEY], lambda: AT).send(an_sms())

        assert outcome == Retryable("the webhook cannot be reached: it refuses connections")

    def test_an_address_inside_is_misconfigured(self, server: WebServer) -> None:
        outcome = WebhookSms(server.endpoint(allow_private=False), [KEY], lambda: AT).send(an_sms())

        assert outcome == Misconfigured("the webhook cannot be called: its address is not on the public internet")
        assert server.connections == 0

    @pytest.mark.parametrize(
        "behaviour",
        [keeps_silent, resets_after(), writes(b""), writes(b"nonsense\r\n"), writes_slowly(head(200, X_Long="x" * 99))],
        ids=["silence", "reset", "closed", "nonsense", "slow"],
    )
    def test_no_answer_is_tried_again(self, behaviour: Behaviour) -> None:
        outcome = outcome_of(behaviour, timeout=SHORT)

        assert isinstance(outcome, Retryable)
        assert outcome.reason.startswith("the webhook did not answer: ")

    @pytest.mark.parametrize(
        "behaviour",
        [
            resets_after(head(200, Content_Length="100") + b"half"),
            writes(head(200, Content_Length="100") + b"half"),
            writes_slowly(b"x" * 500, first=head(200, Content_Length="500")),
            answers(200, b"x" * 10_000_000),
        ],
        ids=["reset", "cut", "slow", "10MB"],
    )
    def test_a_success_whose_body_breaks_off_is_accepted(self, behaviour: Behaviour) -> None:
        assert outcome_of(behaviour, timeout=SHORT) == Accepted()

    @pytest.mark.parametrize("behaviour", [answers(200), keeps_silent, answers(500)], ids=["taken", "silence", "500"])
    def test_after_an_interruption_it_may_be_repeated(self, behaviour: Behaviour) -> None:
        with served(behaviour) as server:
            sender: SmsSender = sender_to(server, timeout=SHORT)
            sender.send(an_sms())

            assert sender.look_up(an_sms()) is None
            assert len(server.requests) == 1


class TestSecrets:
    @pytest.mark.parametrize("style", list(WebhookStyle))
    @pytest.mark.parametrize(
        "behaviour",
        [
            answers(200),
            keeps_silent,
            resets_after(),
            answers(400, f"{CODE} +41791234567 {KEY} {ZITADEL_KEY}".encode()),
            answers(503, retry_after=f"{CODE} {KEY}"),
        ],
        ids=["taken", "silence", "reset", "400", "503"],
    )
    def test_they_are_in_no_outcome_no_repr_and_no_log(
        self, behaviour: Behaviour, style: WebhookStyle, caplog: pytest.LogCaptureFixture
    ) -> None:
        key = KEY if style is WebhookStyle.STANDARD else ZITADEL_KEY
        with caplog.at_level(logging.DEBUG), served(behaviour) as server:
            sender = sender_to(server, key, style=style, timeout=SHORT)
            told = [repr(sender), str(sender), repr(sender.send(an_sms()))]

        assert server.requests
        for secret in (key, key.removeprefix("whsec_"), repr(bytes([1] * 32))[2:-1], CODE, "41791234567"):
            assert secret not in " ".join(told)
            assert secret not in caplog.text

    def test_no_key_leaves_the_house(self, server: WebServer) -> None:
        sender_to(server).send(an_sms())
        sender_to(server, ZITADEL_KEY, style="zitadel").send(an_sms())

        sent = json.dumps([[dict(request.headers), request.body.decode()] for request in server.requests])
        assert KEY.removeprefix("whsec_") not in sent
        assert ZITADEL_KEY not in sent
