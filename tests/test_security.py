"""What happened to others must not happen here. The incident stands in each docstring."""

from __future__ import annotations

import ast
import base64
import hmac
import inspect
import json
import logging
import re
import secrets
import sqlite3
import textwrap
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import humanuser
from fakes import FakeClock, another, as_caller, eventually, pending_code
from humanuser import (
    Accepted,
    By,
    CodeFormat,
    CodeInvalid,
    CodeNotFound,
    CodeUnreadable,
    CodeUsedUp,
    CommandIdReused,
    Commands,
    Details,
    DomainError,
    HumanUser,
    HumanUserAdded,
    NewEvents,
    PhoneNotChanged,
    PhoneNotFound,
    PhoneNumber,
    PhoneSet,
    PhoneVerificationCodeAdded,
    PhoneVerificationFailed,
    PhoneVerified,
    Policy,
    Retryable,
    Sms,
    SmsOutcome,
    StoredCommand,
    StoreUnavailable,
    TooManyCodes,
    TooManyFailures,
    TooMuchContention,
    VerificationCode,
)
from humanuser_adapters.api import PhoneService, http_app
from humanuser_adapters.api.json_coding import decode
from humanuser_adapters.api.protos.auth_pb2 import VerifyMyPhoneRequest
from humanuser_adapters.application import Application
from humanuser_adapters.auth import TokenFile, add_to_token_file, new_token
from humanuser_adapters.event_store import MemoryEventRecorder, UserEventStore
from humanuser_adapters.outbox import State
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys, draw_code

OLD = "+41791234567"
NEW = "+41791234568"
MY_PHONE = "/auth/v1/users/me/phone"
ADDED = HumanUserAdded(user_name="ada")
ADMIN = By("admin", organization="org1")
ADA = By("ada", organization="org1")
SPELLINGS = [
    "+41 79 123 45 67",
    "tel:+41791234567",
    "TEL:+41-79-123.45.67",
    "+41 (79) 123-45-67",
    "+41 (0)79 123 45 67",
    "  +41791234567 ",
]

Ask = Callable[[Commands], object]


def nobody_is_asked(_: str) -> None:
    """Permission for users to change themselves."""


def change_to(number: str) -> Ask:
    return lambda commands: commands.change_phone("ada", number, by=ADA)


def set_again(commands: Commands, number: str = OLD) -> None:
    with suppress(PhoneNotFound):
        commands.remove_phone("ada", by=ADA)
    commands.change_phone("ada", number, by=ADA)


def ask(commands: Commands) -> object:
    return commands.add_phone_code("ada", by=ADA)


def ask_by_v2(commands: Commands) -> object:
    return commands.resend_phone_code("ada", by=ADA, permit=nobody_is_asked)


def guess(commands: Commands, code: str) -> object:
    return commands.verify_phone("ada", code, by=ADA)


def guess_by_v2(commands: Commands, code: str) -> object:
    return commands.verify_user_phone("ada", code, by=ADA, permit=nobody_is_asked)


Guess = Callable[[Commands, str], object]


def outcome(do: Callable[..., object], *arguments: object) -> type[Exception] | None:
    """What *do* raises; None: nothing."""
    try:
        do(*arguments)
    except (DomainError, StoreUnavailable, CodeUnreadable) as error:
        return type(error)
    return None


def failures(application: Application, user_id: str = "ada") -> int:
    return sum(isinstance(one.event, PhoneVerificationFailed) for one in application.history(user_id))


@pytest.fixture
def commands(application: Application) -> Commands:
    """Ada has a number that is yet to be proven, and a code for it."""
    application.commands.add_human_user("ada", ADDED, phone=OLD, by=ADMIN)
    return application.commands


