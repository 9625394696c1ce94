"""What Twilio tells later, over HTTP, is folded into the outbox and the history."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from fakes import Callers, FakeClock, eventually
from humanuser import By, HumanUserAdded, PhoneVerificationCodeSent, Sms, Unknown
from humanuser_adapters.api import PhoneService, http_app
from humanuser_adapters.api.asgi import LARGEST_MESSAGE
from humanuser_adapters.application import Application
from humanuser_adapters.cli.twilio_status import twilio_routes
from humanuser_adapters.outbox import State
from humanuser_adapters.settings import Settings, SmsChoice
from humanuser_adapters.sms.twilio_callback import callback_url
from humanuser_adapters.vault import AesGcmVault
from twilio_api import ACCOUNT, TOKEN

URL = "https://login.example.com/hooks/twilio?tenant=1"
SID = "SM0123456789abcdef0123456789abcdef"
SETTINGS = Settings(
    sms=SmsChoice.TWILIO,
    twilio_account_sid=ACCOUNT,
    twilio_auth_token=SecretStr(TOKEN),
    twilio_from="Acme",
    twilio_status_url=URL,
)


class NeverSure:
    """A provider that takes each SMS, and of which nobody hears."""

    def send(self, _: Sms) -> Unknown:
        return Unknown("it did not answer")

    look_up = send


class World:
    def __init__(self, application: Application) -> None:
        self.application = application
        service = PhoneService(application.commands, application.find_user, application.new_user_id)
        routes = twilio_routes(SETTINGS, application.sms_reported)
        self.client = TestClient(http_app(service, Callers(), routes=routes))

    def message_id(self) -> str:
        (delivery,) = self.application.deliveries()
        return delivery.notification.message_id

    def tell(self, status: str, *, signed_with: str = TOKEN, message_id: str = "") -> int:
        """What Twilio would do, behind a proxy that has a name and a scheme of its own; the answer's status."""
        url = callback_url(URL, message_id or self.message_id())
        fields = {"MessageSid": SID, "MessageStatus": status}
        text = url + "".join(name + fields[name] for name in sorted(fields))
        signature = base64.b64encode(hmac.new(signed_with.encode(), text.encode(), hashlib.sha1).digest()).decode()
        answer = self.client.post(
            url.removeprefix("https://login.example.com"),
            content=urlencode(fields),
            headers={"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"},
        )
        return answer.status_code

    def seen(self) -> tuple[State, str, int]:
        """The state of the only SMS, the note on it, and how often the history says that it was sent."""
        (delivery,) = self.application.deliveries()
        events = [one.event for one in self.application.history("ada")]
        return delivery.state, delivery.note, sum(isinstance(event, PhoneVerificationCodeSent) for event in events)


@pytest.fixture
def world(tmp_path: Path, vault: AesGcmVault) -> World:
    """Nobody knows whether Ada's SMS has left."""
    application = Application(tmp_path / "test.sqlite", vault, sender=NeverSure(), clock=FakeClock())
    application.commands.add_human_user(
        "ada", HumanUserAdded(user_name="ada"), phone="+41791234567", by=By("admin", "org1")
    )
    world = World(application)
    application.start()
    assert eventually(lambda: application.deliveries()[0].note == "it did not answer")
    application.stop()
    return world


def test_what_was_delivered_is_known_to_be_sent(world: World) -> None:
    assert [world.tell("delivered"), world.tell("sent"), world.tell("delivered")] == [204] * 3

    assert world.seen() == (State.SENT, SID, 1)


def test_what_was_not_delivered_is_known_to_have_failed_whatever_comes_late(world: World) -> None:
    assert [world.tell("sent"), world.tell("undelivered"), world.tell("sent")] == [204] * 3

    assert world.seen() == (State.FAILED, "Twilio says undelivered", 1)


def test_a_word_that_nobody_knows_changes_nothing(world: World) -> None:
    before = world.seen()

    assert world.tell("teleported") == 204

    assert world.seen() == before


def test_nobody_but_twilio_is_believed(world: World) -> None:
    before = world.seen()

    assert world.tell("delivered", signed_with="another") == 403

    assert world.seen() == before


def test_an_sms_that_is_none_of_ours_is_passed_over(world: World) -> None:
    assert world.tell("delivered", message_id="another") == 204


def test_a_body_without_end_is_not_read(world: World) -> None:
    answer = world.client.post("/hooks/twilio", content=b"a" * (LARGEST_MESSAGE + 1))

    assert answer.status_code == 429


@pytest.mark.parametrize("without", ["twilio_status_url", "twilio_auth_token", "sms"])
def test_without_twilio_there_is_no_such_place(application: Application, without: str) -> None:
    settings = SETTINGS.model_copy(update={without: None})

    assert twilio_routes(settings, application.sms_reported) == []
