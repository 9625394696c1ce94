"""How many SMS may go to one number, one range and one country."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from unittest.mock import Mock

import pytest

from fakes import FakeClock
from humanuser import (
    Accepted,
    Misconfigured,
    Permanent,
    PhoneNumber,
    Retryable,
    Sms,
    SmsOutcome,
    StoreUnavailable,
    Unknown,
)
from humanuser_adapters.cli.senders import budget_of
from humanuser_adapters.database import Database
from humanuser_adapters.send_budget import BudgetedSms, Scope, SendLimit, SmsBudget
from humanuser_adapters.settings import Settings
from humanuser_adapters.vault import KEY_BYTES, Keys

HOUR = timedelta(hours=1)
NUMBER, NEIGHBOUR, STRANGER, ABROAD = (
    PhoneNumber(e164) for e164 in ("+41791234567", "+41791234999", "+41781234567", "+12015550123")
)


class Sender:
    """Answers as it is told, and remembers what it was given."""

    def __init__(self) -> None:
        self.outcome: SmsOutcome = Accepted()
        self.sent: list[PhoneNumber] = []

    def send(self, sms: Sms) -> SmsOutcome:
        self.sent.append(sms.to)
        return self.outcome

    def look_up(self, sms: Sms) -> Unknown:  # noqa: ARG002 - the port's
        return Unknown("cannot be asked")


class World:
    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database = database
        self.clock = clock
        self.sender = Sender()

    def budget(self, *limits: SendLimit, key: bytes = b"key") -> BudgetedSms:
        return BudgetedSms(self.sender, self.database, SmsBudget(limits, key), now=lambda _: self.clock())


@pytest.fixture
def world(any_database: Database, clock: FakeClock) -> World:
    return World(any_database, clock)


def sms_to(number: PhoneNumber) -> Sms:
    return Sms(message_id="m", to=number, text="t", expires_at=None)


@pytest.mark.parametrize(
    ("scope", "stopped", "free"),
    [
        (Scope.NUMBER, NUMBER, NEIGHBOUR),
        (Scope.RANGE, NEIGHBOUR, STRANGER),
        (Scope.COUNTRY, STRANGER, ABROAD),
    ],
)
def test_what_is_over_the_limit_of_its_scope_waits_for_the_next_span(
    world: World, scope: Scope, stopped: PhoneNumber, free: PhoneNumber
) -> None:
    budget = world.budget(SendLimit(scope, 2, HOUR))
    world.clock.advance(minutes=20)
    begin = world.clock.now.minute

    first = [budget.send(sms_to(NUMBER)) for _ in range(2)]
    over = budget.send(sms_to(stopped))
    elsewhere = budget.send(sms_to(free))
    world.clock.now += HOUR
    later = budget.send(sms_to(stopped))

    assert first == [Accepted()] * 2
    assert over == Retryable(
        f"the budget of 2 SMS in 1:00:00 for one {scope} is used up", timedelta(minutes=60 - begin)
    )
    assert (elsewhere, later) == (Accepted(), Accepted())
    assert world.sender.sent == [NUMBER, NUMBER, free, stopped]


def test_a_limit_that_is_reached_uses_up_no_other(world: World) -> None:
    budget = world.budget(SendLimit(Scope.COUNTRY, 2, HOUR), SendLimit(Scope.NUMBER, 1, HOUR))

    outcomes = [budget.send(sms_to(number)) for number in (NUMBER, NUMBER, NUMBER, STRANGER)]

    assert [type(outcome) for outcome in outcomes] == [Accepted, Retryable, Retryable, Accepted]


@pytest.mark.parametrize("outcome", [Retryable("busy"), Permanent("never"), Misconfigured("no account")])
def test_what_was_not_sent_costs_nothing(world: World, outcome: SmsOutcome) -> None:
    budget = world.budget(SendLimit(Scope.NUMBER, 1, HOUR))
    world.sender.outcome = outcome
    assert budget.send(sms_to(NUMBER)) == outcome

    world.sender.outcome = Accepted()

    assert budget.send(sms_to(NUMBER)) == Accepted()


def test_what_may_have_been_sent_counts(world: World) -> None:
    budget = world.budget(SendLimit(Scope.NUMBER, 1, HOUR))
    world.sender.outcome = Unknown("no answer")
    budget.send(sms_to(NUMBER))

    assert isinstance(budget.send(sms_to(NUMBER)), Retryable)
    assert budget.look_up(sms_to(NUMBER)) == Unknown("cannot be asked")


def test_numbers_that_an_older_system_left_and_that_are_none_share_a_country(world: World) -> None:
    budget = world.budget(SendLimit(Scope.COUNTRY, 1, HOUR))

    outcomes = [budget.send(sms_to(PhoneNumber(text))) for text in ("0791234567", "none")]

    assert [type(outcome) for outcome in outcomes] == [Accepted, Retryable]


def test_without_its_table_nothing_leaves_and_no_error_either(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = world.budget(SendLimit(Scope.NUMBER, 1, HOUR))
    monkeypatch.setattr(world.database, "write", Mock(side_effect=StoreUnavailable("away")))

    assert isinstance(budget.send(sms_to(NUMBER)), Retryable)
    assert world.sender.sent == []


def test_what_was_refused_is_told_also_if_the_budget_cannot_get_it_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = world.budget(SendLimit(Scope.NUMBER, 1, HOUR))
    world.sender.outcome = Permanent("never")
    monkeypatch.setattr(budget, "_give_back", Mock(side_effect=StoreUnavailable("away")))

    assert budget.send(sms_to(NUMBER)) == Permanent("never")


def test_many_at_once_do_not_get_beyond_the_limit(world: World) -> None:
    budget = world.budget(SendLimit(Scope.RANGE, 5, HOUR))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: budget.send(sms_to(NUMBER)), range(30)))

    assert len(world.sender.sent) == 5


def test_the_table_holds_no_number_and_nothing_that_is_over(world: World) -> None:
    budget = world.budget(SendLimit(Scope.NUMBER, 1, HOUR), SendLimit(Scope.RANGE, 5, HOUR))
    budget.send(sms_to(NUMBER))
    world.clock.now += 2 * HOUR
    budget.send(sms_to(STRANGER))

    with world.database.read() as connection:
        rows = connection.execute("SELECT * FROM humanuser_sms_budget").fetchall()

    assert len(rows) == 2
    assert "4178" not in str(rows)


def test_who_knows_the_key_alone_can_count_on(world: World) -> None:
    world.budget(SendLimit(Scope.NUMBER, 1, HOUR)).send(sms_to(NUMBER))

    assert world.budget(SendLimit(Scope.NUMBER, 1, HOUR), key=b"another").send(sms_to(NUMBER)) == Accepted()


def test_a_used_up_budget_is_reported_without_the_number(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    budget = world.budget(SendLimit(Scope.COUNTRY, 1, HOUR))
    budget.send(sms_to(NUMBER))
    budget.send(sms_to(NUMBER))

    assert "for one country is used up for +41" in caplog.text
    assert "4179" not in caplog.text


@pytest.mark.parametrize(("count", "within"), [(0, HOUR), (1, timedelta(0))])
def test_a_limit_of_nothing_is_none(count: int, within: timedelta) -> None:
    with pytest.raises(ValueError, match="above zero"):
        SendLimit(Scope.NUMBER, count, within)


def test_what_is_no_outcome_counts_because_it_may_have_been_sent(world: World) -> None:
    budget = world.budget(SendLimit(Scope.NUMBER, 1, HOUR))
    world.sender.outcome = None  # type: ignore[assignment]  # as a host may forget to return one

    outcomes = [budget.send(sms_to(NUMBER)) for _ in range(2)]

    assert [type(outcome) for outcome in outcomes] == [Unknown, Retryable]
    assert len(world.sender.sent) == 1


def test_without_a_key_all_processes_on_a_database_share_one(world: World) -> None:
    limits = [SendLimit(Scope.NUMBER, 1, HOUR)]
    first, second = (
        BudgetedSms(world.sender, world.database, SmsBudget(limits), now=lambda _: world.clock()) for _ in range(2)
    )

    outcomes = [budget.send(sms_to(NUMBER)) for budget in (first, second)]

    assert [type(outcome) for outcome in outcomes] == [Accepted, Retryable]


def test_the_default_of_a_host_is_the_one_of_the_server() -> None:
    keys = Keys("key1", {"key1": bytes(KEY_BYTES)})

    assert tuple(budget_of(Settings(), keys).limits) == tuple(SmsBudget().limits)