@pytest.mark.parametrize("try_code", [guess, guess_by_v2])
@pytest.mark.parametrize("renew", [ask, ask_by_v2, set_again])
def test_new_codes_give_a_guesser_no_more_than_a_hundred_attempts(
    application: Application, commands: Commands, clock: FakeClock, vault: AesGcmVault, renew: Ask, try_code: Guess
) -> None:
    """CVE-2025-64102: a code could be guessed without end, because asking for a new one forgot the failures."""
    outcomes: Counter[type[Exception] | None] = Counter()
    right = pending_code(application, vault)

    for _ in range(30):
        if outcome(renew, commands) is TooManyFailures:
            break
        clock.advance(hours=2)
        right = pending_code(application, vault)
        wrong = another(right)
        outcomes.update(outcome(try_code, commands, wrong) for _ in range(7))

    assert outcomes[CodeInvalid] == failures(application) == 100
    assert outcomes.keys() == {CodeInvalid, CodeUsedUp, TooManyFailures}
    assert outcome(try_code, commands, right) in (TooManyFailures, CodeNotFound)
    clock.advance(days=365)
    assert outcome(renew, commands) is TooManyFailures


def test_at_the_ceiling_an_administrator_helps(
    application: Application, commands: Commands, clock: FakeClock, vault: AesGcmVault
) -> None:
    """CVE-2025-64102, the other side: who is guessed at is not locked out for ever."""
    for _ in range(120):
        outcome(guess, commands, "wrong")
        clock.advance(hours=2)
        outcome(ask, commands)
    assert outcome(guess, commands, "wrong") is TooManyFailures

    commands.change_phone("ada", NEW, verified=True, by=ADMIN)
    commands.change_phone("ada", OLD, by=ADA)
    guess(commands, pending_code(application, vault))

    assert HumanUser.replay(application.history("ada")).last_verified_phone == PhoneNumber(OLD)


def refuse(_: str) -> None:
    """No permission for anything."""
    raise PhoneNotFound


@pytest.mark.parametrize(
    "ask_for_code",
    [
        lambda commands, by: commands.set_phone("ada", NEW, return_code=True, by=by, permit=refuse),
        lambda commands, by: commands.resend_phone_code("ada", return_code=True, by=by, permit=refuse),
    ],
)
@pytest.mark.parametrize("by", [ADA, By("mallory", "org1"), By("mallory")])
def test_nobody_is_given_a_code_without_permission_not_even_the_user(
    application: Application, commands: Commands, ask_for_code: Callable[[Commands, By], object], by: By
) -> None:
    """GHSA-jq8w-8q2f-ffm9: who was signed in could have the code for a number returned, and so prove any number."""
    before = application.history("ada")

    assert outcome(ask_for_code, commands, by) is PhoneNotFound

    assert application.history("ada") == before


@pytest.mark.parametrize("at_once", [False, True])
def test_a_command_id_does_not_open_what_was_returned_to_another(
    vault: AesGcmVault, clock: FakeClock, *, at_once: bool
) -> None:
    """GHSA-jq8w-8q2f-ffm9, by another way: the answer to a command, given again, holds the code."""
    id_of_admin = By("admin", "org1", command_id="command1")
    store = UserEventStore(MemoryEventRecorder())
    commands = Commands(store, vault, clock, draw_code)
    commands.add_human_user("ada", ADDED, by=ADMIN)

    def ask_as_admin() -> PhoneSet:
        return commands.set_phone("ada", NEW, return_code=True, by=id_of_admin, permit=nobody_is_asked)

    def permitted_last(_: str) -> None:
        ask_as_admin()

    if not at_once:
        ask_as_admin()
    stolen = replace(id_of_admin, creator="ada")
    with pytest.raises(CommandIdReused):
        commands.set_phone(
            "ada", OLD, return_code=True, by=stolen, permit=permitted_last if at_once else nobody_is_asked
        )

    assert ask_as_admin().code is not None


@pytest.mark.parametrize(
    "verify", [Commands.verify_phone, partial(Commands.verify_user_phone, permit=nobody_is_asked)], ids=["v1", "v2"]
)
def test_a_command_id_of_something_else_proves_nothing(
    application: Application, commands: Commands, verify: Callable[..., Details]
) -> None:
    """The first result of the id is that of a change; it must not be taken for that of a right code."""
    by = By("ada", command_id="command1")
    commands.change_phone("ada", NEW, by=by)
    before = application.history("ada")

    with pytest.raises(CommandIdReused):
        verify(commands, "ada", "000000", by=by)

    assert application.history("ada") == before


