"""The kit that we ship finds what is wrong with a host's adapters: each fault here is planted, and must be found."""

from __future__ import annotations

import inspect
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
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
    EventStore,
    NewEvents,
    Recorded,
    Retryable,
    SequenceConflict,
    Sms,
    SmsOutcome,
    SmsSender,
    StoredCommand,
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
    def append(self, new: NewEvents) -> StoredCommand:
        kept = [event for event in new.events if not self.goes_wrong()]
        if len(kept) == len(new.events):
            return super().append(new)
        if kept:
            super().append(replace(new, events=kept))
        return StoredCommand(_decided(new, head=self.head()), new.fingerprint)


class Lies(SoundStore):
    """Tells something else than it stored about one event in a thousand, and stays with it."""

    def __init__(self) -> None:
        super().__init__()
        self.lied_about: set[int] = set()

    def lie(self, recorded: Recorded) -> Recorded:
        raise NotImplementedError

    def _told(self, recorded: Sequence[Recorded]) -> Sequence[Recorded]:
        return [self.lie(one) if one.position in self.lied_about else one for one in recorded]

    def append(self, new: NewEvents) -> StoredCommand:
        stored = super().append(new)
        self.lied_about |= {one.position for one in stored.recorded if one.sequence > 1 and self.goes_wrong()}
        return replace(stored, recorded=self._told(stored.recorded))

    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:
        return self._told(super().load(instance_id, user_id))

    def find_command(self, instance_id: str, command_id: str) -> StoredCommand | None:
        found = super().find_command(instance_id, command_id)
        return found and replace(found, recorded=self._told(found.recorded))

    def read_all(self, *, after: int, limit: int) -> Sequence[Recorded]:
        return self._told(super().read_all(after=after, limit=limit))


class ReusesAPosition(Lies):
    def lie(self, recorded: Recorded) -> Recorded:
        return recorded._replace(position=recorded.position - 1)


class GivesASequenceTwice(Lies):
    def lie(self, recorded: Recorded) -> Recorded:
        return recorded._replace(sequence=recorded.sequence - 1)


class TakesStaleDecisions(SoundStore):
    def append(self, new: NewEvents) -> StoredCommand:
        try:
            return super().append(new)
        except SequenceConflict:
            return super().append(replace(new, after=len(self.load(new.instance_id, new.user_id))))


class IgnoresCommandIds(SoundStore):
    def append(self, new: NewEvents) -> StoredCommand:
        return super().append(replace(new, command_id=None))

    def find_command(self, instance_id: str, command_id: str) -> StoredCommand | None:  # noqa: ARG002
        return None


class AnswersARepetitionWithWhatItDecided(SoundStore):
    """At once, that is: what was stored before is found."""

    def append(self, new: NewEvents) -> StoredCommand:
        stored = super().append(new)
        return replace(stored, recorded=_decided(new, head=stored.recorded[0].position - 1))


class KnowsCommandIdsOfOneUserOnly(SoundStore):
    def append(self, new: NewEvents) -> StoredCommand:
        ours = new.command_id and f"{new.user_id} {new.command_id}"
        return super().append(replace(new, command_id=ours))

    def find_command(self, instance_id: str, command_id: str) -> StoredCommand | None:
        found = [
            super(KnowsCommandIdsOfOneUserOnly, self).find_command(instance_id, f"{user_id} {command_id}")
            for user_id in self.user_ids(instance_id, limit=100)
        ]
        return next(filter(None, found), None)


class ForgetsFingerprints(SoundStore):
    def append(self, new: NewEvents) -> StoredCommand:
        return super().append(replace(new, fingerprint=None))


class TakesTheLastFingerprint(SoundStore):
    def append(self, new: NewEvents) -> StoredCommand:
        return replace(super().append(new), fingerprint=new.fingerprint)


class MixesInstancesUp(SoundStore):
    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:  # noqa: ARG002
        return [one for one in self.read_all(after=0, limit=10**6) if one.user_id == user_id]


class RoundsTime(SoundStore):
    def append(self, new: NewEvents) -> StoredCommand:
        return super().append(replace(new, created_at=new.created_at.replace(microsecond=0)))


STORES = [
    LosesWhatItReads,
    LosesWhatItReadsFromTheLog,
    LosesWhatItAppends,
    ReusesAPosition,
    GivesASequenceTwice,
    TakesStaleDecisions,
    IgnoresCommandIds,
    AnswersARepetitionWithWhatItDecided,
    KnowsCommandIdsOfOneUserOnly,
    ForgetsFingerprints,
    TakesTheLastFingerprint,
    MixesInstancesUp,
    RoundsTime,
]


SELDOM_IN_A_LIFE = (AnswersARepetitionWithWhatItDecided, KnowsCommandIdsOfOneUserOnly)
"""It takes a repetition between two calls of the store; the contract has it every time."""


def _decided(new: NewEvents, *, head: int) -> Sequence[Recorded]:
    """*new* as if it were stored behind the position *head*."""
    return [
        Recorded(
            instance_id=new.instance_id, user_id=new.user_id, sequence=new.after + n, position=head + n, event=event,
            created_at=new.created_at, creator=new.creator, resource_owner=new.resource_owner,
        )
        for n, event in enumerate(new.events, 1)
    ]  # fmt: skip


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


@pytest.mark.parametrize("store", [store for store in STORES if store not in SELDOM_IN_A_LIFE])
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
