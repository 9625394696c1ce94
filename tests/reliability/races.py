"""Commands on one user, given at the same time, take effect one after the other.

Each history of calls and answers is searched for an order of the calls that explains all answers and what is stored in
the end, and that never puts a call before one that was answered before it was given (Wing and Gong, 1993).
"""

from __future__ import annotations

import base64
import itertools
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from cluster import cluster
from humanuser import (
    By,
    CodeFormat,
    CodeInvalid,
    CodeNotFound,
    CodeNotPending,
    Commands,
    HumanUserAdded,
    PhoneChanged,
    PhoneNotChanged,
    PhoneNotFound,
    PhoneRemoved,
    PhoneVerificationCodeAdded,
    PhoneVerified,
    Policy,
    Recorded,
    SealedCode,
    TooMuchContention,
    VerificationCode,
)
from humanuser.testing import TransparentVault
from humanuser_adapters.database import Database
from humanuser_adapters.event_store import SQLiteEventRecorder, UserEventStore
from humanuser_adapters.event_store.postgresql import PostgreSQLEventRecorder
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.sqlite import SQLiteDatabase
from reliability.proof import Effort, Figure, Proof, none

THREADS = 4
CALLS = 3
"""Of each thread."""
NUMBERS = ("+41791234567", "+41791234568")
POLICY = Policy(pause_between_codes=None, code_limits=(), attempts_per_code=None, failures_in_a_row=None)
ADMIN = By("admin", organization="org1")
REFUSALS = (CodeInvalid, CodeNotFound, CodeNotPending, PhoneNotChanged, PhoneNotFound)


@dataclass(frozen=True)
class State:
    """All there is to a user here."""

    number: str | None = None
    verified: bool = False
    code: str | None = None


@dataclass(frozen=True)
class Call:
    """What was asked and answered, and when."""

    what: str
    argument: str
    answer: str
    """The code that was made, ``ok``, or the name of a refusal."""
    asked_at: int
    answered_at: int
    """Nanoseconds of one clock."""


def explained(calls: Sequence[Call], first: State, last: State) -> bool:
    """Whether the *calls*, one after the other in some order, lead from *first* to *last* with the answers they got."""
    everything = (1 << len(calls)) - 1
    seen: set[tuple[int, State]] = set()
    to_try = [(0, first)]
    while to_try:
        done, state = to_try.pop()
        if done == everything and state == last:
            return True
        left = [(index, call) for index, call in enumerate(calls) if not done >> index & 1]
        end = min((call.answered_at for _, call in left), default=0)
        for index, call in left:
            after = then(state, call)
            step = (done | 1 << index, after)
            if call.asked_at <= end and after is not None and step not in seen:
                seen.add((step[0], after))
                to_try.append((step[0], after))
    return False


def then(state: State, call: Call) -> State | None:  # noqa: PLR0911 - one case a rule
    """The state after *call*, if its answer is the one that *state* leads to; else None."""
    answer = call.answer
    match call.what:
        case "change" if call.argument == state.number:
            return state if answer == "PhoneNotChanged" else None
        case "change":
            return State(call.argument, verified=False, code=answer) if answer.isdigit() else None
        case "resend" if state.code is None:
            return state if answer == "CodeNotPending" else None
        case "resend":
            return State(state.number, state.verified, answer) if answer.isdigit() else None
        case "verify" if state.code is None:
            return state if answer == "CodeNotFound" else None
        case "verify" if state.code == call.argument:
            return State(state.number, verified=True) if answer == "ok" else None
        case "verify":
            return state if answer == "CodeInvalid" else None
        case "remove" if state.number is None:
            return state if answer == "PhoneNotFound" else None
        case _:
            return State() if answer == "ok" else None


def run(effort: Effort) -> Iterator[Figure]:
    """Race on each kind of database, each thread with a connection of its own."""
    histories = effort.of(2_500, quick=100)
    with tempfile.TemporaryDirectory() as folder, cluster() as url:
        file, server = SQLiteDatabase(f"{folder}/races.sqlite"), PostgreSQLDatabase(url)
        for name, database in (("SQLite", file), ("PostgreSQL", server)):
            with closing(database):
                for figure in race(store_of(database), histories, effort.seed):
                    yield Figure(f"{figure.what}, {name}", figure.measured, figure.wanted, figure.holds)


def store_of(database: Database) -> UserEventStore:
    """Our event store on *database*."""
    kind = PostgreSQLEventRecorder if isinstance(database, PostgreSQLDatabase) else SQLiteEventRecorder
    return UserEventStore(kind(database))