@pytest.mark.parametrize("make", [lambda _: None, ask, ask_by_v2, set_again, change_to(NEW)])
@pytest.mark.parametrize("try_code", [guess, guess_by_v2])
def test_a_code_ends_after_ten_minutes_however_it_was_made(
    application: Application, commands: Commands, clock: FakeClock, vault: AesGcmVault, make: Ask, try_code: Guess
) -> None:
    """CVE-2024-8122: a code never expired."""
    clock.advance(minutes=1)
    make(commands)
    code = pending_code(application, vault)
    made_at = application.history("ada")[-1].created_at

    clock.now = made_at + timedelta(minutes=10)

    assert outcome(try_code, commands, code) is CodeInvalid
    clock.advance(days=365)
    assert outcome(try_code, commands, code) is CodeInvalid
    clock.now = made_at + timedelta(minutes=10) - timedelta(microseconds=1)
    assert outcome(try_code, commands, code) is None


def test_no_policy_makes_codes_that_live_for_ever() -> None:
    """CVE-2024-8122: a code never expired."""
    for policy in (Policy.recommended(), Policy.zitadel()):
        assert timedelta(0) < policy.code_lifetime <= timedelta(hours=1)
    for never in (None, timedelta(0), timedelta(seconds=-1)):
        with pytest.raises(ValueError, match="code_lifetime"):
            Policy.model_validate({"code_lifetime": never})


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_another_spelling_of_a_number_is_the_same_number(
    application: Application, commands: Commands, spelling: str
) -> None:
    """CVE-2026-33640: a limit counted each spelling of an address for itself."""
    head = application.head()

    with pytest.raises(PhoneNotChanged):
        commands.change_phone("ada", spelling, by=ADA)

    assert application.head() == head


@pytest.mark.parametrize("renew", [set_again, lambda commands, number: commands.change_phone("ada", number, by=ADA)])
def test_other_spellings_and_other_numbers_give_no_more_codes(
    application: Application, commands: Commands, clock: FakeClock, renew: Callable[[Commands, str], object]
) -> None:
    """CVE-2026-33640: a limit counted each spelling of an address for itself."""
    numbers = [number for spelling in SPELLINGS for number in (NEW, spelling)]

    outcomes = []
    for number in numbers:
        clock.advance(seconds=1)
        outcomes.append(outcome(renew, commands, number))

    assert outcomes[:4] == [None] * 4
    assert TooManyCodes in outcomes
    made = [one for one in application.history("ada") if isinstance(one.event, PhoneVerificationCodeAdded)]
    assert len(made) == 5


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_another_spelling_does_not_forget_the_failures(
    application: Application, commands: Commands, spelling: str
) -> None:
    """CVE-2026-33640 and CVE-2025-64102: neither the spelling nor the detour starts the count anew."""
    for _ in range(5):
        assert outcome(guess, commands, "wrong") is CodeInvalid

    set_again(commands, spelling)

    assert HumanUser.replay(application.history("ada")).failures_in_a_row == 5


def test_a_change_and_a_proof_that_race_never_prove_the_new_number_with_the_old_code(
    tmp_path: Path, vault: AesGcmVault
) -> None:
    """Two requests that each read before the other wrote, and both won: the new number was proven by the old code."""
    policy = Policy(code=CodeFormat(length=20))
    path = tmp_path / "race.sqlite"
    with Application(path, vault, policy=policy) as one, Application(path, vault, policy=policy) as other:
        winners = Counter(_race(one, other, vault, f"user{number}") for number in range(30))

    assert winners.total() == 30


