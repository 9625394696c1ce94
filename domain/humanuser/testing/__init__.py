"""What proves the rules and the ports, for the tests of hosts and of this project. It needs pytest and hypothesis."""

# ruff: noqa: E402 - what is below must be imported after this
import pytest

# so that a failure shows both sides
pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("authenticator", "event_store", "life", "life_model", "sms"))
)

from humanuser.testing.authenticator import AuthenticatorContract, Known
from humanuser.testing.event_store import EventStoreContract
from humanuser.testing.histories import AT, history
from humanuser.testing.life import PhoneLife, TransparentVault
from humanuser.testing.sms import Received, SmsSenderContract
from humanuser.testing.strategies import (
    Decision,
    codes,
    codes_added,
    decisions,
    events,
    histories,
    impossible_phones,
    legal_histories,
    moments,
    phone_numbers,
    phone_texts,
    possible_phones,
    profiles,
    sealed_codes,
    typed_phones,
)

__all__ = [
    "AT",
    "AuthenticatorContract",
    "Decision",
    "EventStoreContract",
    "Known",
    "PhoneLife",
    "Received",
    "SmsSenderContract",
    "TransparentVault",
    "codes",
    "codes_added",
    "decisions",
    "events",
    "histories",
    "history",
    "impossible_phones",
    "legal_histories",
    "moments",
    "phone_numbers",
    "phone_texts",
    "possible_phones",
    "profiles",
    "sealed_codes",
    "typed_phones",
]
