"""The settings choose how an SMS leaves."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from humanuser import Accepted, Misconfigured, Permanent, PhoneNumber, Retryable, Sms
from humanuser_adapters.application import utc_now
from humanuser_adapters.cli.senders import sender_of
from humanuser_adapters.settings import Settings
from humanuser_adapters.sms import Paused
from twilio_api import ACCOUNT, SERVICE, TOKEN, Twilio
from web import Behaviour, answers, keeps_silent, served

KEY = f"whsec_{base64.b64encode(bytes(32)).decode()}"
TWILIO = {"twilio_account_sid": ACCOUNT, "twilio_auth_token": TOKEN, "twilio_from": SERVICE}
ON_LOOPBACK = {"sms_allow_private": True, "sms_allow_http": True}


def an_sms() -> Sms:
    return Sms(
        message_id="message1",
        to=PhoneNumber("+41791234567"),
        text="271828 is your code",
        expires_at=utc_now() + timedelta(minutes=10),
    )


def settings_of(**given: Any) -> Settings:
    return Settings.model_validate(given)


def test_without_a_choice_nothing_is_sent() -> None:
    assert sender_of(settings_of()) is None


def test_the_console_and_a_file_are_for_development(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console, file = (sender_of(settings_of(sms=name, sms_file=tmp_path / "sms")) for name in ("console", "file"))
    assert console is not None
    assert file is not None

    assert [console.send(an_sms()), file.send(an_sms())] == [Accepted(), Accepted()]

    assert "271828" in capsys.readouterr().err
    assert "271828" in (tmp_path / "sms").read_text()


def test_twilio_gets_what_is_set() -> None:
    twilio = Twilio(utc_now)
    with served(twilio) as server:
        more = {"twilio_url": server.url, "twilio_status_url": "https://example.com/status", "twilio_redact": False}
        sender = sender_of(settings_of(sms="twilio", **TWILIO, **more, **ON_LOOPBACK))
        assert sender is not None
        outcome = sender.send(an_sms())

    (message,) = twilio.messages
    assert outcome == Accepted(message["sid"])
    assert message["form"]["MessagingServiceSid"] == SERVICE
    assert message["form"]["StatusCallback"] == "https://example.com/status?message_id=message1"
    assert "ContentRetention" not in message["form"]


@pytest.mark.parametrize(("policy", "found"), [("recommended", False), ("zitadel", True)])
def test_twilio_is_asked_as_far_back_as_a_code_of_the_policy_lives(policy: str, found: bool) -> None:
    twilio = Twilio(lambda: utc_now() - timedelta(minutes=30))
    with served(twilio) as server:
        chosen = settings_of(sms="twilio", policy=policy, twilio_url=server.url, **TWILIO, **ON_LOOPBACK)
        sender, other = sender_of(chosen), sender_of(chosen)
        assert sender is not None
        assert other is not None
        sender.send(an_sms())

        assert bool(other.look_up(an_sms())) is found


@pytest.mark.parametrize(
    ("style", "keys", "header"),
    [("standard", f"{KEY},{KEY}", "webhook-signature"), ("zitadel", "one,other", "zitadel-signature")],
)
def test_a_webhook_gets_what_is_set(style: str, keys: str, header: str) -> None:
    with served(answers(200)) as server:
        more = {"webhook_url": f"{server.url}/sms", "webhook_keys": keys, "webhook_style": style}
        sender = sender_of(settings_of(sms="webhook", **more, **ON_LOOPBACK))
        assert sender is not None
        assert sender.send(an_sms()) == Accepted()

    (request,) = server.requests
    assert request.target == "/sms"
    assert len(re.findall(r"(?:^|[ ,])v1[,=]", request.headers[header])) == 2


@pytest.mark.parametrize("style", ["standard", "zitadel"])
@pytest.mark.parametrize("allowed", [{}, {"sms_allow_http": True}, {"sms_allow_private": True}])
def test_a_webhook_inside_or_without_tls_must_be_allowed(style: str, allowed: dict[str, bool]) -> None:
    with served(answers(200)) as server:
        chosen = settings_of(sms="webhook", webhook_url=server.url, webhook_keys=KEY, webhook_style=style, **allowed)
        if "sms_allow_http" in allowed:
            sender = sender_of(chosen)
            assert sender is not None
            assert isinstance(sender.send(an_sms()), Misconfigured)
        else:
            with pytest.raises(ValueError, match="https://"):
                sender_of(chosen)

        assert server.connections == 0


@pytest.mark.parametrize("keys", ["none", KEY.removeprefix("whsec_"), f"{KEY},", f"{KEY} , {KEY}"])
def test_a_key_that_is_none_is_refused_at_the_start(keys: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes") as error:
        sender_of(settings_of(sms="webhook", webhook_url="https://example.com", webhook_keys=keys))

    assert keys not in str(error.value)


def test_a_provider_that_does_not_work_is_left_alone() -> None:
    with served(answers(503)) as server:
        sender = sender_of(settings_of(sms="webhook", webhook_url=server.url, webhook_keys=KEY, **ON_LOOPBACK))
        assert sender is not None
        outcomes = [sender.send(an_sms()) for _ in range(7)]

    assert [type(outcome) for outcome in outcomes] == [Retryable] * 5 + [Paused] * 2
    assert server.connections == 5


@pytest.mark.parametrize(
    ("first", "outcome"),
    [
        (answers(400, {"code": 21211}), Accepted()),
        (answers(401), Accepted()),
        (answers(500), Retryable("Twilio answered 500")),
    ],
    ids=["permanent", "misconfigured", "retryable"],
)
def test_another_provider_stands_in(first: Behaviour, outcome: object) -> None:
    with served(first) as twilio, served(answers(200)) as webhook:
        more = {"twilio_url": twilio.url, "webhook_url": webhook.url, "webhook_keys": KEY}
        sender = sender_of(settings_of(sms="twilio", sms_fallback="webhook", **TWILIO, **more, **ON_LOOPBACK))
        assert sender is not None

        assert sender.send(an_sms()) == outcome
        assert len(webhook.requests) == isinstance(outcome, Accepted)


def test_two_providers_share_the_time_of_a_try() -> None:
    began = utc_now()
    with served(answers(400)) as twilio, served(keeps_silent) as webhook:
        more = {"twilio_url": twilio.url, "webhook_url": webhook.url, "webhook_keys": KEY, "sms_timeout_seconds": 1}
        sender = sender_of(settings_of(sms="twilio", sms_fallback="webhook", **TWILIO, **more, **ON_LOOPBACK))
        assert sender is not None
        outcome = sender.send(an_sms())

    assert outcome == Retryable("the webhook did not answer: it took too long")
    assert utc_now() - began < timedelta(seconds=0.9)


def test_if_both_refuse_the_first_is_told() -> None:
    with served(answers(400, {"code": 21614})) as twilio, served(answers(422)) as webhook:
        more = {"twilio_url": twilio.url, "webhook_url": webhook.url, "webhook_keys": KEY}
        sender = sender_of(settings_of(sms="twilio", sms_fallback="webhook", **TWILIO, **more, **ON_LOOPBACK))
        assert sender is not None

        assert sender.send(an_sms()) == Permanent("Twilio answered 400 with error 21614")
