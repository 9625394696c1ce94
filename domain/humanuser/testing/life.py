"""The lives of a few users, in any order that Hypothesis thinks of, on a host's own store."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from humanuser.commands import DECISIONS, By, Commands
from humanuser.details import Details, PhoneSet
from humanuser.errors import CodeUnreadable, DomainError, LimitReached, SequenceConflict, TooMuchContention
from humanuser.events import (
    Event,
    HumanUserAdded,
    InitialisationCodeAdded,
    PhoneChanged,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerificationCodeSent,
    PhoneVerificationFailed,
    PhoneVerified,
    Recorded,
    UnknownEvent,
    UserDeactivated,
    UserInitialised,
    UserLocked,
    UserReactivated,
    UserRemoved,
    UserUnlocked,
)
from humanuser.human_user import HumanUser, PendingCode
from humanuser.policy import CodeLimit, Policy
from humanuser.ports import CodeVault, EventStore, NewEvents, StoredCommand
from humanuser.testing.histories import AT
from humanuser.testing.life_model import (
    DRAWN,
    NO_NUMBERS,
    NUMBERS,
    Done,
    Forbidden,
    Key,
    Line,
    Model,
    ModelUser,
    Request,
    Verdict,
)
from humanuser.verification_code import CodeFormat, CodeOwner, SealedCode, VerificationCode

SHORT_TEMPERED = Policy(
    attempts_per_code=3,
    failures_in_a_row=5,
    code_limits=(CodeLimit(count=3, within=timedelta(minutes=10)), CodeLimit(count=6, within=timedelta(days=1))),
)
"""The recommended policy with limits that a short life reaches."""

ADA, BOB, ADA_ELSEWHERE = ("default", "ada"), ("default", "bob"), ("other", "ada")
SPANS = [timedelta(seconds=s) for s in (1, 30, 59.999999, 60, 240, 599.999999, 600, 3600, 86400, -1, -60, -600, -86400)]
PAGE = 20

SET = ["change", "set verified", "set by v2", "set verified by v2"]
RENEW = ["ask for a code", "resend by v2"]
VERIFY = ["verify", "verify by v2"]
REMOVE = ["remove", "remove by v2"]

BEHIND = ["load", "find_command"]
"""The calls of the store between which a repetition can come."""

SOMETHING_ELSE: list[Event] = [
    UnknownEvent("user.human.email.changed", b"{}"),
    InitialisationCodeAdded(),
    UserInitialised(),
    UserLocked(),
    UserUnlocked(),
    UserDeactivated(),
    UserReactivated(),
]

Answer = Details | PhoneSet | DomainError

keys = st.sampled_from([ADA, ADA, ADA, BOB, ADA_ELSEWHERE])
phones = st.sampled_from([*NUMBERS, *NUMBERS, *NUMBERS, *NO_NUMBERS])
organizations = st.sampled_from(["org1", "org1", "org1", "org1", "", "", "org2"])
command_ids = st.sampled_from([None, None, None, None, None, "command1", "command2", "command3"])
permissions = st.sampled_from([True, True, False])


class TransparentVault:
    """No vault at all: it seals nothing and hides nothing. For tests that are about something else."""

    def seal(self, code: VerificationCode, owner: CodeOwner) -> SealedCode:
        text = "\0".join((owner.instance_id, owner.user_id, code.characters))
        return SealedCode(algorithm="none", key_id="none", crypted=base64.b64encode(text.encode()).decode())

    def open(self, sealed: SealedCode, owner: CodeOwner) -> VerificationCode:
        *whose, characters = base64.b64decode(sealed.crypted).decode().split("\0")
        if whose != [owner.instance_id, owner.user_id]:
            raise CodeUnreadable("another user's")
        return VerificationCode(characters)

    def fingerprint(self, request: bytes) -> str:
        return hashlib.sha256(request).hexdigest()

    def is_fingerprint(self, fingerprint: str, request: bytes) -> bool:
        return fingerprint == self.fingerprint(request)


class PhoneLife(RuleBasedStateMachine):
    """Gives commands in any order and holds every answer, every stored event and every state to a small model.

    Subclass it, give it your store, and name its ``TestCase`` so that pytest finds it. ``teardown`` is the place to
    close what ``create_store`` opened.
    """

    policy = SHORT_TEMPERED
    """Its phone rules must be the recommended ones."""

    def create_store(self) -> EventStore:
        """A store with nothing in it, for one life."""
        raise NotImplementedError

    def create_vault(self) -> CodeVault:
        """A vault, for one life."""
        return TransparentVault()

    def __init__(self) -> None:
        super().__init__()
        self.now = AT
        self.store = self.create_store()
        self.vault = self.create_vault()
        self.model = Model(self.policy, {key: ModelUser() for key in (ADA, BOB, ADA_ELSEWHERE)})
        self.histories: dict[Key, list[Recorded]] = {key: [] for key in self.model.users}
        self.stored_commands: dict[Key, list[Recorded]] = {}
        self.drawn: list[str] = []
        self.last_request: Request | None = None

    # What may happen.

    @initialize(phone=st.sampled_from(["", *NUMBERS]), verified=st.booleans(), others=st.booleans())
    def begin(self, phone: str, verified: bool, others: bool) -> None:
        for key in (ADA, BOB, ADA_ELSEWHERE) if others else (ADA,):
            self.give(Request(command="add", key=key, by=By("admin", "org1"), phone=phone, verified=verified))

    @rule(key=keys, phone=phones, verified=st.booleans(), organization=organizations, command_id=command_ids)
    def add(self, key: Key, phone: str, verified: bool, organization: str, command_id: str | None) -> None:
        by = By("admin", organization, command_id)
        self.give(Request(command="add", key=key, by=by, phone=phone, verified=verified))

    @rule(
        key=keys, phone=phones, command=st.sampled_from(["change", "set verified"]), by_user=st.booleans(),
        organization=organizations, command_id=command_ids,
    )  # fmt: skip
    def change(
        self, key: Key, phone: str, command: str, by_user: bool, organization: str, command_id: str | None
    ) -> None:
        by = By(key[1] if by_user else "admin", organization, command_id)
        self.give(Request(command=command, key=key, by=by, phone=phone))

    @rule(
        key=keys, phone=phones, command=st.sampled_from(["set by v2", "set verified by v2", "resend by v2"]),
        by_user=st.booleans(), return_code=st.booleans(), permitted=permissions, organization=organizations,
        command_id=command_ids,
    )  # fmt: skip
    def change_or_renew_by_v2(
        self,
        key: Key,
        phone: str,
        command: str,
        by_user: bool,
        return_code: bool,
        permitted: bool,
        organization: str,
        command_id: str | None,
    ) -> None:
        by = By(key[1] if by_user else "admin", organization, command_id)
        self.give(Request(command=command, key=key, by=by, phone=phone, return_code=return_code, permitted=permitted))

    @rule(key=keys, command=st.sampled_from(VERIFY))
    def verify_with_the_right_code(self, key: Key, command: str) -> None:
        self.give(Request(command=command, key=key, by=By(key[1]), code=self._right_code(key)))

    @rule(key=keys, command=st.sampled_from(VERIFY), permitted=permissions)
    def another_brings_the_right_code(self, key: Key, command: str, permitted: bool) -> None:
        self._have_a_code(key)
        code = self._right_code(key)
        self.give(Request(command=command, key=key, by=By("admin"), code=code, permitted=permitted))

    @rule(key=keys, command=st.sampled_from(VERIFY), data=st.data(), organization=organizations, command_id=command_ids)
    def verify_with_another_code(
        self, key: Key, command: str, data: st.DataObject, organization: str, command_id: str | None
    ) -> None:
        right = self._right_code(key)
        wrong = ["", "000000", "0", right + "0", right[:-1], f" {right}", f"{right}\n", "\ud800", "٣" * 6, right]
        code = data.draw(st.sampled_from([*wrong, *self.drawn[-5:]]))  # an older one, or another user's
        self.give(Request(command=command, key=key, by=By(key[1], organization, command_id), code=code))

    @rule(key=keys, by_user=st.booleans(), organization=organizations, command_id=command_ids)
    def ask_for_a_code(self, key: Key, by_user: bool, organization: str, command_id: str | None) -> None:
        by = By(key[1] if by_user else "admin", organization, command_id)
        self.give(Request(command="ask for a code", key=key, by=by))

    @rule(
        key=keys,
        command=st.sampled_from(VERIFY),
        factor=st.sampled_from([-1, 1]),
        microseconds=st.sampled_from([-1, 0]),
    )
    def verify_at_the_end_of_the_codes_life(self, key: Key, command: str, factor: int, microseconds: int) -> None:
        self._have_a_code(key)
        self.now += factor * (self.policy.code_lifetime + timedelta(microseconds=microseconds))
        self.verify_with_the_right_code(key, command)

    @rule(key=keys, data=st.data())
    def a_command_id_comes_again_with_something_else(self, key: Key, data: st.DataObject) -> None:
        request = data.draw(self._requests(key))
        command_id = data.draw(st.sampled_from(sorted({used for _, used in self.model.commands}) or ["command1"]))
        self.give(replace(request, by=replace(request.by, command_id=command_id)))

    @rule(key=keys, commands=st.lists(st.sampled_from(VERIFY), min_size=1, max_size=4))
    def guess_several_times(self, key: Key, commands: list[str]) -> None:
        self._have_a_code(key)
        for number, command in enumerate(commands):
            self.give(Request(command=command, key=key, by=By(key[1]), code=f"guess{number}"))

    @rule(
        key=keys,
        command=st.sampled_from(RENEW),
        pauses=st.lists(st.sampled_from([-60, 59, 60, 60, 61, 200, -700]), min_size=1, max_size=6),
    )
    def ask_for_several_codes(self, key: Key, command: str, pauses: list[int]) -> None:
        self._have_a_code(key)
        for seconds in pauses:
            self.now += timedelta(seconds=seconds)
            self.give(Request(command=command, key=key, by=By(key[1])))

    @rule(key=keys, of_pending_code=st.booleans(), organization=organizations, command_id=command_ids)
    def record_sent(self, key: Key, of_pending_code: bool, organization: str, command_id: str | None) -> None:
        pending = self.model.users[key].code
        sequence = pending.sequence if pending and of_pending_code else 1
        by = By("NOTIFICATION", organization, command_id)
        self.give(Request(command="record sent", key=key, by=by, code_sequence=sequence))

    @rule(
        key=keys, command=st.sampled_from(REMOVE), by_user=st.booleans(), permitted=permissions,
        organization=organizations, command_id=command_ids,
    )  # fmt: skip
    def remove(
        self, key: Key, command: str, by_user: bool, permitted: bool, organization: str, command_id: str | None
    ) -> None:
        by = By(key[1] if by_user else "admin", organization, command_id)
        self.give(Request(command=command, key=key, by=by, permitted=permitted))

    @rule(span=st.sampled_from(SPANS))
    def time_passes_or_jumps_back(self, span: timedelta) -> None:
        self.now += span

    @rule(permitted=permissions)
    def the_last_request_comes_again(self, permitted: bool) -> None:
        """The caller may have lost or been given the permission meanwhile."""
        assert self.last_request is not None
        self.give(replace(self.last_request, permitted=permitted))

    @rule(
        key=keys, command=st.sampled_from([*SET, *VERIFY, *RENEW, *REMOVE]), return_code=st.booleans(),
        behind=st.sampled_from(BEHIND),
    )  # fmt: skip
    def a_request_comes_twice_at_once(self, key: Key, command: str, return_code: bool, behind: str) -> None:
        by = By(key[1], command_id=self._unused_command_id())
        code = self._right_code(key)
        request = Request(command=command, key=key, by=by, phone="+12015550123", code=code, return_code=return_code)
        self.give(request, meanwhile=request, behind=behind)

    @rule(data=st.data(), key=keys)
    def two_with_one_command_id_come_at_once(self, data: st.DataObject, key: Key) -> None:
        command_id = self._unused_command_id()
        both = data.draw(st.tuples(self._requests(key), self._requests(key)))
        one, other = (replace(request, by=replace(request.by, command_id=command_id)) for request in both)
        self.give(one, meanwhile=other, behind=data.draw(st.sampled_from(BEHIND)))

    @rule(data=st.data(), key=keys)
    def another_comes_between(self, data: st.DataObject, key: Key) -> None:
        other_key = data.draw(st.sampled_from([key, key, BOB]))
        self.give(data.draw(self._requests(key)), meanwhile=data.draw(self._requests(other_key)))

    @rule(key=keys)
    def others_come_between_every_time(self, key: Key) -> None:
        user = self.model.users[key]
        if not user.there:
            return
        between: list[Request] = []

        def set_another_number() -> None:
            phone = "+41791234567" if user.number != "+41791234567" else "+41791234568"
            between.append(Request(command="set verified", key=key, by=By("admin"), phone=phone))
            self.give(between[-1])

        request = Request(command="set verified", key=key, by=By("admin"), phone="+12015550123")
        if user.number == "+12015550123":
            set_another_number()
            between.clear()
        answer = self._answer(request, _Interleaved(self.store, set_another_number))

        assert type(answer) is TooMuchContention
        assert len(between) == DECISIONS

    @rule(key=keys, event=st.sampled_from(SOMETHING_ELSE))
    def something_else_happens(self, key: Key, event: Event) -> None:
        self._happens(key, event)

    @rule(key=st.sampled_from([BOB, ADA_ELSEWHERE]), nonsense=st.integers(0, 3))
    def the_user_is_removed(self, key: Key, nonsense: int) -> None:
        if nonsense == 0:
            self._happens(key, UserRemoved())

    @rule(
        command=st.sampled_from(["add", *SET, *VERIFY, *RENEW, *REMOVE]),
        user_id=st.sampled_from(["", "a\nb", "x" * 201, "ada", "ada"]),
        phone=phones,
        command_id=st.sampled_from([None, "", "command\n", "x" * 201]),
    )
    def what_is_no_text_is_refused(self, command: str, user_id: str, phone: str, command_id: str | None) -> None:
        by = By("admin", "org1", command_id)
        self.give(Request(command=command, key=("default", user_id), by=by, phone=phone, code="0"))

    # What must hold at all times.

    @invariant()
    def every_history_is_what_was_stored(self) -> None:
        for (instance_id, user_id), history in self.histories.items():
            loaded = list(self.store.load(instance_id, user_id))
            assert [one.sequence for one in loaded] == list(range(1, len(history) + 1))
            assert loaded == history

    @invariant()
    def every_user_is_what_the_model_says(self) -> None:
        for (instance_id, user_id), user in self.model.users.items():
            assert _facts(HumanUser.replay(self.store.load(instance_id, user_id))) == user.facts()

    @invariant()
    def the_log_has_every_event_once_in_order(self) -> None:
        log: list[Recorded] = []
        while page := self.store.read_all(after=(head := log[-1].position if log else 0), limit=PAGE):
            assert page[-1].position > head
            log += page
        positions = [recorded.position for recorded in log]
        assert positions == sorted(set(positions))
        stored = [recorded for history in self.histories.values() for recorded in history]
        assert log == sorted(stored, key=lambda recorded: recorded.position)
        assert self.store.head() == (positions[-1] if positions else 0)

    @invariant()
    def every_command_id_is_remembered(self) -> None:
        for (instance_id, command_id), recorded in self.stored_commands.items():
            found = self.store.find_command(instance_id, command_id)
            assert found is not None
            assert list(found.recorded) == recorded

    # How a request is given and its answer judged.

    def give(self, request: Request, *, meanwhile: Request | None = None, behind: str = "load") -> Answer:
        """Give *request*, and hold what comes of it to the model.

        *meanwhile* is given right after the call of the store that *behind* names.
        """
        store: EventStore = self.store
        if meanwhile is not None:
            between = [meanwhile]
            store = _Interleaved(self.store, lambda: between and self.give(between.pop()), behind)
        verdict, found = self.model.verdict(request, self.now), self.model.knows(request)
        answer = self._answer(request, store)
        found |= behind == "load" and self.model.knows(request)
        if verdict.story or found:  # else it was refused on what it saw first
            verdict = self.model.verdict(request, self.now)
        self.last_request = request
        self._judge(request, verdict, answer)
        if meanwhile is None:
            self._judge_wait(request, answer)
        return answer

    def commands(self, instance_id: str, store: EventStore | None = None) -> Commands:
        """The commands under test."""
        return Commands(
            store or self.store, self.vault, lambda: self.now, self._draw, policy=self.policy, instance_id=instance_id
        )

    def _answer(self, request: Request, store: EventStore) -> Answer:
        commands = self.commands(request.key[0], store)
        ask = {**self._by_v1(commands, request), **self._by_v2(commands, request)}
        try:
            return ask[request.command]()
        except DomainError as refusal:
            return refusal

    def _by_v1(self, commands: Commands, request: Request) -> dict[str, Callable[[], Details]]:
        user_id, by = request.key[1], request.by
        return {
            "add": lambda: commands.add_human_user(
                user_id, HumanUserAdded(user_name=user_id or "nobody"), phone=request.phone, verified=request.verified,
                by=by,
            ),
            "change": lambda: commands.change_phone(user_id, request.phone, by=by),
            "set verified": lambda: commands.change_phone(user_id, request.phone, verified=True, by=by),
            "verify": lambda: commands.verify_phone(user_id, request.code, by=by),
            "ask for a code": lambda: commands.add_phone_code(user_id, by=by),
            "record sent": lambda: commands.record_code_sent(
                user_id, PhoneVerificationCodeSent(), code_sequence=request.code_sequence, by=by
            ),
            "remove": lambda: commands.remove_phone(user_id, by=by),
        }  # fmt: skip

    def _by_v2(self, commands: Commands, request: Request) -> dict[str, Callable[[], Details | PhoneSet]]:
        user_id, by, return_code = request.key[1], request.by, request.return_code

        def permit(organization: str) -> None:
            assert organization == self.model.users[request.key].owner
            if not request.permitted:
                raise Forbidden

        return {
            "set by v2": lambda: commands.set_phone(
                user_id, request.phone, return_code=return_code, by=by, permit=permit
            ),
            "set verified by v2": lambda: commands.set_phone(
                user_id, request.phone, verified=True, return_code=return_code, by=by, permit=permit
            ),
            "resend by v2": lambda: commands.resend_phone_code(user_id, return_code=return_code, by=by, permit=permit),
            "verify by v2": lambda: commands.verify_user_phone(user_id, request.code, by=by, permit=permit),
            "remove by v2": lambda: commands.remove_user_phone(user_id, by=by, permit=permit),
        }

    def _judge(self, request: Request, verdict: Verdict, answer: Answer) -> None:
        new = self._newly_stored(request.key)
        story = tuple((what, self.drawn[-1] if which is DRAWN else which) for what, which in verdict.story)
        assert tuple(self._line(recorded) for recorded in new) == story
        told = type(answer) if isinstance(answer, DomainError) else answer
        if verdict.refusal is not None:
            assert told is verdict.refusal
        elif verdict.repeated is not None:
            assert told == verdict.repeated.answer()
        else:
            done = self._done(request, story)
            assert told == done.answer()
            self._remember(request, new, done)

    def _done(self, request: Request, story: tuple[Line, ...]) -> Done:
        """What *request* has come to if *story* is stored for it now."""
        user = self.model.users[request.key]
        details = Details(
            sequence=user.sequence + len(story),
            creation_date=user.created_at or self.now,
            change_date=self.now,
            resource_owner=user.owner or request.by.organization,
        )
        return Done(request, details, story)

    def _judge_wait(self, request: Request, refusal: Answer) -> None:
        """After ``retry_after`` no limit refuses the same request, and just before it one still does."""
        if isinstance(refusal, LimitReached) and refusal.retry_after is not None:
            assert refusal.retry_after > timedelta(0)
            then = self.now + refusal.retry_after
            assert not _is_limit(self.model.verdict(request, then).refusal)
            assert _is_limit(self.model.verdict(request, then - timedelta.resolution).refusal)

    def _remember(self, request: Request, new: Sequence[Recorded], done: Done) -> None:
        for recorded in new:
            assert recorded.created_at == self.now
            assert (recorded.creator, recorded.resource_owner) == (request.by.creator, done.details.resource_owner)
            self._take_in(request.key, recorded)
        if request.by.command_id is not None:
            command = request.key[0], request.by.command_id
            self.stored_commands[command] = list(new)
            self.model.commands[command] = done

    def _newly_stored(self, key: Key) -> list[Recorded]:
        known = self.histories.get(key, [])
        loaded = list(self.store.load(*key))
        assert loaded[: len(known)] == known
        return loaded[len(known) :]

    def _take_in(self, key: Key, recorded: Recorded) -> None:
        user, history = self.model.users[key], self.histories[key]
        assert recorded.sequence == len(history) + 1
        assert (recorded.instance_id, recorded.user_id) == key
        by_user = recorded.creator == recorded.user_id
        user.take_in(
            self._line(recorded),
            sequence=recorded.sequence,
            at=recorded.created_at,
            owner=recorded.resource_owner,
            by_user=by_user,
        )
        history.append(recorded)

    def _line(self, recorded: Recorded) -> Line:  # noqa: C901, PLR0911 - one case an event
        """What the model is told of *recorded*."""
        match recorded.event:
            case HumanUserAdded(phone=phone):
                return ("added", phone.e164 if phone else "")
            case PhoneChanged(phone=phone):
                return ("changed", phone.e164)
            case PhoneVerificationCodeAdded(code=SealedCode() as sealed) as added:
                assert added.lifetime == self.policy.code_lifetime
                code = self.vault.open(sealed, CodeOwner(recorded.instance_id, recorded.user_id))
                return ("returned code" if added.code_returned else "code", code.characters)
            case PhoneVerified():
                return ("verified", "")
            case PhoneVerificationFailed():
                return ("failed", "")
            case PhoneVerificationCodeSent():
                return ("sent", "")
            case PhoneRemoved():
                return ("removed", "")
            case InitialisationCodeAdded():
                return ("initial", "")
            case UserInitialised():
                return ("not initial", "")
            case UserRemoved():
                return ("user removed", "")
            case event:
                return ("something else", event.type)

    def _happens(self, key: Key, event: Event) -> None:
        """Store *event* past the commands, as another part of the host may."""
        user = self.model.users[key]
        if not user.there:
            return
        instance_id, user_id = key
        new = NewEvents(
            instance_id=instance_id, user_id=user_id, events=[event], after=user.sequence, created_at=self.now,
            creator="host", resource_owner=user.owner,
        )  # fmt: skip
        for stale in {0, user.sequence - 1} - {user.sequence}:
            with pytest.raises(SequenceConflict):
                self.store.append(replace(new, after=stale))
        appended = self.store.append(new).recorded
        assert [one.event for one in appended] == [event]
        assert self._newly_stored(key) == list(appended)
        self._take_in(key, appended[0])

    def _draw(self, code_format: CodeFormat) -> VerificationCode:
        """A code that was never drawn before in this life."""
        number, alphabet, characters = len(self.drawn) + 1, code_format.alphabet, ""
        for _ in range(code_format.length):
            number, index = divmod(number, len(alphabet))
            characters += alphabet[index]
        self.drawn.append(characters)
        return VerificationCode(characters)

    def _have_a_code(self, key: Key) -> None:
        """Give the user a number that was never proven, so that there is something to prove."""
        user = self.model.users[key]
        if user.there and user.code is None:
            phone = "+41791234567" if user.number != "+41791234567" else "+41791234568"
            self.give(Request(command="change", key=key, by=By("admin"), phone=phone))

    def _unused_command_id(self) -> str:
        return f"at once {sum(map(len, self.histories.values()))}"

    def _right_code(self, key: Key) -> str:
        code = self.model.users[key].code
        return code.characters if code else "999999"

    def _requests(self, key: Key) -> st.SearchStrategy[Request]:
        return st.builds(
            Request,
            command=st.sampled_from([*SET, *VERIFY, *RENEW, "record sent", *REMOVE]),
            key=st.just(key),
            by=st.builds(By, st.sampled_from([key[1], "admin"]), organizations, command_ids),
            phone=st.sampled_from(list(NUMBERS)),
            code=st.sampled_from([self._right_code(key), "000000"]),
            code_sequence=st.just(self.model.users[key].sequence),
            return_code=st.booleans(),
            permitted=permissions,
        )


class _Interleaved:
    """A store that lets somebody else in whenever a history was loaded, or a command was looked for."""

    def __init__(self, store: EventStore, between: Callable[[], object], behind: str = "load") -> None:
        self._store = store
        self._between = between
        self._behind = behind
        self.append, self.read_all, self.head = store.append, store.read_all, store.head

    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:
        loaded = list(self._store.load(instance_id, user_id))
        self._let_in("load")
        return loaded

    def find_command(self, instance_id: str, command_id: str) -> StoredCommand | None:
        found = self._store.find_command(instance_id, command_id)
        self._let_in("find_command")
        return found

    def _let_in(self, behind: str) -> None:
        if behind == self._behind:
            self._between()


def _is_limit(refusal: type[DomainError] | None) -> bool:
    return refusal is not None and issubclass(refusal, LimitReached)


def _facts(user: HumanUser) -> dict[str, object]:
    """A replayed user as ``ModelUser.facts`` tells one."""
    pending = user.pending_code
    return {
        "exists": user.exists,
        "initial": not user.initialised,
        "sequence": user.sequence,
        "owner": user.resource_owner,
        "created at": user.created_at,
        "phone": user.phone and user.phone.e164,
        "verified": user.phone_verified,
        "last verified": user.last_verified_phone and user.last_verified_phone.e164,
        "failures": {phone.e164: count for phone, count in user.failures.counts},
        "codes asked at": user.codes_asked_at,
        "code": pending and _code_facts(pending),
    }


def _code_facts(pending: PendingCode) -> tuple[object, ...]:
    number = pending.phone and pending.phone.e164
    return pending.sequence, number, pending.added_at, pending.failures, pending.sent, pending.added.code_returned