def race(store: UserEventStore, count: int, seed: int) -> Iterator[Figure]:
    """Let threads race on one user after the other, *count* times, and judge each history."""
    chance = random.Random(seed)  # noqa: S311 - the same for the same seed
    commands = _commands(store)
    unexplained = calls = conflicts = overlaps = 0
    slowest: list[float] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for number in range(count):
            user_id = f"user{number}"
            commands.add_human_user(user_id, HumanUserAdded(user_name="a"), by=ADMIN)
            given: list[str] = []
            barrier = threading.Barrier(THREADS)
            plans = [[chance.random() for _ in range(CALLS)] for _ in range(THREADS)]
            told = pool.map(lambda plan: _client(commands, user_id, plan, given, barrier), plans)  # noqa: B023 - done here
            history = [call for calls_of_one in told for call in calls_of_one]
            counted = [call for call in history if call.answer != TooMuchContention.__name__]
            conflicts += len(history) - len(counted)
            calls += len(history)
            slowest += [call.answered_at - call.asked_at for call in history]
            overlaps += any(a.asked_at < b.asked_at < a.answered_at for a, b in itertools.permutations(history, 2))
            end = stored_state(store.load("default", user_id))
            if not explained(counted, State(), end):
                unexplained += 1
                print(f"  no order explains {counted} and {end}, with seed {seed}")  # noqa: T201
    slowest.sort()
    yield Figure("histories", count)
    yield Figure("of them with calls at the same time", overlaps)
    yield none("that no order of the calls explains", unexplained)
    yield Figure("calls", calls)
    yield Figure("of them refused because of too many others", conflicts)
    yield Figure("ms that 99 of 100 calls took at most", round(slowest[len(slowest) * 99 // 100] / 1e6, 1))


def stored_state(history: Sequence[Recorded]) -> State:
    """What the events add up to."""
    state = State()
    for recorded in history:
        match recorded.event:
            case PhoneChanged(phone=phone):
                state = State(phone.e164)
            case PhoneVerificationCodeAdded(code=sealed) if sealed is not None:
                state = State(state.number, state.verified, _characters(sealed))
            case PhoneVerified():
                state = State(state.number, verified=True)
            case PhoneRemoved():
                state = State()
            case _:
                pass
    return state


def _characters(sealed: SealedCode) -> str:
    """What the vault that hides nothing has sealed."""
    return base64.b64decode(sealed.crypted).decode().rpartition("\0")[2]


def _commands(store: UserEventStore) -> Commands:
    numbers = itertools.count(100_000)

    def draw(_: CodeFormat) -> VerificationCode:
        return VerificationCode(str(next(numbers)))

    return Commands(store, TransparentVault(), lambda: datetime.now(UTC), draw, policy=POLICY)


def _client(
    commands: Commands, user_id: str, plan: Sequence[float], given: list[str], barrier: threading.Barrier
) -> Sequence[Call]:
    """Give a few commands, and note what came of them."""
    barrier.wait()
    return [_call(commands, user_id, chance, given) for chance in plan]


def _call(commands: Commands, user_id: str, chance: float, given: list[str]) -> Call:
    what = ("change", "change", "resend", "verify", "verify", "remove")[int(chance * 6)]
    argument = ""
    if what == "change":
        argument = NUMBERS[int(chance * 1000) % 2]
    elif what == "verify":
        argument = given[-1] if given else "000000"
    do: dict[str, Callable[[], object]] = {
        "change": lambda: commands.set_phone(user_id, argument, return_code=True, by=ADMIN, permit=_anybody).code,
        "resend": lambda: commands.resend_phone_code(user_id, return_code=True, by=ADMIN, permit=_anybody).code,
        "verify": lambda: commands.verify_user_phone(user_id, argument, by=ADMIN, permit=lambda _: None),
        "remove": lambda: commands.remove_user_phone(user_id, by=ADMIN, permit=_anybody),
    }
    asked_at = time.monotonic_ns()
    try:
        done = do[what]()
        answer = done.characters if isinstance(done, VerificationCode) else "ok"
    except (*REFUSALS, TooMuchContention) as refusal:
        answer = type(refusal).__name__
    answered_at = time.monotonic_ns()
    if answer.isdigit():
        given.append(answer)
    return Call(what, argument, answer, asked_at, answered_at)


def _anybody(_: str) -> None:
    """Everybody may."""


RACES = Proof("R10", "commands on one user take effect one after the other, and at most one code is live", run)
