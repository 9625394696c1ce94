"""However many guess at once, no more guesses at a code are answered than its limit, and none gets in."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from cluster import cluster
from humanuser import (
    By,
    CodeFormat,
    CodeInvalid,
    Commands,
    DomainError,
    HumanUserAdded,
    PhoneVerificationFailed,
    PhoneVerified,
    Policy,
    StoreUnavailable,
    VerificationCode,
)
from humanuser_adapters.application import Application, utc_now
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys
from reliability.proof import Effort, Figure, Proof, at_most, none

GUESSERS = 200
ADMIN = By("admin", organization="org1")
RIGHT, OTHERS, WRONG = "271828", "314159", "000000"
POLICY = Policy.recommended()


def run(effort: Effort) -> Iterator[Figure]:
    """Guess from two processes' worth of connections, on each kind of database."""
    with tempfile.TemporaryDirectory() as folder, cluster() as url:
        for name, database in (("SQLite", f"{folder}/guesses.sqlite"), ("PostgreSQL", url)):
            for figure in guess(database, effort.of(10_000, quick=500)):
                yield Figure(f"{figure.what}, {name}", figure.measured, figure.wanted, figure.holds)


def guess(database: str, count: int, *, verify: Callable[[Commands, str], object] | None = None) -> Iterator[Figure]:
    """Have *count* wrong guesses at one code come at once, and then the right one."""
    vault = AesGcmVault(Keys("key1", {"key1": bytes(KEY_BYTES)}))
    codes = {"ada": RIGHT, "bob": OTHERS}
    verify = verify or _verify
    with Application(database, vault, policy=POLICY) as one, Application(database, vault, policy=POLICY) as other:
        for user_id, code in codes.items():
            commands = _commands(one, vault, code)
            commands.add_human_user(user_id, HumanUserAdded(user_name=user_id), phone="+41791234567", by=ADMIN)
        one.commands.verify_phone("bob", OTHERS, by=By("bob"))
        answers: Counter[str] = Counter()
        lock = threading.Lock()

        def try_one(number: int) -> None:
            commands = (one, other)[number % 2].commands
            try:
                verify(commands, (WRONG, OTHERS, "", "27182")[number % 4])
                answer = "in"
            except (DomainError, StoreUnavailable) as error:
                answer = type(error).__name__
            with lock:
                answers[answer] += 1

        with ThreadPoolExecutor(GUESSERS) as pool:
            list(pool.map(try_one, range(count)))
        replays = sum(_gets_in(one.commands, "bob", code) for code in (OTHERS, RIGHT) * 5)
        right = _gets_in(one.commands, "ada", RIGHT)
        events = [type(recorded.event) for recorded in one.history("ada")]
    yield Figure("guesses at once", answers.total())
    yield at_most(POLICY.attempts_per_code or 0, "guesses answered", answers[CodeInvalid.__name__])
    yield at_most(POLICY.attempts_per_code or 0, "failures stored", events.count(PhoneVerificationFailed))
    yield none("guesses that got in", answers["in"] + events.count(PhoneVerified))
    yield none("used codes and others' codes that got in", replays)
    yield none("right codes that got in after the limit", int(right))


def _commands(application: Application, vault: AesGcmVault, code: str) -> Commands:
    """Commands whose code is known."""

    def draw(_: CodeFormat) -> VerificationCode:
        return VerificationCode(code)

    store = application.commands._store  # noqa: SLF001 - the same, with another source of codes
    return Commands(store, vault, utc_now, draw, policy=POLICY)


def _verify(commands: Commands, code: str) -> object:
    return commands.verify_phone("ada", code, by=By("ada"))


def _gets_in(commands: Commands, user_id: str, code: str) -> bool:
    try:
        commands.verify_phone(user_id, code, by=By(user_id))
    except DomainError:
        return False
    return True


GUESSES = Proof("R11", "of guesses at a code no more are answered than its limit, however many come at once", run)