def _race(one: Application, other: Application, vault: AesGcmVault, user_id: str) -> str:
    one.commands.add_human_user(user_id, ADDED, phone=OLD, by=ADMIN)
    old_code = pending_code(one, vault, user_id)
    start = threading.Barrier(2)

    def at_once(do: Callable[[], object]) -> type[Exception] | None:
        start.wait()
        return outcome(do)

    with ThreadPoolExecutor(2) as threads:
        changed = threads.submit(at_once, lambda: one.commands.change_phone(user_id, NEW, by=ADMIN))
        proven = threads.submit(at_once, lambda: other.commands.verify_phone(user_id, old_code, by=ADMIN))

    assert changed.result() is None
    assert proven.result() in (None, CodeInvalid)
    after_race = HumanUser.replay(one.history(user_id))
    assert (after_race.phone, after_race.phone_verified) == (PhoneNumber(NEW), False)
    assert after_race.last_verified_phone == (PhoneNumber(OLD) if proven.result() is None else None)
    assert outcome(lambda: other.commands.verify_phone(user_id, old_code, by=ADMIN)) is CodeInvalid
    history = one.history(user_id)
    assert [recorded.sequence for recorded in history] == list(range(1, len(history) + 1))
    assert not HumanUser.replay(history).phone_verified
    return "change" if proven.result() else "proof"


def test_two_hundred_guesses_at_once_are_five_guesses(
    application: Application, commands: Commands, vault: AesGcmVault, tmp_path: Path
) -> None:
    """Guesses that raced each other were all checked before the first was counted."""
    right = pending_code(application, vault)
    start = threading.Barrier(200)
    answered = threading.Lock()
    answers = 0

    def try_once(_: int) -> tuple[type[Exception] | None, bool]:
        nonlocal answers
        start.wait()
        told = outcome(guess, commands, another(right))
        if told is not CodeInvalid:
            return told, True
        with answered:
            answers += 1
            return told, _stored_failures(tmp_path / "test.sqlite") >= answers

    with ThreadPoolExecutor(200) as threads:
        told, stored_first = zip(*threads.map(try_once, range(200)), strict=True)

    counted = Counter(told)
    assert counted[CodeInvalid] == failures(application) == 5
    assert counted.keys() <= {CodeInvalid, CodeUsedUp, TooMuchContention}
    assert all(stored_first)
    assert outcome(guess, commands, right) is CodeUsedUp
    assert [one.sequence for one in application.history("ada")] == list(range(1, 8))


def _stored_failures(path: Path) -> int:
    """As another process sees them."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT count(*) FROM humanuser_events WHERE event_type = ?"
        return int(connection.execute(query, (PhoneVerificationFailed.type,)).fetchone()[0])


class FullDisk(UserEventStore):
    """A store that can be read, and from some moment on not written."""

    full = False

    def append(self, new: NewEvents) -> StoredCommand:
        if self.full:
            raise StoreUnavailable("disk full")
        return super().append(new)


def test_a_guess_that_cannot_be_counted_is_not_answered(vault: AesGcmVault, clock: FakeClock) -> None:
    """Where failures could not be written down, each guess was answered all the same."""
    store = FullDisk(MemoryEventRecorder())
    commands = Commands(store, vault, clock, lambda _: VerificationCode("123456"))
    commands.add_human_user("ada", ADDED, phone=OLD, by=ADMIN)

    store.full = True

    assert [outcome(guess, commands, code) for code in ("123456", "654321")] == [StoreUnavailable] * 2


def test_codes_are_compared_as_wholes_and_not_up_to_the_first_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a comparison told how many characters of a guess were right."""
    compared: list[tuple[bytes, bytes]] = []

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare_digest)

    matches = [VerificationCode("123456").matches(VerificationCode(code)) for code in ("123456", "923456", "1", "")]

    assert matches == [True, False, False, False]
    assert compared == [(b"123456", b"123456"), (b"123456", b"923456"), (b"123456", b"1"), (b"123456", b"")]


