"""The way for an SMS to leave that the settings choose."""

from __future__ import annotations

from datetime import timedelta

from pydantic import SecretStr

from humanuser import Clock, SmsSender
from humanuser_adapters.application import utc_now
from humanuser_adapters.send_budget import Scope, SendLimit, SmsBudget
from humanuser_adapters.settings import PROVIDERS, Settings, SmsChoice
from humanuser_adapters.sms import CircuitBreaker, ConsoleSms, Endpoint, Failover, FileSms, TwilioSms, WebhookSms
from humanuser_adapters.telemetry import MeasuredSms, Telemetry
from humanuser_adapters.vault import Keys


def sender_of(settings: Settings, telemetry: Telemetry | None = None, clock: Clock = utc_now) -> SmsSender | None:
    """A sender whose providers *telemetry* measures; None: nothing is sent.

    Raises ``ValueError`` for what no provider takes, ``OSError`` for no policy.
    """
    choices = (settings.sms, settings.sms_fallback)
    share = sum(choice in PROVIDERS for choice in choices)
    senders = [sender for choice in choices if (sender := _sender(choice, settings, share, clock, telemetry))]
    return Failover(senders) if len(senders) > 1 else next(iter(senders), None)


def budget_of(settings: Settings, keys: Keys) -> SmsBudget:
    """How many SMS may be sent."""
    limits = (
        (Scope.NUMBER, settings.sms_per_number_a_day, timedelta(days=1)),
        (Scope.RANGE, settings.sms_per_range_an_hour, timedelta(hours=1)),
        (Scope.COUNTRY, settings.sms_per_country_an_hour, timedelta(hours=1)),
    )
    return SmsBudget(
        [SendLimit(scope, count, within) for scope, count, within in limits if count], keys.derived("sms budget")
    )


def _sender(
    choice: SmsChoice, settings: Settings, share: int, clock: Clock, telemetry: Telemetry | None
) -> SmsSender | None:
    provider = _provider(choice, settings, share, clock)
    if provider is None:
        return None
    measured = MeasuredSms(provider, choice.value, telemetry)
    return CircuitBreaker(measured, clock) if choice in PROVIDERS else measured


def _provider(choice: SmsChoice, settings: Settings, share: int, clock: Clock) -> SmsSender | None:
    match choice:
        case SmsChoice.NONE:
            return None
        case SmsChoice.CONSOLE:
            return ConsoleSms()
        case SmsChoice.FILE:
            return FileSms(settings.sms_file)
        case SmsChoice.TWILIO:
            return _twilio(settings, share, clock)
        case SmsChoice.WEBHOOK:
            return _webhook(settings, share, clock)


def _twilio(settings: Settings, share: int, clock: Clock) -> TwilioSms:
    return TwilioSms(
        settings.twilio_account_sid or "",
        _secret(settings.twilio_auth_token),
        settings.twilio_from or "",
        clock,
        endpoint=_endpoint(settings.twilio_url, settings, share),
        status_callback=settings.twilio_status_url or "",
        redact=settings.twilio_redact,
        code_lifetime=settings.read_policy().code_lifetime,
    )


def _webhook(settings: Settings, share: int, clock: Clock) -> WebhookSms:
    keys = _secret(settings.webhook_keys).split(",")
    endpoint = _endpoint(settings.webhook_url or "", settings, share)
    return WebhookSms(endpoint, keys, clock, style=settings.webhook_style)


def _endpoint(url: str, settings: Settings, share: int) -> Endpoint:
    """A place that has a *share*-th of the time for a try."""
    return Endpoint(
        url,
        timeout=timedelta(seconds=settings.sms_timeout_seconds) / share,
        allow_http=settings.sms_allow_http,
        allow_private=settings.sms_allow_private,
    )


def _secret(setting: SecretStr | None) -> str:
    return setting.get_secret_value() if setting else ""
