"""A world in which nothing is real but the code under test: time, chance, crashes, the database and the provider.

Each client and each worker is a greenlet. It hands over at its port calls, and there, now and then, it crashes, freezes
or loses an answer. All chance comes from one seed, so that a seed is a schedule.
"""

from __future__ import annotations

import random
import sqlite3
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]  # it has no types

from humanuser import (
    Accepted,
    By,
    CodeFormat,
    CodeOwner,
    CodeUnreadable,
    Commands,
    Details,
    DomainError,
    HumanUserAdded,
    Misconfigured,
    NewEvents,
    Permanent,
    PhoneSet,
    PhoneVerificationCodeAdded,
    Policy,
    Recorded,
    Retryable,
    SealedCode,
    SequenceConflict,
    Sms,
    SmsOutcome,
    StoredCommand,
    StoreUnavailable,
    TooMuchContention,
    Unknown,
    VerificationCode,
)
from humanuser.testing import AT, TransparentVault
from humanuser_adapters.database import Connection
from humanuser_adapters.event_log import LogEnd
from humanuser_adapters.migrations import bring_up_to_date
from humanuser_adapters.outbox import Claim, Outbox, OutboxWorker, State
from humanuser_adapters.subscription import Subscription
from humanuser_projections import PhoneNotifier

MOST_TURNS = 5_000
"""Whoever needs more has not come to rest."""
PROVIDER_TIMEOUT_MS = 9_000
"""Less than half of a lease, as the senders have it."""

Answer = Details | PhoneSet | Exception | None


class Crashed(BaseException):
    """The process was killed, between two instructions; no ``except Exception`` sees it."""


class Restless(Exception):
    """A schedule does not come to an end."""


class Provider(StrEnum):
    """What a provider can do about repetitions."""

    KEY = "honours the id"
    LATE_KEY = "honours the id, and may take an SMS long after it was given up"
    ASKED = "can be asked"
    DEAF = "can neither tell a repetition nor be asked"
    CARELESS = "has to be sent everything again"


class Mood(StrEnum):
    """What a provider does with one SMS."""

    ACCEPTS = "accepts"
    BUSY = "refuses for now"
    BUSY_FOR_A_WHILE = "refuses, and says for how long"
    REFUSES = "refuses for good"
    SHUT = "does not know us"
    UNHEARD = "accepts, and nobody hears it"
    LOST = "never gets it, and nobody knows"


@dataclass(slots=True)
class Request:
    """One command of a client, and what it was answered."""

    kind: str
    user_id: str
    creator: str
    """Its own, and its command id."""
    number: str = ""
    code: str = ""
    answer: Answer = None
    """None: the client never got one."""


@dataclass(slots=True)
class ClaimSeen:
    """A claim that a worker was given."""

    message_id: str
    fence: int
    lease: timedelta
    claimed_ms: int
    settled: State | None = None
    settled_ms: int = 0
    maybe_settled: bool = False
    """It was being written down when the worker crashed, or the answer was lost."""

    @property
    def broke_off(self) -> bool:
        """Whether nobody knows what became of the SMS, or nobody did when the worker let go of it."""
        return self.settled in (None, State.CLAIMED, State.UNKNOWN) and not self.maybe_settled


@dataclass(slots=True)
class Post:
    """An SMS that left a worker."""

    worker: str
    message_id: str
    number: str
    code: str
    claim: ClaimSeen | None
    gate_sequence: int
    """How much of the user's history the worker had read last."""
    gate_ms: int
    gate_clock: datetime
    """What the worker's clock said then."""
    timer_ms: int
    """When the worker looked at its timer last."""
    arrived_ms: int | None = None
    delivered: bool = False
    """The person got it: it is no repetition that the provider could tell."""
    heard: SmsOutcome | None = None
    """What the worker was told; None: nothing."""


class Process:
    """A client or a worker."""

    def __init__(
        self,
        name: str,
        work: Callable[[Process], None],
        hub: Any,  # a greenlet, which has no types
        *,
        skew: timedelta,
        timer_offset: float,
    ) -> None:
        """*hub*: where it goes on when the work is done."""
        self.name = name
        self.greenlet: Any = greenlet(lambda: work(self), hub)  # Any: as above
        self.wakes_ms = 0
        self.idle = False
        self.skew = skew
        self.timer_offset = timer_offset
        self.claim: ClaimSeen | None = None
        self.database_ms = 0
        self.gate_sequence = 0
        self.gate_ms = 0
        self.clock_read = AT
        self.timer_ms = -1


