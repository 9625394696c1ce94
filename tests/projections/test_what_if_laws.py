"""What holds for every history that is judged, and for lives that are judged under the policy they were lived under."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from humanuser import DomainError, EventStore, HumanUser, Policy, Recorded
from humanuser.testing import PhoneLife, histories, legal_histories, moments
from humanuser.testing.life import Answer
from humanuser.testing.life_model import Key, Request
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore
from humanuser_projections import CommandKind, past_commands, what_if
from humanuser_projections.what_if import OF_THE_POLICY

RECOMMENDED, ZITADEL = Policy.recommended(), Policy.zitadel()
ANY_NUMBER = Policy(phone=ZITADEL.phone)
WITHOUT_LIMITS = ZITADEL.model_copy(update={"code_lifetime": timedelta(days=36500)})
STRICT = Policy(code_lifetime=timedelta(minutes=1), attempts_per_code=1, failures_in_a_row=2)

ANY_HISTORY = histories() | legal_histories()
ANY_POLICY = st.sampled_from([RECOMMENDED, ZITADEL, STRICT])


class JudgedLife(PhoneLife):
    """A life whose histories are judged under its own policy in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.unclear: set[Key] = set()

    def create_store(self) -> EventStore:
        return UserEventStore(MemoryEventRecorder())

    def give(self, request: Request, *, meanwhile: Request | None = None, behind: str = "load") -> Answer:
        before = HumanUser.replay(self.histories.get(request.key, []))
        answer = super().give(request, meanwhile=meanwhile, behind=behind)
        if before.pending_code and request.command.startswith("set verified"):
            self.unclear.add(request.key)  # events do not tell it from a proof with the code that was pending
        return answer

    def teardown(self) -> None:
        for key, history in self.histories.items():
            if key not in self.unclear:
                assert [one for one in what_if(history, self.policy) if one.refusal] == []


def test_the_policy_that_was_in_force_refuses_nothing_of_the_lives_under_it() -> None:
    run_state_machine_as_test(JudgedLife, settings=settings(PhoneLife.TestCase.settings, max_examples=20))


@given(legal_histories())
def test_a_policy_without_limits_refuses_nothing_of_a_legal_history(history: list[Recorded]) -> None:
    assert [one for one in what_if(history, WITHOUT_LIMITS) if one.refusal] == []


@given(legal_histories(ANY_NUMBER))
def test_the_policy_that_was_in_force_refuses_only_codes_that_lived_longer_than_it_says(
    history: list[Recorded],
) -> None:
    assert {one.kind for one in what_if(history, ANY_NUMBER) if one.refusal} <= {CommandKind.VERIFY_PHONE}


@given(ANY_HISTORY, ANY_POLICY, moments(), moments())
def test_every_command_is_judged_once_whatever_happened(
    history: list[Recorded], policy: Policy, since: datetime, until: datetime
) -> None:
    commands = [(one.kind, one.recorded[0].sequence, one.recorded[0].created_at) for one in past_commands(history)]
    known = [one for one in commands if one[0] is not None]

    judged = [(one.kind, one.sequence, one.created_at) for one in what_if(history, policy)]
    between = [(one.kind, one.sequence, one.created_at) for one in what_if(history, policy, since=since, until=until)]

    assert judged == known
    assert between == [one for one in known if since <= one[2] < until]


@given(ANY_HISTORY, ANY_POLICY)
def test_what_follows_follows_a_refusal_of_the_policy(history: list[Recorded], policy: Policy) -> None:
    refused = [one for one in what_if(history, policy) if one.refusal is not None]

    assert not refused or not refused[0].follows
    assert all(one.follows != issubclass(one.refusal or DomainError, OF_THE_POLICY) for one in refused)


@given(ANY_HISTORY)
def test_events_of_past_commands_are_the_history(history: list[Recorded]) -> None:
    commands = list(past_commands(history))

    assert [recorded for command in commands for recorded in command.recorded] == history
    assert {len({(one.created_at, one.creator) for one in command.recorded}) for command in commands} <= {1}
