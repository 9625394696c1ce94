"""Ways for an SMS to leave the house."""

from humanuser_adapters.sms.circuit_breaker import CircuitBreaker, Paused
from humanuser_adapters.sms.console import ConsoleSms
from humanuser_adapters.sms.endpoint import Endpoint
from humanuser_adapters.sms.failover import Failover
from humanuser_adapters.sms.file import FileSms
from humanuser_adapters.sms.twilio import TwilioSms
from humanuser_adapters.sms.twilio_callback import TwilioStatus, read_twilio_callback
from humanuser_adapters.sms.webhook import WebhookSms, WebhookStyle

__all__ = [
    "CircuitBreaker",
    "ConsoleSms",
    "Endpoint",
    "Failover",
    "FileSms",
    "Paused",
    "TwilioSms",
    "TwilioStatus",
    "WebhookSms",
    "WebhookStyle",
    "read_twilio_callback",
]