def test_the_comparison_of_codes_has_no_way_out_before_its_end() -> None:
    """The time of a comparison told how many characters of a guess were right."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(VerificationCode.matches)))

    steps = {type(node) for node in ast.walk(tree)}

    assert not steps & {ast.If, ast.IfExp, ast.BoolOp, ast.Compare, ast.For, ast.While, ast.Try, ast.Match}


def test_nothing_but_the_comparison_compares_codes() -> None:
    """The time of a comparison told how many characters of a guess were right."""
    comparisons = [
        ast.unparse(node)
        for path in Path(humanuser.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare) and not isinstance(node.ops[0], ast.Is | ast.IsNot)
    ]

    assert "recorded.creator == recorded.user_id" in comparisons
    assert [one for one in comparisons if re.search(r"\.characters\b|\b(given|pending)\b(?!\.)", one)] == []


def test_a_code_out_of_another_users_history_proves_nothing(
    application: Application, commands: Commands, vault: AesGcmVault, tmp_path: Path
) -> None:
    """Who can write to the database copied a code that they know into the history of their victim."""
    commands.add_human_user("eve", ADDED, phone=NEW, by=ADMIN)
    eves_code = pending_code(application, vault, "eve")
    with closing(sqlite3.connect(tmp_path / "test.sqlite")) as connection, connection:
        connection.execute(
            "UPDATE humanuser_events SET payload = (SELECT payload FROM humanuser_events"
            " WHERE aggregate_id = 'eve' AND event_type = :code) WHERE aggregate_id = 'ada' AND event_type = :code",
            {"code": PhoneVerificationCodeAdded.type},
        )
    histories = [application.history(user_id)[-1].event for user_id in ("ada", "eve")]
    assert histories[0] == histories[1]

    outcomes = [outcome(try_code, commands, eves_code) for try_code in (guess, guess_by_v2)]

    assert outcomes == [CodeUnreadable] * 2
    assert PhoneVerified not in [type(one.event) for one in application.history("ada")]


def test_a_code_out_of_another_instance_proves_nothing(
    application: Application, vault: AesGcmVault, clock: FakeClock, tmp_path: Path
) -> None:
    """As before, between tenants whose users have the same ids."""
    application.commands.add_human_user("ada", ADDED, phone=OLD, by=ADMIN)
    with Application(tmp_path / "test.sqlite", vault, clock=clock, instance_id="other") as other:
        other.commands.add_human_user("ada", ADDED, phone=OLD, by=ADMIN)
        with closing(sqlite3.connect(tmp_path / "test.sqlite")) as connection, connection:
            connection.execute(
                "UPDATE humanuser_events SET payload = (SELECT payload FROM humanuser_events"
                " WHERE instance_id = 'default' AND event_type = :code)"
                " WHERE instance_id = 'other' AND event_type = :code",
                {"code": PhoneVerificationCodeAdded.type},
            )

        assert outcome(guess, other.commands, pending_code(application, vault)) is CodeUnreadable


class Phones:
    """Keeps every SMS as a phone would, after it was not reached the first time."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def send(self, sms: Sms) -> SmsOutcome:
        self.texts.append(sms.text)
        return Retryable("not reached", timedelta(0)) if len(self.texts) == 1 else Accepted("provider1")

    def look_up(self, _: Sms) -> None:
        return None


