"""Twilio's own SDK beside ours: both ask for the same, understand the same, and sign the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from fakes import FakeClock
from humanuser import Accepted, Misconfigured, PhoneNumber, Sms, VerificationCode
from humanuser.testing import AT
from humanuser_adapters.sms import TwilioSms
from humanuser_adapters.sms.twilio import PAGE_SIZE
from humanuser_adapters.sms.twilio_callback import callback_url, is_from_twilio
from twilio_api import ACCOUNT, SERVICE, TOKEN, Twilio
from web import WebServer, served

NUMBER = "+41791234567"
SMS = Sms(
    message_id="message1",
    to=PhoneNumber(NUMBER),
    text="123456 is your code",
    expires_at=AT + timedelta(minutes=10),
    code=VerificationCode("123456"),
)
CALLBACK = "https://example.com/twilio"


@pytest.fixture
def server(clock: FakeClock) -> Iterator[WebServer]:
    with served(Twilio(clock)) as server:
        yield server


def ours(server: WebServer, sender: str) -> TwilioSms:
    return TwilioSms(ACCOUNT, TOKEN, sender, lambda: AT, endpoint=server.endpoint(), status_callback=CALLBACK)


def sdk(server: WebServer, token: str = TOKEN) -> Client:
    transport = TwilioHttpClient(pool_connections=False)
    client = Client(ACCOUNT, token, http_client=transport)  # type: ignore[no-untyped-call]  # it has no types
    client.api.base_url = server.url
    return client


@pytest.mark.parametrize(("sender", "named"), [("+15005550006", "from_"), (SERVICE, "messaging_service_sid")])
def test_an_sms_is_asked_for_as_the_sdk_asks(server: WebServer, sender: str, named: str) -> None:
    taken = ours(server, sender).send(SMS)
    sdk(server).messages.create(
        to=NUMBER,
        body=SMS.text,
        validity_period=600,
        content_retention="discard",
        address_retention="obfuscate",
        status_callback=callback_url(CALLBACK, SMS.message_id),
        **{named: sender},
    )

    our_request, its_request = server.requests
    assert isinstance(taken, Accepted)
    assert (our_request.method, our_request.target) == (its_request.method, its_request.target)
    assert our_request.headers["authorization"] == its_request.headers["authorization"]
    assert our_request.headers["content-type"] == its_request.headers["content-type"]
    assert sorted(parse_qsl(our_request.body.decode())) == sorted(parse_qsl(its_request.body.decode()))


def test_the_list_of_sms_is_asked_for_as_the_sdk_asks(server: WebServer) -> None:
    sender = ours(server, SERVICE)
    sent = sender.send(SMS)

    found = sender.look_up(SMS)
    listed = sdk(server).messages.list(to=NUMBER, date_sent_after=AT.date(), page_size=PAGE_SIZE, limit=PAGE_SIZE)

    _, our_request, its_request = server.requests
    our_target, its_target = urlsplit(our_request.target), urlsplit(its_request.target)
    assert (our_request.method, our_target.path) == (its_request.method, its_target.path)
    assert parse_qs(our_target.query) == parse_qs(its_target.query)
    assert sent == found == Accepted(listed[0].sid or "")
    assert (str(listed[0].status), listed[0].date_created) == ("queued", AT)


def test_who_is_not_let_in_is_told_so_in_words_that_both_understand(server: WebServer) -> None:
    with pytest.raises(TwilioRestException) as refused:
        sdk(server, token="wrong").messages.create(to=NUMBER, from_=SERVICE, body="a")  # noqa: S106 - nobody's

    endpoint = server.endpoint()
    outcome = TwilioSms(ACCOUNT, "wrong", SERVICE, lambda: AT, endpoint=endpoint).send(SMS)
    assert (refused.value.code, outcome) == (20003, Misconfigured("Twilio answered 401 with error 20003"))


@given(
    message_id=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
    fields=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4),
    base=st.sampled_from([CALLBACK, "http://example.com:8080/a?b=c", "https://example.com:443/"]),
)
def test_what_the_sdk_signs_is_twilios(message_id: str, fields: dict[str, str], base: str) -> None:
    url = callback_url(base, message_id)

    signature = RequestValidator(TOKEN).compute_signature(url, fields)  # type: ignore[no-untyped-call]  # as above

    assert is_from_twilio(url, [*fields.items()], signature, auth_token=TOKEN)
    assert not is_from_twilio(f"{url}0", [*fields.items()], signature, auth_token=TOKEN)