class SimulatedStore:
    """Keeps the histories, and hands over to others at every call."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.histories: dict[str, list[Recorded]] = {}
        self.log: list[Recorded] = []
        self.commands: dict[str, StoredCommand] = {}

    def load(self, instance_id: str, user_id: str) -> Sequence[Recorded]:  # noqa: ARG002 - there is one instance
        history = list(self.histories.get(user_id, ()))
        if process := self.world.running:
            process.gate_sequence, process.gate_ms = len(history), self.world.ms
        self.world.port("loads")
        return history

    def append(self, new: NewEvents) -> StoredCommand:
        self.world.port("appends")
        if new.command_id in self.commands:
            return self.commands[new.command_id]
        self.require_end(new.user_id, new.after)
        recorded = [
            Recorded(
                instance_id=new.instance_id,
                user_id=new.user_id,
                sequence=sequence,
                created_at=new.created_at,
                creator=new.creator,
                resource_owner=new.resource_owner,
                event=event,
                position=position,
            )
            for sequence, (position, event) in enumerate(enumerate(new.events, len(self.log) + 1), new.after + 1)
        ]
        self.keep(recorded, new)
        if any(isinstance(event, PhoneVerificationCodeAdded) for event in new.events):
            self.world.ring()
        self.world.port("has appended")
        return StoredCommand(recorded, new.fingerprint)

    def require_end(self, user_id: str, after: int) -> None:
        """Raise ``SequenceConflict`` unless the history ends there."""
        if len(self.histories.get(user_id, ())) != after:
            raise SequenceConflict

    def keep(self, recorded: list[Recorded], new: NewEvents) -> None:
        """Store for ever."""
        self.histories.setdefault(new.user_id, []).extend(recorded)
        self.log.extend(recorded)
        if new.command_id is not None:
            self.commands[new.command_id] = StoredCommand(recorded, new.fingerprint)

    def find_command(self, instance_id: str, command_id: str) -> StoredCommand | None:  # noqa: ARG002
        found = self.commands.get(command_id)
        self.world.port("looks for its command")
        return found

    def read_all(self, *, after: int, limit: int) -> Sequence[Recorded]:
        return self.log[after : after + limit]

    def read_log(self, *, after: int, limit: int, until: int | None = None) -> Sequence[Recorded]:
        """What ``read_all`` gives: all can be read."""
        entries = self.log[after:until][:limit]
        self.world.port("reads the log")
        return entries

    def head(self) -> int:
        return len(self.log)

    def end(self) -> LogEnd:
        return LogEnd(position=len(self.log))


class SimulatedDatabase:
    """Tables in memory. A transaction is one step; before and after it, everything may happen."""

    types: Mapping[str, str] = {"time": "TEXT", "number": "INTEGER PRIMARY KEY AUTOINCREMENT"}
    claiming = ""

    def __init__(self, tables: Tables, world: World, sql: Sequence[tuple[str, str]] = ()) -> None:
        """*sql*: pieces of statements, and what is to be there instead."""
        self._tables = tables
        self._world = world
        self._connection: Connection = _Rewritten(tables.connection, sql) if sql else tables.connection

    @contextmanager
    def read(self, *, at_length: bool = False) -> Iterator[Connection]:  # noqa: ARG002 - it takes no time
        yield self._connection
        self._world.port("has read rows")

    glance = read

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self._world.port("begins")
        connection = self._tables.connection
        connection.execute("BEGIN")
        try:
            yield self._connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        self._world.port("has committed")

    probe = write

    def now(self, connection: Connection) -> datetime:  # noqa: ARG002 - the port's shape
        if process := self._world.running:
            process.database_ms = self._world.ms
        return self._world.now()

    def migrate(self, component: str, scripts: Sequence[Sequence[str]]) -> None:
        self._tables.migrate(component, scripts, self.types)

    def listen(self, event: object) -> None: ...

    def unlisten(self, event: object) -> None: ...

    def close(self) -> None: ...


class Tables:
    """The tables of one schedule after the other: to empty them is quicker than to make them."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self.connection.close)  # by whichever thread
        self._there: set[str] = set()

    def migrate(self, component: str, scripts: Sequence[Sequence[str]], types: Mapping[str, str]) -> None:
        """Make the tables of *component*, unless they are there."""
        if component not in self._there:
            bring_up_to_date(self.connection, component, scripts, types)
            self._there.add(component)

    def clear(self) -> None:
        """Forget all rows."""
        if self._there:
            for table in ("humanuser_outbox", "humanuser_subscriptions", "humanuser_parked"):
                self.connection.execute(f"DELETE FROM {table}")  # noqa: S608 - constants