class Callers:
    """Keep all that they are told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def call(self, client: TestClient, token: str, verb: str, path: str, body: object = None) -> int:
        """The status of the answer."""
        content = body if isinstance(body, str) else json.dumps(body)
        answer = client.request(verb, path, content=content, headers=as_caller(token))
        self.told.append(f"{answer.headers} {answer.text}")
        return answer.status_code

    def fail(self, do: Callable[[], object]) -> None:
        """Do what must go wrong."""
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it must not tell
            do()
        self.told += [*traceback.format_exception(caught.value), repr(caught.value), repr(vars(caught.value))]


def test_a_whole_life_leaves_no_secret_behind(  # noqa: PLR0915 - a life is long
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Codes, tokens and keys stood in logs, in reports of errors, and in plain in the database."""
    caplog.set_level(logging.DEBUG)
    key, other_key = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES)
    admin, ada, nobody, wrong_code = (new_token() for _ in range(4))
    add_to_token_file(tmp_path / "tokens.toml", admin, user="admin", organization="org1", roles=["ORG_OWNER"])
    add_to_token_file(tmp_path / "tokens.toml", ada, user="ada", organization="org1")
    vault, other_vault = (AesGcmVault(Keys("key1", {"key1": one})) for one in (key, other_key))
    policy, phones, callers = Policy(code=CodeFormat(length=20)), Phones(), Callers()
    path, verify = tmp_path / "life.sqlite", f"{MY_PHONE}/_verify"

    with (
        Application(path, vault, sender=phones, policy=policy, clock=clock) as application,
        Application(path, other_vault, policy=policy, clock=clock) as without_key,
    ):
        client, clueless = (_client(one, tmp_path / "tokens.toml") for one in (application, without_key))
        application.start()
        application.commands.add_human_user("ada", ADDED, phone=OLD, by=ADMIN)
        assert eventually(lambda: len(phones.texts) > 0)
        clock.advance(minutes=2)
        assert callers.call(client, ada, "POST", f"{MY_PHONE}/_resend_verification", {}) == 200
        assert eventually(lambda: len(phones.texts) > 1)
        assert callers.call(client, admin, "PUT", "/management/v1/users/ada/phone", {"phone": NEW}) == 200
        assert eventually(lambda: application.deliveries()[-1].state is State.SENT)
        code = pending_code(application, vault)
        assert callers.call(client, ada, "POST", verify, {"code": wrong_code}) == 400
        assert callers.call(client, ada, "POST", verify, {"code": [code]}) == 400
        assert callers.call(client, ada, "POST", verify, f'{{"code": "{code}"') == 400
        assert callers.call(clueless, ada, "POST", verify, {"code": code}) == 400
        assert callers.call(client, nobody, "POST", verify, {"code": code}) == 401
        assert callers.call(client, ada, "POST", f"{MY_PHONE}/_resend_verification", {}) == 429
        callers.fail(lambda: application.commands.verify_phone("ada", wrong_code, by=ADA))
        callers.fail(lambda: without_key.commands.verify_phone("ada", code, by=ADA))
        callers.fail(lambda: decode(json.dumps({"code": [code]}).encode(), VerifyMyPhoneRequest))
        callers.fail(lambda: Keys.parse(f"{base64.b64encode(key).decode()}:key1"))
        callers.fail(lambda: Keys.parse(f"key1:{base64.b64encode(key).decode()[:-8]}"))
        assert callers.call(client, ada, "POST", verify, {"code": code}) == 200
        assert callers.call(client, ada, "POST", verify, {"code": code}) == 404
        callers.fail(lambda: application.commands.verify_phone("ada", code, by=ADA))
        assert callers.call(client, ada, "DELETE", MY_PHONE) == 200
        shown = repr(
            [application.history("ada"), application.deliveries(), application.problems(), Keys("1", {"1": key})]
        )
        application.stop()
        files = {one.name: one.read_bytes() for one in tmp_path.iterdir()}  # with the log that SQLite writes ahead

    assert len(phones.texts) > 2
    assert f"{code} is your code" in phones.texts[-1]
    assert files.keys() >= {"life.sqlite", "life.sqlite-wal", "tokens.toml"}
    assert b"user.human.phone.code.added" in files["life.sqlite"] + files["life.sqlite-wal"]
    assert "CodeUnreadable" in "".join(callers.told)
    assert "SMS" in caplog.text
    codes = {text.partition(" ")[0] for text in phones.texts}
    keys = {form for one in (key, other_key) for form in (base64.b64encode(one).decode(), one.hex(), repr(one)[2:-1])}
    records = repr(
        [vars(record) for record in caplog.records]
    )  # for those who collect logs in other forms than as text
    places: dict[str, str | bytes] = {
        "log": caplog.text,
        "records": records,
        "told": "".join(callers.told),
        "shown": shown,
        **files,
    }
    places["outbox"] = _outbox_rows(path)
    assert _hits({*phones.texts, *codes, *keys, wrong_code, admin, ada, nobody}, places) == []
    assert _hits({OLD, NEW}, {name: places[name] for name in ("log", "records", "shown", "outbox")}) == []


def _outbox_rows(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT * FROM humanuser_outbox").fetchall()
    assert rows
    return repr(rows)


def _client(application: Application, tokens: Path) -> TestClient:
    service = PhoneService(application.commands, application.find_user, application.new_user_id)
    return TestClient(http_app(service, TokenFile(tokens)), raise_server_exceptions=False)


def _hits(needles: Iterable[str], places: Mapping[str, str | bytes]) -> list[tuple[str, str]]:
    return [
        (needle, name)
        for name, text in places.items()
        for needle in needles
        if (needle.encode() in text if isinstance(text, bytes) else needle in text)
    ]
