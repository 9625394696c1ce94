"""A provider that does not work is left alone, and another one may stand in: never for what the first may have sent."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import FakeClock
from humanuser import Accepted, Misconfigured, Permanent, PhoneNumber, Retryable, Sms, SmsOutcome, Unknown
from humanuser.testing import Received, SmsSenderContract
from humanuser_adapters.sms import CircuitBreaker, Failover, Paused

SMS = Sms(message_id="message1", to=PhoneNumber("+41791234567"), text="271828", expires_at=None)
BUSY = Retryable("busy")
SILENT = Unknown("no answer")
OUTCOMES: list[SmsOutcome] = [Accepted("1"), BUSY, SILENT, Permanent("no"), Misconfigured("no account")]


@dataclass
class Provider:
    """Answers as it is told, and remembers what it was given."""

    outcome: SmsOutcome = field(default_factory=Accepted)
    known: Accepted | Unknown | None = None
    sent: list[Sms] = field(default_factory=list)
    asked: int = 0

    def send(self, sms: Sms) -> SmsOutcome:
        self.sent.append(sms)
        return self.outcome

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:  # noqa: ARG002 - the port's shape
        self.asked += 1
        return self.known


def breaker_of(provider: Provider, clock: FakeClock) -> CircuitBreaker:
    return CircuitBreaker(provider, clock, failures=3, pause=timedelta(seconds=30))


class TestCircuitBreakerContract(SmsSenderContract):
    def create_sender(self) -> CircuitBreaker:
        self.provider = Provider()
        return CircuitBreaker(self.provider, FakeClock())

    def received(self, sender: object) -> list[Received]:  # noqa: ARG002 - the counterpart is the provider
        return [(sms.message_id, sms.to.e164, sms.text) for sms in self.provider.sent]

    def create_broken_sender(self) -> CircuitBreaker:
        return CircuitBreaker(Provider(BUSY), FakeClock(), failures=1)


class TestFailoverContract(SmsSenderContract):
    def create_sender(self) -> Failover:
        self.provider = Provider()
        return Failover([Provider(Misconfigured("no account")), self.provider])

    def received(self, sender: object) -> list[Received]:  # noqa: ARG002 - the counterpart is the provider
        return [(sms.message_id, sms.to.e164, sms.text) for sms in self.provider.sent]

    def create_broken_sender(self) -> Failover:
        return Failover([Provider(Permanent("no")), Provider(SILENT, known=SILENT)])


class TestCircuitBreaker:
    @pytest.mark.parametrize("outcome", OUTCOMES)
    def test_what_the_provider_says_is_told(self, clock: FakeClock, outcome: SmsOutcome) -> None:
        provider = Provider(outcome)

        assert breaker_of(provider, clock).send(SMS) == outcome
        assert provider.sent == [SMS]

    @pytest.mark.parametrize("outcome", [BUSY, SILENT])
    def test_after_failures_in_a_row_the_provider_is_not_called(self, clock: FakeClock, outcome: SmsOutcome) -> None:
        provider = Provider(outcome)
        breaker = breaker_of(provider, clock)

        outcomes = [breaker.send(SMS) for _ in range(5)]

        assert outcomes == [outcome] * 3 + [Paused("the provider is paused", timedelta(seconds=30))] * 2
        assert len(provider.sent) == 3

    def test_a_pause_is_retryable_and_says_how_long_it_lasts(self, clock: FakeClock) -> None:
        breaker = breaker_of(Provider(BUSY), clock)
        for _ in range(3):
            breaker.send(SMS)

        clock.advance(seconds=12)
        paused = breaker.send(SMS)

        assert isinstance(paused, Retryable)
        assert "paused" in paused.reason
        assert paused.retry_after == timedelta(seconds=18)

    @pytest.mark.parametrize("outcome", [Accepted(), Permanent("no"), Misconfigured("no account")])
    def test_whoever_answers_works(self, clock: FakeClock, outcome: SmsOutcome) -> None:
        provider = Provider(BUSY)
        breaker = breaker_of(provider, clock)

        for answer in (BUSY, BUSY, outcome, BUSY, BUSY, outcome):
            provider.outcome = answer
            assert breaker.send(SMS) == answer

    def test_after_the_pause_one_goes_through_and_then_all(self, clock: FakeClock) -> None:
        provider = Provider(BUSY)
        breaker = breaker_of(provider, clock)
        for _ in range(3):
            breaker.send(SMS)

        clock.advance(seconds=30)
        provider.outcome = Accepted()

        assert [breaker.send(SMS) for _ in range(4)] == [Accepted()] * 4

    def test_after_the_pause_one_goes_through_and_if_it_fails_there_is_another(self, clock: FakeClock) -> None:
        provider = Provider(BUSY)
        breaker = breaker_of(provider, clock)
        for _ in range(3):
            breaker.send(SMS)

        for pauses in range(1, 4):
            clock.advance(seconds=30)
            outcomes = [breaker.send(SMS) for _ in range(3)]
            assert [type(outcome) for outcome in outcomes] == [Retryable, Paused, Paused]
            assert len(provider.sent) == 3 + pauses

    def test_while_one_tries_the_others_wait(self, clock: FakeClock) -> None:
        entered, go_on = threading.Event(), threading.Event()

        class Slow(Provider):
            def send(self, sms: Sms) -> SmsOutcome:
                outcome = super().send(sms)
                if len(self.sent) > 3:
                    entered.set()
                    go_on.wait(5)
                return outcome

        provider = Slow(BUSY)
        breaker = breaker_of(provider, clock)
        for _ in range(3):
            breaker.send(SMS)
        clock.advance(seconds=30)
        provider.outcome = Accepted()

        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(breaker.send, SMS)
            assert entered.wait(5)
            second = breaker.send(SMS)
            go_on.set()

        assert first.result() == Accepted()
        assert isinstance(second, Paused)
        assert breaker.send(SMS) == Accepted()

    def test_one_who_tries_and_never_comes_back_holds_nobody_up_for_ever(self, clock: FakeClock) -> None:
        class Dies(Provider):
            def send(self, sms: Sms) -> SmsOutcome:
                super().send(sms)
                if len(self.sent) == 4:
                    raise SystemExit
                return self.outcome

        provider = Dies(BUSY)
        breaker = breaker_of(provider, clock)
        for _ in range(3):
            breaker.send(SMS)
        clock.advance(seconds=30)
        with pytest.raises(SystemExit):
            breaker.send(SMS)
        provider.outcome = Accepted()

        assert isinstance(breaker.send(SMS), Paused)
        clock.advance(seconds=30)
        assert breaker.send(SMS) == Accepted()

    def test_a_clock_that_jumps_back_makes_no_pause_longer(self, clock: FakeClock) -> None:
        provider = Provider(BUSY)
        breaker = breaker_of(provider, clock)
        for _ in range(3):
            breaker.send(SMS)
        provider.outcome = Accepted()

        clock.advance(hours=-5)

        assert breaker.send(SMS) == Accepted()

    def test_threads_call_a_broken_provider_no_more_than_allowed(self, clock: FakeClock) -> None:
        for _ in range(20):
            provider = Provider(BUSY)
            breaker = breaker_of(provider, clock)
            for _ in range(3):
                breaker.send(SMS)
            clock.advance(seconds=30)

            with ThreadPoolExecutor(16) as pool:
                outcomes = list(pool.map(breaker.send, [SMS] * 64))

            assert len(provider.sent) == 4
            assert sum(isinstance(outcome, Paused) for outcome in outcomes) == 63

    def test_a_pause_keeps_nobody_from_asking(self, clock: FakeClock) -> None:
        provider = Provider(BUSY, known=Accepted("1"))
        breaker = breaker_of(provider, clock)
        for _ in range(3):
            breaker.send(SMS)

        assert breaker.look_up(SMS) == Accepted("1")
        assert provider.asked == 1


class TestFailover:
    def test_the_first_who_takes_it_is_the_only_one(self) -> None:
        first, second = Provider(), Provider()

        assert Failover([first, second]).send(SMS) == Accepted()
        assert (len(first.sent), len(second.sent)) == (1, 0)

    @pytest.mark.parametrize(
        "refusal", [Permanent("no"), Misconfigured("no account"), Paused("paused", timedelta(seconds=9))]
    )
    @pytest.mark.parametrize("outcome", [Accepted("2"), BUSY, SILENT])
    def test_after_a_refusal_the_next_is_tried(self, refusal: SmsOutcome, outcome: SmsOutcome) -> None:
        first, second, third = Provider(refusal), Provider(outcome), Provider()

        assert Failover([first, second, third]).send(SMS) == outcome
        assert [len(provider.sent) for provider in (first, second, third)] == [1, 1, 0]

    @pytest.mark.parametrize("outcome", [BUSY, Retryable("busy", timedelta(seconds=9)), SILENT])
    def test_after_what_may_have_left_nobody_is_tried(self, outcome: SmsOutcome) -> None:
        second = Provider()

        assert Failover([Provider(outcome), second]).send(SMS) == outcome
        assert second.sent == []

    def test_while_the_first_is_paused_the_next_stands_in(self, clock: FakeClock) -> None:
        first, second = Provider(BUSY), Provider(Accepted("2"))
        failover = Failover([breaker_of(first, clock), second])

        outcomes = [failover.send(SMS) for _ in range(5)]
        clock.advance(seconds=30)
        first.outcome = Accepted("1")

        assert outcomes == [BUSY] * 3 + [Accepted("2")] * 2
        assert [failover.send(SMS) for _ in range(2)] == [Accepted("1")] * 2

    @pytest.mark.parametrize(
        ("refusals", "told"),
        [
            ([Permanent("first"), Permanent("second")], Permanent("first")),
            ([Permanent("first"), Misconfigured("second")], Misconfigured("second")),
            ([Permanent("first"), Paused("second")], Paused("second")),
            ([Misconfigured("first"), Permanent("second")], Misconfigured("first")),
            ([Misconfigured("first"), Paused("second")], Misconfigured("first")),
            ([Paused("first"), Permanent("second")], Paused("first")),
            ([Paused("first"), Misconfigured("second")], Paused("first")),
        ],
        ids=str,
    )
    def test_if_all_refuse_the_first_that_may_change_is_told(
        self, refusals: list[SmsOutcome], told: SmsOutcome
    ) -> None:
        assert Failover([Provider(refusal) for refusal in refusals]).send(SMS) == told

    @given(st.lists(st.sampled_from([*OUTCOMES, Paused("paused")]), min_size=1, max_size=5))
    def test_at_most_one_may_have_taken_it(self, outcomes: list[SmsOutcome]) -> None:
        providers = [Provider(outcome) for outcome in outcomes]

        told = Failover(providers).send(SMS)

        called = [provider.outcome for provider in providers if provider.sent]
        may_have_taken = [one for one in called if isinstance(one, Accepted | Unknown) or type(one) is Retryable]
        assert len(may_have_taken) <= 1
        assert not may_have_taken or may_have_taken == [told]

    def test_without_a_sender_there_is_nothing_to_hand_to(self) -> None:
        with pytest.raises(ValueError, match="no sender"):
            Failover([])

    @pytest.mark.parametrize(
        ("known", "found"),
        [
            ([None, None], None),
            ([Accepted("1"), None], Accepted("1")),
            ([None, Accepted("2")], Accepted("2")),
            ([Unknown("?"), Accepted("2")], Accepted("2")),
            ([Unknown("?"), None], Unknown("?")),
            ([None, Unknown("?")], Unknown("?")),
            ([Unknown("1?"), Unknown("2?")], Unknown("1?")),
        ],
        ids=str,
    )
    def test_all_are_asked_until_one_has_it(
        self, known: list[Accepted | Unknown | None], found: Accepted | Unknown | None
    ) -> None:
        assert Failover([Provider(known=one) for one in known]).look_up(SMS) == found


class TestMisbehaviour:
    """A provider of the host's that returns or raises anything stops nobody."""

    def test_after_an_answer_that_is_no_outcome_nobody_else_is_tried(self) -> None:
        first, second = Provider(None), Provider(Accepted())  # type: ignore[arg-type]  # the mistake

        assert isinstance(Failover([first, second]).send(SMS), Unknown)
        assert second.sent == []

    def test_a_provider_that_raises_is_paused(self, clock: FakeClock) -> None:
        provider = Mock(send=Mock(side_effect=ValueError("271828")))
        breaker = CircuitBreaker(provider, clock)

        outcomes = [breaker.send(SMS) for _ in range(6)]

        assert outcomes[:5] == [Unknown("the sender raised ValueError")] * 5
        assert isinstance(outcomes[5], Paused)
        assert provider.send.call_count == 5
