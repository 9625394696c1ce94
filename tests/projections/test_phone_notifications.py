"""An SMS goes out for a code that is wanted, once, to the number it was made for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from unittest.mock import Mock

import pytest

from fakes import FakeClock
from humanuser import (
    Accepted,
    By,
    CodeFormat,
    Commands,
    Event,
    HumanUserAdded,
    Misconfigured,
    NotWanted,
    Permanent,
    PhoneNumber,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerified,
    Recorded,
    Retryable,
    SealedCode,
    Sms,
    SmsOutcome,
    StoreUnavailable,
    Unknown,
    VerificationCode,
)
from humanuser.testing import AT, history
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore
from humanuser_adapters.vault import AesGcmVault, Keys
from humanuser_projections import MessageTexts, PhoneNotification, PhoneNotifier, code_expires_at, phone_notification

ADMIN = By("admin", organization="org1")
SEALED = SealedCode(crypto_type=0, algorithm="aes", key_id="key", crypted="c2VhbGVk")


@dataclass
class FakeSender:
    """Answers as it is told, and remembers what it was given."""

    outcome: SmsOutcome = field(default_factory=Accepted)
    known: Accepted | Unknown | None = None
    sent: list[Sms] = field(default_factory=list)
    meanwhile: Callable[[], object] = bool

    def send(self, sms: Sms) -> SmsOutcome:
        self.sent.append(sms)
        self.meanwhile()
        return self.outcome

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:  # noqa: ARG002
        return self.known


class World:
    """A user whose number is to be proven, and what it takes to send the code."""

    def __init__(self, vault: AesGcmVault, clock: FakeClock) -> None:
        self.store = UserEventStore(MemoryEventRecorder())
        self.commands = Commands(self.store, vault, clock, _code)
        self.sender = FakeSender()
        self.notifier = PhoneNotifier(self.store, vault, self.sender, self.commands, clock)
        profile = HumanUserAdded(user_name="ada")
        self.commands.add_human_user("user1", profile, phone="+41791234567", by=ADMIN)
        notification = phone_notification(self.store.load("default", "user1")[-1])
        assert notification is not None
        self.notification = notification

    def events(self) -> list[Event]:
        return [recorded.event for recorded in self.store.load("default", "user1")]


def _code(_: CodeFormat) -> VerificationCode:
    return VerificationCode("123456")


@pytest.fixture
def world(vault: AesGcmVault, clock: FakeClock) -> World:
    return World(vault, clock)


def test_a_new_code_calls_for_an_sms() -> None:
    (recorded,) = history(PhoneVerificationCodeAdded(code=SEALED))

    notification = phone_notification(recorded)

    assert notification == PhoneNotification(
        message_id="96929094-f653-5807-a491-a07e39848123", instance_id="default", user_id="user1", code_sequence=1
    )


def test_a_code_that_was_brought_in_from_elsewhere_calls_for_none() -> None:
    (recorded,) = history(PhoneVerificationCodeAdded(code=SEALED))

    assert phone_notification(recorded._replace(imported=True)) is None


def test_the_message_id_is_the_events_own() -> None:
    code = PhoneVerificationCodeAdded(code=SEALED)
    events = [*history(code, code), *history(code, user_id="user2")]

    ids = {notification.message_id for event in events if (notification := phone_notification(event))}

    assert len(ids) == 3


@pytest.mark.parametrize(
    "event",
    [
        PhoneVerificationCodeAdded(code=SEALED, code_returned=True),
        PhoneVerificationCodeAdded(generator_id="service"),
        PhoneVerificationCodeSent(),
        PhoneVerified(),
    ],
)
def test_nothing_else_calls_for_an_sms(event: Event) -> None:
    (recorded,) = history(event)

    assert phone_notification(recorded) is None


def test_the_code_goes_to_its_number_and_the_history_says_so(world: World) -> None:
    outcome = world.notifier.deliver(world.notification)

    (sms,) = world.sender.sent
    assert outcome == Accepted()
    assert (sms.to, sms.message_id) == (PhoneNumber("+41791234567"), world.notification.message_id)
    assert sms.text == "123456 is your code to confirm this phone number. Give it to nobody else."
    assert sms.code == VerificationCode("123456")
    assert sms.expires_at == AT + timedelta(minutes=10)
    assert world.events()[-1] == PhoneVerificationCodeSent()
    assert world.store.load("default", "user1")[-1].creator == "NOTIFICATION"


def test_what_was_sent_is_not_sent_again(world: World) -> None:
    world.notifier.deliver(world.notification)

    assert world.notifier.deliver(world.notification) is NotWanted.SENT
    assert len(world.sender.sent) == 1


@pytest.mark.parametrize(
    "outcome", [Retryable("busy"), Permanent("no such number"), Misconfigured("no account"), Unknown("no answer")]
)
def test_what_was_not_accepted_is_not_recorded_as_sent(world: World, outcome: SmsOutcome) -> None:
    world.sender.outcome = outcome

    assert world.notifier.deliver(world.notification) == outcome
    assert not isinstance(world.events()[-1], PhoneVerificationCodeSent)


def test_an_expired_code_is_not_sent(world: World, clock: FakeClock) -> None:
    clock.advance(minutes=10)

    assert world.notifier.deliver(world.notification) is NotWanted.EXPIRED
    assert world.sender.sent == []


def test_a_code_for_a_number_that_changed_is_not_sent(world: World) -> None:
    world.commands.change_phone("user1", "+41791234568", by=ADMIN)

    assert world.notifier.deliver(world.notification) is NotWanted.SUPERSEDED
    assert world.sender.sent == []


def test_after_an_interruption_the_provider_is_asked_before_it_is_sent_again(world: World) -> None:
    world.sender.known = Accepted("known")

    assert world.notifier.deliver(world.notification, interrupted=True) == Accepted("known")
    assert world.sender.sent == []
    assert world.events()[-1] == PhoneVerificationCodeSent()


def test_an_sms_that_never_arrived_is_sent_after_an_interruption(world: World) -> None:
    assert world.notifier.deliver(world.notification, interrupted=True) == Accepted()
    assert len(world.sender.sent) == 1


def test_who_has_lost_the_claim_sends_nothing(world: World) -> None:
    assert world.notifier.deliver(world.notification, still_ours=lambda: False) is None

    assert world.sender.sent == []
    assert PhoneVerificationCodeSent() not in world.events()


def test_an_sms_of_which_nobody_knows_is_not_repeated(world: World) -> None:
    world.sender.known = Unknown("cannot tell")

    assert world.notifier.deliver(world.notification, interrupted=True) == Unknown("cannot tell")
    assert world.sender.sent == []


def test_a_user_who_went_on_while_the_sms_left_is_no_error(world: World) -> None:
    world.sender.meanwhile = lambda: world.commands.remove_phone("user1", by=ADMIN)

    assert world.notifier.deliver(world.notification) == Accepted()
    assert not isinstance(world.events()[-1], PhoneVerificationCodeSent)


def test_a_code_whose_key_is_lost_waits_for_an_operator(world: World, clock: FakeClock) -> None:
    other = AesGcmVault(Keys("other", {"other": bytes(32)}))
    notifier = PhoneNotifier(world.store, other, world.sender, world.commands, clock)

    outcome = notifier.deliver(world.notification)

    assert isinstance(outcome, Misconfigured)
    assert world.sender.sent == []


def test_the_text_is_the_hosts_and_is_not_rendered_twice(world: World, vault: AesGcmVault, clock: FakeClock) -> None:
    texts = MessageTexts(templates={"en": "{code} {0} %s {{code}}"})
    notifier = PhoneNotifier(world.store, vault, world.sender, world.commands, clock, texts=texts)

    notifier.deliver(world.notification)

    assert world.sender.sent[0].text == "123456 {0} %s {123456}"


def test_the_text_is_in_the_language_of_the_user(world: World, vault: AesGcmVault, clock: FakeClock) -> None:
    texts = MessageTexts(web_otp_domain="example.com")
    notifier = PhoneNotifier(world.store, vault, world.sender, world.commands, clock, texts=texts)
    profile = HumanUserAdded(user_name="emil", preferred_language="de-CH")
    world.commands.add_human_user("user2", profile, phone="+41791234568", by=ADMIN)
    notification = phone_notification(world.store.load("default", "user2")[-1])
    assert notification is not None

    notifier.deliver(notification)

    assert world.sender.sent[0].text == (
        "123456 ist der Code zur Bestätigung dieser Telefonnummer. Bitte niemandem weitergeben.\n@example.com #123456"
    )


def test_a_store_that_is_away_leaves_the_delivery_interrupted(
    world: World, vault: AesGcmVault, clock: FakeClock
) -> None:
    class Away(UserEventStore):
        def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:  # noqa: ARG002 - the port's
            raise StoreUnavailable("away")

    notifier = PhoneNotifier(Away(MemoryEventRecorder()), vault, world.sender, world.commands, clock)

    with pytest.raises(StoreUnavailable):
        notifier.deliver(world.notification)

    assert world.sender.sent == []


@pytest.mark.parametrize("error", [ValueError("123456"), KeyError("{name}"), RuntimeError("+41791234567")])
def test_a_vault_or_a_text_of_the_host_that_raises_sends_nothing_and_tells_nothing(
    world: World, vault: AesGcmVault, clock: FakeClock, error: Exception
) -> None:
    texts = Mock(text=Mock(side_effect=error))
    broken_vault = Mock(open=Mock(side_effect=error))
    notifiers = [
        PhoneNotifier(world.store, vault, world.sender, world.commands, clock, texts=texts),
        PhoneNotifier(world.store, broken_vault, world.sender, world.commands, clock),
    ]

    outcomes = [notifier.deliver(world.notification) for notifier in notifiers]

    assert outcomes == [Misconfigured(f"the SMS cannot be composed: {type(error).__name__}")] * 2
    assert world.sender.sent == []


def test_a_text_that_is_none_is_not_sent(world: World, vault: AesGcmVault, clock: FakeClock) -> None:
    texts = Mock(text=Mock(return_value=None))

    outcome = PhoneNotifier(world.store, vault, world.sender, world.commands, clock, texts=texts).deliver(
        world.notification
    )

    assert isinstance(outcome, Misconfigured)
    assert world.sender.sent == []


def test_a_vault_that_is_away_is_tried_again(world: World, clock: FakeClock) -> None:
    vault = Mock(open=Mock(side_effect=StoreUnavailable("the key service is away")))

    with pytest.raises(StoreUnavailable):
        PhoneNotifier(world.store, vault, world.sender, world.commands, clock).deliver(world.notification)

    assert world.sender.sent == []


def test_only_a_code_expires(world: World) -> None:
    added, code = world.store.load("default", "user1")

    assert code_expires_at(code) == code.created_at + timedelta(minutes=10)
    assert code_expires_at(added) is None
