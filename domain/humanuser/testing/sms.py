"""What every way of sending SMS must do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from humanuser.phone_number import PhoneNumber
from humanuser.ports import Accepted, Misconfigured, Permanent, Retryable, Sms, SmsOutcome, SmsSender, Unknown
from humanuser.testing.histories import AT

Received = tuple[str | None, str, str]
"""Message id (None where the counterpart is not told it), number in E.164, text."""

TEXTS = [
    "123456 is your code to confirm this phone number. Give it to nobody else.",
    "123456: dein Code für diese Nummer, gib ihn niemandem. 你的验证码 🔑",
    'two lines,\nand "quotes", \\ backslashes, {braces}, <tags> & 100 % of the rest',
    "123456 " + "long " * 100 + "end",
]


class SmsSenderContract:
    """Subclass it, give it your sender and what its counterpart saw, and pytest runs it."""

    def create_sender(self) -> SmsSender:
        """A sender whose counterpart accepts every SMS and has none yet."""
        raise NotImplementedError("the contract needs create_sender")

    def received(self, sender: SmsSender) -> Sequence[Received]:
        """Every SMS that the counterpart of *sender* took, in order."""
        raise NotImplementedError("the contract needs received")

    def create_broken_sender(self) -> SmsSender | None:
        """A sender whose counterpart cannot be reached or answers nonsense; None: there is no such case."""
        return None

    @pytest.fixture
    def sender(self) -> SmsSender:
        """The sender under test."""
        return self.create_sender()

    @pytest.mark.parametrize("text", TEXTS)
    @pytest.mark.parametrize("number", ["+41791234567", "+12015550123"])
    def test_an_accepted_sms_arrives_once_as_it_was(self, sender: SmsSender, text: str, number: str) -> None:
        outcome = sender.send(_sms(text=text, to=number))

        assert isinstance(outcome, Accepted)
        ((message_id, to, arrived),) = self.received(sender)
        assert message_id in ("message1", None)
        assert (to, arrived) == (number, text)

    def test_an_outcome_has_fields_of_the_right_types(self, sender: SmsSender) -> None:
        broken = self.create_broken_sender()

        outcomes = [one.send(_sms()) for one in (sender, broken) if one is not None]

        for outcome in outcomes:
            assert isinstance(outcome, Accepted | Retryable | Permanent | Misconfigured | Unknown)
            assert isinstance(outcome.provider_id if isinstance(outcome, Accepted) else outcome.reason, str)
            assert isinstance(outcome.retry_after if isinstance(outcome, Retryable) else None, timedelta | None)

    def test_an_sms_that_never_expires_is_sent(self, sender: SmsSender) -> None:
        sms = Sms(message_id="message1", to=PhoneNumber("+41791234567"), text="123456", expires_at=None)

        assert isinstance(sender.send(sms), Accepted)
        assert [(to, text) for _, to, text in self.received(sender)] == [("+41791234567", "123456")]

    def test_several_sms_arrive_in_order(self, sender: SmsSender) -> None:
        sent = [_sms(f"message{number}", text=f"code {number}") for number in range(20)]

        assert all(isinstance(sender.send(sms), Accepted) for sms in sent)
        assert [text for _, _, text in self.received(sender)] == [sms.text for sms in sent]
        assert _ids(self.received(sender)) in ([sms.message_id for sms in sent], [])

    def test_a_repeated_sms_has_the_same_id(self, sender: SmsSender) -> None:
        sender.send(_sms())

        assert isinstance(sender.send(_sms()), Accepted)
        arrived = self.received(sender)
        assert len(arrived) in (1, 2)  # a counterpart may tell a repetition and take it once
        assert set(_ids(arrived)) <= {"message1"}
        assert {(to, text) for _, to, text in arrived} == {("+41791234567", TEXTS[0])}

    def test_sms_of_several_threads_arrive_once_each(self, sender: SmsSender) -> None:
        sent = [_sms(f"message{number}", text=f"code {number}") for number in range(40)]

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(sender.send, sent))

        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert Counter(text for _, _, text in self.received(sender)) == Counter(sms.text for sms in sent)

    def test_what_was_sent_can_be_looked_up(self, sender: SmsSender) -> None:
        sender.send(_sms())

        assert isinstance(sender.look_up(_sms()), Accepted | Unknown | None)
        assert len(self.received(sender)) == 1

    def test_what_was_never_sent_is_not_called_accepted(self, sender: SmsSender) -> None:
        sender.send(_sms("another message"))

        assert isinstance(sender.look_up(_sms()), Unknown | None)
        assert len(self.received(sender)) == 1

    def test_an_outcome_tells_no_secret(self, sender: SmsSender) -> None:
        broken = self.create_broken_sender()

        outcomes = [one.send(_sms()) for one in (sender, broken) if one is not None]
        outcomes += [found for one in (sender, broken) if one is not None and (found := one.look_up(_sms()))]

        for outcome in outcomes:
            assert "123456" not in repr(outcome)
            assert "+41791234567" not in repr(outcome)
            assert "0791234567" not in repr(outcome)

    def test_nothing_is_logged_that_is_secret(self, sender: SmsSender, caplog: pytest.LogCaptureFixture) -> None:
        broken = self.create_broken_sender()

        with caplog.at_level(0):
            for one in (sender, broken):
                if one is not None:
                    one.send(_sms())
                    one.look_up(_sms())

        assert "123456" not in caplog.text
        assert "+41791234567" not in caplog.text

    def test_a_broken_counterpart_is_an_outcome_and_no_exception(self) -> None:
        broken = self.create_broken_sender()
        if broken is None:
            pytest.skip("there is no broken sender to test")

        for _ in range(2):
            outcome = broken.send(_sms())

            assert isinstance(outcome, Retryable | Permanent | Misconfigured | Unknown)
            assert _pause(outcome) >= timedelta(0)
            assert isinstance(broken.look_up(_sms()), Unknown | None)


def _sms(message_id: str = "message1", *, text: str = TEXTS[0], to: str = "+41791234567") -> Sms:
    return Sms(message_id=message_id, to=PhoneNumber(to), text=text, expires_at=AT + timedelta(minutes=10))


def _ids(received: Sequence[Received]) -> list[str]:
    return [message_id for message_id, _, _ in received if message_id is not None]


def _pause(outcome: SmsOutcome) -> timedelta:
    return (isinstance(outcome, Retryable) and outcome.retry_after) or timedelta(0)