class _Rewritten:
    def __init__(self, connection: sqlite3.Connection, sql: Sequence[tuple[str, str]]) -> None:
        self._connection = connection
        self._sql = sql

    def execute(self, query: str, parameters: Sequence[Any] = (), /) -> Any:  # as the port's
        return self._connection.execute(self._of(query), parameters)

    def executemany(self, query: str, parameters: Sequence[Sequence[Any]], /) -> object:  # as the port's
        return self._connection.executemany(self._of(query), parameters)

    def _of(self, query: str) -> str:
        for before, after in self._sql:
            query = query.replace(before, after)
        return query


class ObservedOutbox(Outbox):
    """The real one; what is claimed and settled is written down for the checker."""

    def __init__(self, database: SimulatedDatabase, world: World) -> None:
        super().__init__(database)
        self._world = world

    def claim(self, instance_id: str) -> Claim | None:
        try:
            claim = super().claim(instance_id)
        except (Crashed, StoreUnavailable):
            self._world.lost_claims += 1
            raise
        if claim is not None:
            self._world.see_claim(claim, self.lease)
        return claim

    def settle(self, claim: Claim, state: State, note: str = "", *, pause: timedelta = timedelta(0)) -> bool:
        seen = self._world.running_process.claim
        try:
            settled = super().settle(claim, state, note, pause=pause)
        except (Crashed, StoreUnavailable):
            if seen is not None:
                seen.maybe_settled = True
            raise
        if settled and seen is not None:
            seen.settled, seen.settled_ms = state, self._world.running_process.database_ms
        return settled


class SimulatedSender:
    """The way to the provider, and the provider."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.accepted: dict[str, Post] = {}
        """By message id."""

    def send(self, sms: Sms) -> SmsOutcome:
        world = self.world
        process = world.running_process
        assert sms.code is not None
        post = Post(
            process.name,
            sms.message_id,
            sms.to.e164,
            sms.code.characters,
            process.claim,
            process.gate_sequence,
            process.gate_ms,
            process.clock_read,
            process.timer_ms,
        )
        mood = world.mood()
        world.posts.append(post)
        world.port("posts", ours=False)
        if world.tracing:
            world.note(f"to {sms.to.e164} with {post.code} under {sms.message_id[:8]}: the provider {mood}")
        outcome = self._outcome(post, mood)
        world.port("hears nothing" if isinstance(outcome, Unknown) else "hears", ours=False)
        post.heard = outcome
        return outcome

    def look_up(self, sms: Sms) -> Accepted | Unknown | None:
        world = self.world
        world.port("asks the provider", ours=False)
        if world.provider is Provider.DEAF or (world.provider is Provider.ASKED and world.chance() < world.rates.deaf):
            return Unknown("no answer")
        if world.provider is Provider.ASKED and sms.message_id in self.accepted:
            return Accepted("found")
        return None

    def _outcome(self, post: Post, mood: Mood) -> SmsOutcome:
        world = self.world
        if mood is Mood.LOST:
            if world.provider is Provider.LATE_KEY:
                world.start("late", lambda _: self._arrive_late(post))
            world.take(PROVIDER_TIMEOUT_MS)
            return Unknown("timed out")
        post.arrived_ms = world.ms
        refusal = None if self._tells_again(post) else _REFUSALS.get(mood)
        if refusal is None:
            self._accept(post)
        if mood is Mood.UNHEARD:
            world.take(PROVIDER_TIMEOUT_MS)
            return Unknown("timed out")
        return refusal or Accepted("id")

    def _tells_again(self, post: Post) -> bool:
        """Whether the provider can tell that it has it already."""
        return post.message_id in self.accepted and self.world.provider in (Provider.KEY, Provider.LATE_KEY)

    def _accept(self, post: Post) -> None:
        post.delivered = not self._tells_again(post)
        self.accepted.setdefault(post.message_id, post)

    def _arrive_late(self, post: Post) -> None:
        self.world.take(int(self.world.chance() * 90_000))
        post.arrived_ms = self.world.ms
        self.world.note(f"the SMS with {post.code} arrives after all")
        self._accept(post)


class PlainVault(TransparentVault):
    """Seals nothing."""

    def __init__(self, codes: dict[str, list[str]]) -> None:
        """*codes*: where to write down who has which."""
        self._codes = codes

    def seal(self, code: VerificationCode, owner: CodeOwner) -> SealedCode:
        self._codes.setdefault(owner.user_id, []).append(code.characters)
        return SealedCode(algorithm="none", key_id=owner.user_id, crypted=code.characters)

    def open(self, sealed: SealedCode, owner: CodeOwner) -> VerificationCode:
        if sealed.key_id != owner.user_id:
            raise CodeUnreadable("another user's")
        return VerificationCode(sealed.crypted)


@dataclass(frozen=True)
class Parts:
    """The code under test, and what a fault has put in its place."""

    store: type[SimulatedStore] = SimulatedStore
    outbox: type[ObservedOutbox] = ObservedOutbox
    notifier: type[PhoneNotifier] = PhoneNotifier
    worker: type[OutboxWorker] = OutboxWorker
    subscription: type[Subscription] = Subscription
    commands: type[Commands] = Commands
    sql: tuple[tuple[str, str], ...] = ()
    unlimited: bool = False
    """The policy's limits are not kept."""
    patches: tuple[tuple[Any, str, Any], ...] = ()
    """Objects of the code under test, names of attributes, and what they are instead."""


