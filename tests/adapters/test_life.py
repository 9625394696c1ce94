"""Whole lives on our stores: the rules alone, and the application with SMS that fail, restarts and rebuilds."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import takewhile
from tempfile import TemporaryDirectory

import psycopg
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from fakes import store_on
from humanuser import (
    Accepted,
    By,
    Commands,
    Details,
    DomainError,
    EventStore,
    Misconfigured,
    Permanent,
    PhoneChanged,
    PhoneNumber,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerified,
    Recorded,
    Retryable,
    Sms,
    SmsOutcome,
    Unknown,
    UserRemoved,
)
from humanuser.testing import PhoneLife
from humanuser.testing.life import SHORT_TEMPERED
from humanuser.testing.life_model import Code, Key, Request
from humanuser_adapters.application import Application
from humanuser_adapters.database import Database
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore
from humanuser_adapters.outbox import LEASE, LONGEST_PAUSE, WAITING, Claim, Delivery, Outbox, OutboxWorker, State
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.read_models import UserReadModels
from humanuser_adapters.rebuild import Rebuild
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.subscription import Subscription
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys
from humanuser_projections import PhoneNotifier, UserPhone, phone_notification, user_details

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"


def lives(count: int, steps: int, *, deep: int = 500) -> settings:
    """How many lives of how many steps: these, or *deep* lives of a hundred under that profile."""
    count, steps = (deep, 100) if DEEP else (count, steps)
    return settings(PhoneLife.TestCase.settings, max_examples=count, stateful_step_count=steps)


class LifeInMemory(PhoneLife):
    def create_store(self) -> EventStore:
        return UserEventStore(MemoryEventRecorder())


class LifeOnSQLite(PhoneLife):
    database: Database

    def create_store(self) -> EventStore:
        self.folder = TemporaryDirectory(prefix="humanuser-life-")
        self.place = self.new_place()
        self.database = self.open(self.place)
        return store_on(self.database)

    def new_place(self) -> str:
        """Where a database with nothing in it can be opened."""
        return f"{self.folder.name}/{secrets.token_hex(4)}.sqlite"

    def open(self, place: str) -> Database:
        return SQLiteDatabase(place)

    def create_vault(self) -> AesGcmVault:
        return AesGcmVault(Keys("key1", {"key1": bytes(KEY_BYTES)}))

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()


class Crash(Exception):
    """The process ends here."""


ACCEPTED, REPEATABLE, FINAL, NO_WORD = "accepted", "repeatable", "final", "no word"

PLANS = [
    "accept",
    "accept and do not answer",
    "lose and do not answer",
    "later",
    "much later",
    "never",
    "not set up",
    "crash before",
    "accept and crash",
    "accept and crash before settling",
    "accept after the lease",
    "accept a code that is replaced meanwhile",
    "accept a code that is used meanwhile",
]


class Provider:
    """Takes SMS, loses them or breaks down, as it is told; and watches which SMS it is asked for."""

    def __init__(self, life: ApplicationLife) -> None:
        self.life = life
        self.plan: list[str] = []
        self.can_look_up = True
        self.accepted: list[Sms] = []
        self.in_flight: set[str] = set()
        self.asked: set[str] = set()
        self.results: dict[str, str] = {}
        """The last one, by message id."""
        self.given_up: set[str] = set()
        self.overtaken: dict[str, State] = {}
        """What another worker settled meanwhile, by message id."""

    def send(self, sms: Sms) -> SmsOutcome:
        self._may_be_sent(sms)
        self.asked.add(sms.message_id)
        self.results[sms.message_id] = NO_WORD
        plan = self.plan.pop(0) if self.plan else "accept"
        if "accept" in plan:
            self._take(sms, plan)
        match plan:
            case "accept and do not answer" | "lose and do not answer":
                self.given_up.add(sms.message_id)
                return Unknown("timeout")
            case "later" | "much later":
                self.results[sms.message_id] = REPEATABLE
                return Retryable("busy", timedelta(minutes=2) if plan == "much later" else None)
            case "never":
                self.results[sms.message_id] = FINAL
                self.given_up.add(sms.message_id)
                return Permanent("a land line")
            case "not set up":
                self.results[sms.message_id] = REPEATABLE
                return Misconfigured("no such account")
            case "crash before" | "accept and crash":
                raise Crash
            case "accept and crash before settling":
                self.life.outbox.crashes = True
            case _:
                pass
        self.results[sms.message_id] = ACCEPTED
        return Accepted("id")

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:
        self.asked.add(sms.message_id)
        assert self.results.get(sms.message_id, NO_WORD) == NO_WORD
        if not self.can_look_up or sms.message_id in self.in_flight:
            self.given_up.add(sms.message_id)
            return Unknown("nobody knows")
        if sms not in self.accepted:
            return None
        self.results[sms.message_id] = ACCEPTED
        return Accepted("found")

    def _take(self, sms: Sms, plan: str) -> None:
        """Accept *sms*, after what the plan has happen meanwhile."""
        life, key, code = self.life, *self.life.whose(sms.message_id)
        self.in_flight.add(sms.message_id)
        match plan:
            case "accept after the lease":
                life.now += LEASE + timedelta(seconds=1)
                life.send_all()
                self.overtaken |= {
                    one.notification.message_id: one.state
                    for one in life.outbox.list("default")
                    if one.notification.message_id == sms.message_id and one.state not in WAITING
                }
            case "accept a code that is replaced meanwhile":
                phone = "+41791234567" if life.model.users[key].number != "+41791234567" else "+41791234568"
                life.give(Request(command="change", key=key, by=By("admin"), phone=phone))
            case "accept a code that is used meanwhile":
                life.give(Request(command="verify", key=key, by=By(key[1]), code=code))
            case _:
                pass
        self.in_flight.discard(sms.message_id)
        self.accepted.append(sms)

    def _may_be_sent(self, sms: Sms) -> None:
        """Nothing that is used, replaced, expired, sent or returned goes out, and nothing to another number."""
        key, characters = self.life.whose(sms.message_id)
        code = self.life.model.users[key].code
        assert code is not None
        assert code.characters == characters
        assert sms.text.startswith(f"{characters} ")
        assert sms.to.e164 == code.number
        assert not code.sent
        assert not code.returned
        assert self.life.lives(code)
        assert sms.expires_at == code.added_at + self.life.policy.code_lifetime
        assert self.results.get(sms.message_id, NO_WORD) in (NO_WORD, REPEATABLE)
        assert sms not in self.accepted


class BreakableOutbox(Outbox):
    crashes = False

    def settle(self, claim: Claim, state: State, note: str = "", *, pause: timedelta = timedelta(0)) -> bool:
        if self.crashes:
            self.crashes = False
            raise Crash
        return super().settle(claim, state, note, pause=pause)


class WatchedCommands(Commands):
    """What the notifier asks for is held to the model too."""

    life: ApplicationLife

    def record_code_sent(self, user_id: str, sent: PhoneVerificationCodeSent, *, code_sequence: int, by: By) -> Details:  # noqa: ARG002
        request = Request(command="record sent", key=("default", user_id), by=by, code_sequence=code_sequence)
        answer = self.life.give(request)
        if isinstance(answer, DomainError):
            raise answer
        assert isinstance(answer, Details)
        return answer


class ApplicationLife(LifeOnSQLite):
    """Everything on one database: commands, read models, outbox and a provider, driven step by step."""

    policy = SHORT_TEMPERED.model_copy(update={"code_limits": ()})  # so that there are many SMS

    def __init__(self) -> None:
        super().__init__()
        self.provider = Provider(self)
        self._wire()

    def _wire(self) -> None:
        """What an ``Application`` does, but for the threads."""
        self.read_models = UserReadModels(self.database)
        self.outbox = BreakableOutbox(self.database, lambda _: self.now)
        self.users = Subscription("users", self.database, self.log(), self.read_models)
        self.notifications = Subscription("notifications", self.database, self.log(), self.outbox, from_now_on=True)
        commands = WatchedCommands(self.store, self.vault, lambda: self.now, self._draw, policy=self.policy)
        commands.life = self
        notifier = PhoneNotifier(self.store, self.vault, self.provider, commands, lambda: self.now)
        self.worker = OutboxWorker(self.outbox, notifier, instance_id="default", jitter=lambda: 1.0)

    def log(self) -> UserEventStore:
        return store_on(self.database)

    # What may happen, beyond the commands.

    @rule(plan=st.lists(st.sampled_from(PLANS), max_size=3), can_look_up=st.booleans())
    def sms_are_sent(self, plan: list[str], can_look_up: bool) -> None:
        self.provider.plan, self.provider.can_look_up = plan, can_look_up
        self.send_all()
        self.provider.plan = []

    @rule(
        plans=st.lists(st.sampled_from(PLANS), min_size=1, max_size=4, unique=True),
        pause=st.sampled_from([0, 20, 60]),
        can_look_up=st.booleans(),
    )
    def new_codes_are_sent_and_tried_again(self, plans: list[str], pause: int, can_look_up: bool) -> None:
        ada = ("default", "ada")
        for plan in plans:
            phone = "+41791234567" if self.model.users[ada].number != "+41791234567" else "+41791234568"
            self.give(Request(command="change", key=ada, by=By("admin"), phone=phone))
            self.sms_are_sent([plan], can_look_up)
            self.now += timedelta(seconds=pause)
            self.sms_are_sent([], can_look_up)

    @rule()
    def a_worker_dies_with_a_claim(self) -> None:
        self.notifications.catch_up()
        self.outbox.claim("default")

    @rule()
    def the_process_restarts(self) -> None:
        self.database.close()
        self.database = self.open(self.place)
        self.store = store_on(self.database)
        self._wire()

    @rule()
    def read_models_are_rebuilt(self) -> None:
        assert Rebuild(self.users, self.database, self.log(), self.read_models).run() == self.store.head()

    @rule()
    def a_user_is_read(self) -> None:
        self.users.catch_up()
        for key, user in self.model.users.items():
            found = self.read_models.find(*key)
            if not user.there:
                assert found.user is None
                continue
            assert found.user == (
                _folded_details(self.histories[key]),
                UserPhone(_number(user.number), user.verified, _number(user.last_verified)),
            )

    def teardown(self) -> None:
        try:
            self._judge_the_end()
        finally:
            super().teardown()

    # How it is judged.

    def send_all(self) -> None:
        """Send all that is due, with a new worker after every crash, and judge what became of every SMS."""
        self.notifications.catch_up()
        before = {one.notification.message_id: one for one in self.outbox.list("default")}
        wanted_before = self._wanted()
        began_at = self.now
        self.provider.asked.clear()
        while True:
            try:
                self.worker.send_due()
                break
            except Crash:
                continue
        wanted = wanted_before & self._wanted()
        for after in self.outbox.list("default"):
            message_id = after.notification.message_id
            self._judge_delivery(before.get(message_id, after), after, message_id in wanted, began_at == self.now)

    def _judge_delivery(self, before: Delivery, after: Delivery, wanted: bool, clock_stood: bool) -> None:
        message_id = after.notification.message_id
        result = self.provider.results.get(message_id)
        if before.state not in WAITING:
            assert after == before
            return
        if after.state in WAITING:
            assert after.due_at > self.now
            if clock_stood and message_id in self.provider.asked:
                assert after.due_at <= self.now + max(LONGEST_PAUSE, LEASE, timedelta(minutes=2))
        if wanted and clock_stood and before.due_at <= self.now:
            assert message_id in self.provider.asked
        assert after.state == self.provider.overtaken.get(message_id, after.state)
        match after.state:
            case State.SENT:
                assert result == ACCEPTED or self._is_recorded_as_sent(message_id)
            case State.DROPPED:
                assert not wanted
            case State.FAILED | State.UNKNOWN:
                assert message_id in self.provider.given_up
            case State.DUE | State.CLAIMED:
                pass

    def _judge_the_end(self) -> None:
        ends = [one.due_at for one in self.outbox.list("default")]  # far ahead, where the clock jumped back
        self.now = max([self.now, *ends]) + timedelta(days=2)  # all leases end, all codes expire
        self.send_all()
        assert {one.state for one in self.outbox.list("default")}.isdisjoint(WAITING)
        assert max(Counter(sms.message_id for sms in self.provider.accepted).values(), default=1) == 1
        assert self._codes().keys() == {one.notification.message_id for one in self.outbox.list("default")}
        self.a_user_is_read()
        live = [self.read_models.find(*key) for key in self.model.users]
        with Application(self.place, self.vault, clock=lambda: self.now) as application:
            assert application.deliveries() == self.outbox.list("default")
            for (instance_id, user_id), found in zip(self.model.users, live, strict=True):
                if instance_id == application.instance_id:
                    assert application.find_user(user_id) == found.user
                    assert list(application.history(user_id)) == self.histories[instance_id, user_id]
            application.rebuild()
        assert [self.read_models.find(*key) for key in self.model.users] == live
        anew = self.open(self.new_place())
        try:
            read_models = UserReadModels(anew)
            Subscription("users", anew, self.log(), read_models).catch_up()
            assert [read_models.find(*key) for key in self.model.users] == live
        finally:
            anew.close()

    def lives(self, code: Code) -> bool:
        """Whether *code* can prove its number now."""
        return abs(self.now - code.added_at) < self.policy.code_lifetime

    def whose(self, message_id: str) -> tuple[Key, str]:
        """The user and the code of an SMS."""
        recorded = self._codes()[message_id]
        return (recorded.instance_id, recorded.user_id), self._line(recorded)[1]

    def _codes(self) -> dict[str, Recorded]:
        """Every code that an SMS was to carry, by message id."""
        all_recorded = [
            recorded for (instance_id, _), history in self.histories.items() if instance_id == "default"
            for recorded in history
        ]  # fmt: skip
        return {wanted.message_id: recorded for recorded in all_recorded if (wanted := phone_notification(recorded))}

    def _wanted(self) -> set[str]:
        """The SMS that should still go out."""
        pending = {
            (key, user.code.sequence)
            for key, user in self.model.users.items()
            if user.code and not user.code.sent and self.lives(user.code)
        }
        return {
            message_id
            for message_id, recorded in self._codes().items()
            if ((recorded.instance_id, recorded.user_id), recorded.sequence) in pending
        }

    def _is_recorded_as_sent(self, message_id: str) -> bool:
        recorded = self._codes()[message_id]
        later = [one.event for one in self.histories[recorded.instance_id, recorded.user_id][recorded.sequence :]]
        ended = (PhoneChanged, PhoneVerificationCodeAdded, PhoneVerified, PhoneRemoved, UserRemoved)
        while_it_was_pending = takewhile(lambda event: not isinstance(event, ended), later)
        return any(isinstance(event, PhoneVerificationCodeSent) for event in while_it_was_pending)


def _number(text: str | None) -> PhoneNumber | None:
    return None if text is None else PhoneNumber(text)


def _folded_details(history: Sequence[Recorded]) -> Details | None:
    details = None
    for recorded in history:
        details = user_details(details, recorded)
    return details


TestLifeInMemory = LifeInMemory.TestCase
TestLifeInMemory.settings = lives(100, 30)
TestLifeOnSQLite = LifeOnSQLite.TestCase
TestLifeOnSQLite.settings = lives(25, 25)
TestApplicationLife = ApplicationLife.TestCase
TestApplicationLife.settings = lives(30, 30)


def test_the_application_lives_on_postgresql_as_it_does_on_a_file(postgresql_server: str) -> None:
    class Life(ApplicationLife):
        def new_place(self) -> str:
            schema = f"life_{secrets.token_hex(8)}"
            with psycopg.connect(postgresql_server, autocommit=True) as connection:
                connection.execute(f"CREATE SCHEMA {schema}")
            return f"{postgresql_server}&options=-csearch_path%3D{schema}"

        def open(self, place: str) -> Database:
            return PostgreSQLDatabase(place, patience=timedelta(seconds=10))

    run_state_machine_as_test(Life, settings=lives(8, 25, deep=50))
