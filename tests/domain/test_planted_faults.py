"""The kit that we ship finds what is wrong with a host's adapters: each fault here is planted, and must be found."""

from __future__ import annotations

import inspect
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from humanuser import (
    Accepted,
    Authenticator,
    Caller,
    CodeOwner,
    CodeUnreadable,
    Event,
    EventStore,
    Recorded,
    Retryable,
    SequenceConflict,
    Sms,
    SmsOutcome,
    SmsSender,
    Unknown,
    VerificationCode,
)
from humanuser.testing import (
    AuthenticatorContract,
    EventStoreContract,
    Known,
    PhoneLife,
    Received,
    SmsSenderContract,
    TransparentVault,
)
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore

A_FEW_LIVES = settings(
    max_examples=100,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
"""No more than a host runs by default."""


class SoundStore(UserEventStore):
    """Ours, in memory; the faulty ones below differ from it in one thing."""

    def __init__(self) -> None:
        super().__init__(MemoryEventRecorder())
        self.chance = random.Random(7)  # noqa: S311 - the same every time

    def goes_wrong(self) -> bool:
        return self.chance.random() < 0.001


class LosesWhatItReads(SoundStore):
    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:
        return [one for one in super().load(instance_id, user_id) if not self.goes_wrong()]


class LosesWhatItReadsFromTheLog(SoundStore):
    def read_all(self, *, after: int, limit: int) -> Sequence[Recorded]:
        return [one for one in super().read_all(after=after, limit=limit) if not self.goes_wrong()]


class LosesWhatItAppends(SoundStore):
    def append(self, instance_id: str, user_id: str, events: Sequence[Event], **rest: Any) -> Sequence[Recorded]:
        kept = [event for event in events if not self.goes_wrong()]
        appended = super().append(instance_id, user_id, kept, **rest) if kept else []
        if len(kept) == len(events):
            return appended
        head = self.head()
        return [
            Recorded(
                instance_id=instance_id, user_id=user_id, sequence=rest["after"] + n, position=head + n, event=event,
                created_at=rest["created_at"], creator=rest["creator"], resource_owner=rest["resource_owner"],
            )
            for n, event in enumerate(events, 1)
        ]  # fmt: skip


class Lies(SoundStore):
    """Tells something else than it stored about one event in a thousand, and stays with it."""

    def __init__(self) -> None:
        super().__init__()
        self.lied_about: set[int] = set()

    def lie(self, recorded: Recorded) -> Recorded:
        raise NotImplementedError

    def _told(self, recorded: Sequence[Recorded]) -> Sequence[Recorded]:
        return [self.lie(one) if one.position in self.lied_about else one for one in recorded]

    def append(self, *args: Any, **rest: Any) -> Sequence[Recorded]:
        appended = super().append(*args, **rest)
        self.lied_about |= {one.position for one in appended if one.sequence > 1 and self.goes_wrong()}
        return self._told(appended)

    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:
        return self._told(super().load(instance_id, user_id))

    def find_command(self, instance_id: str, user_id: str, command_id: str) -> Sequence[Recorded]:
        return self._told(super().find_command(instance_id, user_id, command_id))

    def read_all(self, *, after: int, limit: int) -> Sequence[Recorded]:
        return self._told(super().read_all(after=after, limit=limit))


class ReusesAPosition(Lies):
    def lie(self, recorded: Recorded) -> Recorded:
        return recorded._replace(position=recorded.position - 1)


class GivesASequenceTwice(Lies):
    def lie(self, recorded: Recorded) -> Recorded:
        return recorded._replace(sequence=recorded.sequence - 1)


class TakesStaleDecisions(SoundStore):
    def append(
        self, instance_id: str, user_id: str, events: Sequence[Event], *, after: int, **rest: Any
    ) -> Sequence[Recorded]:
        try:
            return super().append(instance_id, user_id, events, after=after, **rest)
        except SequenceConflict:
            end = len(self.load(instance_id, user_id))
            return super().append(instance_id, user_id, events, after=end, **rest)


class IgnoresCommandIds(SoundStore):
    def append(self, *args: Any, command_id: str | None = None, **rest: Any) -> Sequence[Recorded]:  # noqa: ARG002
        return super().append(*args, **rest)

    def find_command(self, instance_id: str, user_id: str, command_id: str) -> Sequence[Recorded]:  # noqa: ARG002
        return []


class MixesInstancesUp(SoundStore):
    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:  # noqa: ARG002
        return [one for one in self.read_all(after=0, limit=10**6) if one.user_id == user_id]


class RoundsTime(SoundStore):
    def append(self, *args: Any, created_at: datetime, **rest: Any) -> Sequence[Recorded]:
        return super().append(*args, created_at=created_at.replace(microsecond=0), **rest)


STORES = [
    LosesWhatItReads,
    LosesWhatItReadsFromTheLog,
    LosesWhatItAppends,
    ReusesAPosition,
    GivesASequenceTwice,
    TakesStaleDecisions,
    IgnoresCommandIds,
    MixesInstancesUp,
    RoundsTime,
]


def kept_by(store: type[SoundStore]) -> EventStoreContract:
    class Contract(EventStoreContract):
        def create_store(self) -> EventStore:
            return store()

    return Contract()


def live_on(store: type[SoundStore]) -> None:
    chance = random.Random(7)  # noqa: S311 - the same every time

    class Life(PhoneLife):
        def create_store(self) -> EventStore:
            one = store()
            one.chance = chance  # of all lives together
            return one

    run_state_machine_as_test(Life, settings=A_FEW_LIVES)


@pytest.mark.parametrize("store", STORES)
def test_the_contract_finds_a_faulty_store(store: type[SoundStore], request: pytest.FixtureRequest) -> None:
    assert broken_promises(kept_by(store), request)


@pytest.mark.parametrize("store", STORES)
def test_a_life_on_a_faulty_store_fails(store: type[SoundStore]) -> None:
    with pytest.raises(
        (AssertionError, Flaky, pytest.fail.Exception)
    ):  # what happens once in a thousand times does not come again
        live_on(store)


def test_a_sound_store_keeps_the_contract_and_its_lives_go_well(request: pytest.FixtureRequest) -> None:
    assert broken_promises(kept_by(SoundStore), request) == set()
    live_on(SoundStore)


def test_a_life_needs_a_store() -> None:
    with pytest.raises(NotImplementedError):
        PhoneLife()


def test_the_vault_that_hides_nothing_still_opens_for_its_owner_alone() -> None:
    vault = TransparentVault()
    sealed = vault.seal(VerificationCode("123456"), CodeOwner("default", "ada"))

    with pytest.raises(CodeUnreadable):
        vault.open(sealed, CodeOwner("default", "bob"))


class SoundSender:
    """A counterpart in memory; the faulty ones below differ from it in one thing."""

    def __init__(self) -> None:
        self.taken: list[Received] = []
        self.broken = False

    def send(self, sms: Sms) -> SmsOutcome:
        if self.broken:
            return Retryable("not reached", timedelta(seconds=1))
        self.take(sms)
        return Accepted("id")

    def take(self, sms: Sms) -> None:
        self.taken.append((sms.message_id, sms.to.e164, sms.text))

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:
        return Accepted() if any(message_id == sms.message_id for message_id, _, _ in self.taken) else None


class DropsWhatItAccepts(SoundSender):
    def take(self, sms: Sms) -> None:
        pass


class DropsOneInTwenty(SoundSender):
    count = 0

    def take(self, sms: Sms) -> None:
        self.count += 1
        if self.count % 20:
            super().take(sms)


class SendsTwice(SoundSender):
    def take(self, sms: Sms) -> None:
        super().take(sms)
        super().take(sms)


class CutsTheText(SoundSender):
    def take(self, sms: Sms) -> None:
        super().take(replace(sms, text=sms.text[:160]))


class SpeaksASCIIAlone(SoundSender):
    def take(self, sms: Sms) -> None:
        super().take(replace(sms, text=sms.text.encode("ascii", "replace").decode()))


class HidesTheNumber(SoundSender):
    def take(self, sms: Sms) -> None:
        self.taken.append((sms.message_id, str(sms.to), sms.text))


class MakesANewId(SoundSender):
    def take(self, sms: Sms) -> None:
        super().take(replace(sms, message_id=f"{sms.message_id}-{len(self.taken)}"))


class SaysItKnowsEverySms(SoundSender):
    def look_up(self, sms: Sms) -> Accepted:  # noqa: ARG002
        return Accepted()


class RaisesWhenBroken(SoundSender):
    def send(self, sms: Sms) -> SmsOutcome:
        if self.broken:
            raise ConnectionError
        return super().send(sms)


class AcceptsWhenBroken(SoundSender):
    def send(self, sms: Sms) -> SmsOutcome:
        return Accepted() if self.broken else super().send(sms)


class ShowsTheNumber(SoundSender):
    def send(self, sms: Sms) -> SmsOutcome:
        return Retryable(f"{sms.to.e164} cannot be reached") if self.broken else super().send(sms)


class NeedsAnExpiry(SoundSender):
    def take(self, sms: Sms) -> None:
        assert sms.expires_at is not None
        super().take(sms)


SENDERS = [
    DropsWhatItAccepts,
    DropsOneInTwenty,
    SendsTwice,
    CutsTheText,
    SpeaksASCIIAlone,
    HidesTheNumber,
    MakesANewId,
    SaysItKnowsEverySms,
    RaisesWhenBroken,
    AcceptsWhenBroken,
    ShowsTheNumber,
    NeedsAnExpiry,
]


def sent_by(sender: type[SoundSender]) -> SmsSenderContract:
    class Contract(SmsSenderContract):
        def create_sender(self) -> SmsSender:
            return sender()

        def received(self, sender: SmsSender) -> Sequence[Received]:
            assert isinstance(sender, SoundSender)
            return sender.taken

        def create_broken_sender(self) -> SmsSender:
            broken = sender()
            broken.broken = True
            return broken

    return Contract()


@pytest.mark.parametrize("sender", SENDERS)
def test_the_contract_finds_a_faulty_sender(sender: type[SoundSender], request: pytest.FixtureRequest) -> None:
    assert broken_promises(sent_by(sender), request)


def test_a_sound_sender_keeps_the_contract(request: pytest.FixtureRequest) -> None:
    assert broken_promises(sent_by(SoundSender), request) == set()


def test_a_sender_that_cannot_be_broken_is_not_tested_for_it(request: pytest.FixtureRequest) -> None:
    class Contract(SmsSenderContract):
        def create_sender(self) -> SmsSender:
            return SoundSender()

        def received(self, sender: SmsSender) -> Sequence[Received]:
            assert isinstance(sender, SoundSender)
            return sender.taken

    assert broken_promises(Contract(), request) == set()


class SoundAuthenticator:
    """Knows one token; the faulty ones below differ from it in one thing."""

    def authenticate(self, token: str) -> Caller | None:
        return CALLER if self.same(token) else None

    def same(self, token: str) -> bool:
        return token == TOKEN


TOKEN = "Token-of-Ada-42"  # noqa: S105
CALLER = Caller("ada", "org1", {"org1": frozenset({"user.read"})})


class IgnoresCase(SoundAuthenticator):
    def same(self, token: str) -> bool:
        return token.lower() == TOKEN.lower()


class IgnoresSpace(SoundAuthenticator):
    def same(self, token: str) -> bool:
        return token.strip() == TOKEN


class LooksAtTheBeginning(SoundAuthenticator):
    def same(self, token: str) -> bool:
        return token.startswith(TOKEN)


class TakesABeginning(SoundAuthenticator):
    def same(self, token: str) -> bool:
        return bool(token) and TOKEN.startswith(token)


class TakesNothing(SoundAuthenticator):
    def same(self, token: str) -> bool:
        return token in ("", TOKEN)


class EndsAtNUL(SoundAuthenticator):
    def same(self, token: str) -> bool:
        return token.partition("\0")[0] == TOKEN


class NeedsValidText(SoundAuthenticator):
    def same(self, token: str) -> bool:
        return token.encode() == TOKEN.encode()


class Normalises(SoundAuthenticator):
    def same(self, token: str) -> bool:
        return unicodedata.normalize("NFKC", token) == TOKEN


class WorksOnce(SoundAuthenticator):
    used = False

    def same(self, token: str) -> bool:
        before, self.used = self.used, True
        return super().same(token) and not before


class LocksOut(SoundAuthenticator):
    failures = 0

    def same(self, token: str) -> bool:
        self.failures += token != TOKEN
        return super().same(token) and self.failures < 10


class ShowsItsToken(SoundAuthenticator):
    def __repr__(self) -> str:
        return f"ShowsItsToken({TOKEN})"


AUTHENTICATORS = [
    IgnoresCase,
    IgnoresSpace,
    LooksAtTheBeginning,
    TakesABeginning,
    TakesNothing,
    EndsAtNUL,
    NeedsValidText,
    Normalises,
    WorksOnce,
    LocksOut,
    ShowsItsToken,
]


def told_by(authenticator: type[Authenticator]) -> AuthenticatorContract:
    class Contract(AuthenticatorContract):
        def create_known(self) -> Known:
            return Known(authenticator(), TOKEN, CALLER)

    return Contract()


@pytest.mark.parametrize("authenticator", AUTHENTICATORS)
def test_the_contract_finds_a_faulty_authenticator(
    authenticator: type[Authenticator], request: pytest.FixtureRequest
) -> None:
    assert broken_promises(told_by(authenticator), request)


def test_a_sound_authenticator_keeps_the_contract(request: pytest.FixtureRequest) -> None:
    assert broken_promises(told_by(SoundAuthenticator), request) == set()


def test_a_token_that_is_its_own_near_miss_is_no_fault(request: pytest.FixtureRequest) -> None:
    class KnowsANumber(SoundAuthenticator):
        def same(self, token: str) -> bool:
            return token == "4224"  # noqa: S105

    class Contract(AuthenticatorContract):
        def create_known(self) -> Known:
            return Known(KnowsANumber(), "4224", CALLER)

    assert broken_promises(Contract(), request) == set()


def broken_promises(contract: object, request: pytest.FixtureRequest) -> set[str]:
    """The tests of *contract* that fail, run as pytest would run them."""
    broken = set()
    for name, test in inspect.getmembers(contract, inspect.ismethod):
        if name.startswith("test_"):
            for case in _cases(test):
                try:
                    test(**case, **_given(contract, set(inspect.signature(test).parameters) - set(case), request))
                except pytest.skip.Exception:
                    continue
                except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever a faulty adapter comes to
                    broken.add(name)
    return broken


def _cases(test: Any) -> Iterator[dict[str, object]]:  # Any: pytest keeps its marks on the function
    marks = [mark.args for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    for values in product(*(values for _, values in marks)):
        yield dict(zip((name for name, _ in marks), values, strict=True))


def _given(contract: object, names: set[str], request: pytest.FixtureRequest) -> dict[str, object]:
    makers = {name: getattr(contract, f"create_{name}", None) for name in names}
    return {name: maker() if maker else request.getfixturevalue(name) for name, maker in makers.items()}


def test_a_failure_shows_both_sides() -> None:
    class LosingStore(SoundStore):
        def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:
            return super().load(instance_id, user_id)[:-1]

    class Contract(EventStoreContract):
        def create_store(self) -> EventStore:
            return LosingStore()

    with pytest.raises(AssertionError, match=r"Recorded\("):
        Contract().test_what_is_appended_is_loaded_as_it_was(LosingStore())