@dataclass(slots=True)
class Rates:
    """How often what goes wrong: of a port call, or of an SMS."""

    crash: float = 0
    freeze: float = 0
    unavailable: float = 0
    deaf: float = 0
    bad_mood: float = 0
    moods: Sequence[Mood] = field(default_factory=tuple)


class World:
    """One schedule."""

    def __init__(self, seed: int, parts: Parts, tables: Tables, *, tracing: bool = False) -> None:
        self.seed = seed
        self.tracing = tracing
        self.trace: list[str] = []
        self.chance = random.Random(seed).random  # noqa: S311 - a seed must give the same again
        self.ms = 0
        self.running: Process | None = None
        self.quiet = False
        self.requests: list[Request] = []
        self.posts: list[Post] = []
        self.claims: dict[str, list[ClaimSeen]] = {}
        self.lost_claims = 0
        self.codes: dict[str, list[str]] = {}
        self.provider = self.pick(tuple(Provider))
        self.rates = self._rates()
        lifetime = timedelta(seconds=self.pick((40, 120, 600)))
        pause = timedelta(seconds=5)
        limits: dict[str, Any] = (  # Any: fields of several types
            {"attempts_per_code": None, "pause_between_codes": None}
            if parts.unlimited
            else {"attempts_per_code": 3, "pause_between_codes": pause}
        )
        self.policy = _POLICY.model_copy(update={"code_lifetime": lifetime, **limits})
        self._parts = parts
        self._processes: list[Process] = []
        self._clients = 0
        self._hub: Any = None  # Any: greenlets have no types
        self._drawn = 0
        self.store = parts.store(self)
        tables.clear()
        self.database = SimulatedDatabase(tables, self, parts.sql)
        self.outbox = parts.outbox(self.database, self)
        self.sender = SimulatedSender(self)
        self.subscription = parts.subscription("outbox", self.database, self.store, self.outbox)
        vault = PlainVault(self.codes)
        self.commands = parts.commands(
            self.store, vault, self.clock, self._draw, policy=self.policy, instance_id="default"
        )
        self.worker = parts.worker(
            self.outbox,
            parts.notifier(self.store, vault, self.sender, self.commands, self.clock),
            instance_id="default",
            jitter=self.chance,
            timer=self.timer,
        )

    def run(self) -> None:
        """Let everything happen, and then come to rest. Raises what the code under test should not."""
        self._hub = getcurrent()
        users = ("ada", "bob")[: self.pick((1, 1, 2))]
        for user_id in users:
            self.requests.append(Request("add", user_id, f"admin/{user_id}", _NUMBERS[0]))
            self._give(self.requests[-1])
        for number in range(self.pick((1, 1, 2))):
            self._clients += 1
            self.start(f"client{number}", lambda process: self._client(process, users))
        for number in range(self.pick((1, 2, 2, 2, 3))):
            self.start(f"worker{number}", self._work)
        self._take_turns()

    # Time and chance.

    def pick(self, choices: Sequence[Any]) -> Any:  # Any: whatever there is to choose from
        """One of *choices*."""
        return choices[int(self.chance() * len(choices))]

    def now(self) -> datetime:
        """The true time."""
        return AT + timedelta(milliseconds=self.ms)

    def clock(self) -> datetime:
        """The time, as the process at hand has it."""
        process = self.running
        if process is None:
            return self.now()
        process.clock_read = self.now() + process.skew
        return process.clock_read

    def timer(self) -> float:
        """Seconds that only grow, of the process at hand."""
        process = self.running_process
        process.timer_ms = self.ms
        return self.ms / 1000 + process.timer_offset

    def mood(self) -> Mood:
        """What the provider does next."""
        if self.chance() >= self.rates.bad_mood:
            return Mood.ACCEPTS
        mood: Mood = self.pick(self.rates.moods)
        return mood

    # Processes.

    @property
    def running_process(self) -> Process:
        """The process at hand."""
        assert self.running is not None
        return self.running

    def start(self, name: str, work: Callable[[Process], None]) -> None:
        """Have one more process."""
        skew = timedelta(seconds=self.pick((0, 0, 0, -8, 8)))
        process = Process(name, work, self._hub, skew=skew, timer_offset=self.pick((0.0, 1000.0)))
        process.wakes_ms = self.ms
        self._processes.append(process)

    def port(self, what: str, *, ours: bool = True) -> None:
        """What may happen to a process before or after it uses a port; *ours*: of the store or the database."""
        process = self.running
        if process is None:
            return
        if self.tracing:
            self.note(what)
        chance = self.chance()
        rates = self.rates
        if chance < rates.crash:
            self.note("crashes")
            raise Crashed
        chance -= rates.crash
        if chance < rates.freeze:
            self.note("freezes")
            self.take(int(chance / rates.freeze * 50_000))
            return
        chance -= rates.freeze
        if ours and chance < rates.unavailable:
            self.note("gets no answer")
            raise StoreUnavailable("there is no answer")
        if chance < 0.3:
            self.take(int(chance * 60))

    def take(self, ms: int) -> None:
        """Let time pass for the process at hand; the others go on."""
        self.running_process.wakes_ms = self.ms + ms
        self._hub.switch()

    def rest(self, ms: int) -> None:
        """As ``take``, but a new event ends it."""
        self.running_process.idle = True
        self.take(ms)
        self.running_process.idle = False

    def ring(self) -> None:
        """Tell those who rest that there is something new."""
        for process in self._processes:
            if process.idle and (self.quiet or self.chance() < 0.7):  # each looks by itself after a while
                process.wakes_ms = self.ms

    def note(self, text: str) -> None:
        """Write down what happens."""
        if self.tracing:
            name = self.running.name if self.running else "-"
            self.trace.append(f"{self.ms / 1000:10.3f} s  {name:8} {text}")

    def see_claim(self, claim: Claim, lease: timedelta) -> None:
        """Write down that the process at hand has *claim*."""
        process = self.running_process
        message_id = claim.notification.message_id
        process.claim = ClaimSeen(message_id, claim.fence, lease, process.database_ms)
        self.claims.setdefault(message_id, []).append(process.claim)
        if self.tracing:
            self.note(f"has claimed {message_id[:8]}, fence {claim.fence}, {claim.interruptions} interruptions")

    def _take_turns(self) -> None:
        processes = self._processes
        for _ in range(MOST_TURNS):
            ready = [process for process in processes if process.wakes_ms <= self.ms]
            if not ready:
                if not processes:
                    return
                self.ms = min(process.wakes_ms for process in processes)
                continue
            process = ready[int(self.chance() * len(ready))]
            self.running = process
            try:
                process.greenlet.switch()
            finally:
                self.running = None
            if process.greenlet.dead:
                processes.remove(process)
            self.ms += 1
        raise Restless

    def _work(self, process: Process) -> None:
        while True:
            was_quiet = self.quiet
            try:
                self.subscription.catch_up()
                wait = self.worker.send_due()
            except Crashed:
                process.skew = timedelta(seconds=self.pick((0, 0, 0, -8, 8)))  # the clock was set meanwhile
                self.take(int(self.chance() * 3_000))
            except StoreUnavailable:
                self.take(1_000)
            else:
                if was_quiet and wait is None:
                    return
                self.rest(200_000 if wait is None else wait // timedelta(milliseconds=1) + 1)

    # Clients.

    def _client(self, process: Process, users: Sequence[str]) -> None:
        guesses = self.chance() < 0.1
        for number in range(self.pick((4, 6)) if guesses else self.pick((1, 2, 3, 4))):
            self.take(self.pick((0, 0, 50, 1_000, 6_000, 20_000, 45_000)))
            creator = f"{process.name}/{number}"
            self._ask(
                Request("verify", users[0], creator, code="wrong")
                if guesses
                else self._request(self.pick(users), creator)
            )
        self.take(self.pick((0, 0, 0, 0, 60_000, 250_000)))  # it may go on being bad for a while
        self._clients -= 1
        if not self._clients:
            self.quiet = True
            self.rates = Rates()
            self.ring()

    def _request(self, user_id: str, creator: str) -> Request:
        kind = self.pick(_KINDS)
        code = ""
        if kind in ("verify", "verify by v2"):
            known = self.codes.get(user_id, [])
            code = "wrong" if self.chance() < 0.3 else self.pick([*known[-3:], known[-1]])
        return Request(kind, user_id, creator, self.pick(_NUMBERS), code)

    def _ask(self, request: Request) -> None:
        """Give *request* until there is an answer, but not for ever."""
        self.requests.append(request)
        for _ in range(4):
            try:
                self._give(request)
            except (Crashed, StoreUnavailable, TooMuchContention):
                self.take(int(self.chance() * 2_000))
            else:
                return

    def _give(self, request: Request) -> None:
        if self.tracing:
            self.note(f"asks for {request.kind} {request.number} {request.code} of {request.user_id}")
        try:
            request.answer = _ASK[request.kind](self.commands, request)
        except TooMuchContention:
            raise
        except DomainError as refusal:
            request.answer = refusal
        if self.tracing:
            self.note(f"is answered {request.answer!r}")

    def _draw(self, code_format: CodeFormat) -> VerificationCode:  # noqa: ARG002 - codes tell themselves apart
        self._drawn += 1
        return VerificationCode(f"code{self._drawn}")

    def _rates(self) -> Rates:
        rates = Rates()
        trouble = self.pick(range(8))
        if trouble in (1, 4, 6):
            rates.crash = self.pick((0.01, 0.04, 0.12))
        if trouble in (2, 4, 7):
            rates.freeze = self.pick((0.01, 0.04))
        if trouble in (3, 4, 5):
            rates.unavailable = self.pick((0.01, 0.05))
        rates.deaf = self.pick((0, 0.3))
        rates.bad_mood = self.pick((0, 0.2, 0.5, 0.9))
        rates.moods = self.pick((_BAD, (self.pick(_BAD),)))
        return rates


_REFUSALS: Mapping[Mood, SmsOutcome] = {
    Mood.BUSY: Retryable("busy"),
    Mood.BUSY_FOR_A_WHILE: Retryable("busy", timedelta(seconds=45)),
    Mood.REFUSES: Permanent("no such number"),
    Mood.SHUT: Misconfigured("no account"),
}
_POLICY = Policy.recommended()
_BAD = tuple(mood for mood in Mood if mood is not Mood.ACCEPTS)
_NUMBERS = ("+41791234560", "+41791234561", "+41791234562", "+12015550123")
_KINDS = (
    "change", "change", "change and return", "ask", "ask", "resend", "resend and return", "verify", "verify",
    "verify by v2", "remove", "vouch",
)  # fmt: skip


def _by(request: Request) -> By:
    return By(request.creator, command_id=request.creator)


def _permit(organization: str) -> None: ...


def _profile(user_id: str) -> HumanUserAdded:
    return HumanUserAdded(user_name=user_id)


_ASK: Mapping[str, Callable[[Commands, Request], Answer]] = {
    "add": lambda commands, one: commands.add_human_user(
        one.user_id, _profile(one.user_id), phone=one.number, by=By(one.creator, "org1", one.creator)
    ),
    "change": lambda commands, one: commands.change_phone(one.user_id, one.number, by=_by(one)),
    "change and return": lambda commands, one: commands.set_phone(
        one.user_id, one.number, return_code=True, by=_by(one), permit=_permit
    ),
    "ask": lambda commands, one: commands.add_phone_code(one.user_id, by=_by(one)),
    "resend": lambda commands, one: commands.resend_phone_code(one.user_id, by=_by(one), permit=_permit),
    "resend and return": lambda commands, one: commands.resend_phone_code(
        one.user_id, return_code=True, by=_by(one), permit=_permit
    ),
    "verify": lambda commands, one: commands.verify_phone(one.user_id, one.code, by=_by(one)),
    "verify by v2": lambda commands, one: commands.verify_user_phone(
        one.user_id, one.code, by=_by(one), permit=_permit
    ),
    "remove": lambda commands, one: commands.remove_phone(one.user_id, by=_by(one)),
    "vouch": lambda commands, one: commands.change_phone(one.user_id, one.number, verified=True, by=_by(one)),
}
