"""R7: a reader of PostgreSQL is given every event once, whatever the writers go through.

32 writers append through the product's event store. Some of them append in a transaction that they roll back, or keep
open while the others go on, and backends of everybody are killed all the while. Two kinds of readers follow, woken by
the bell: one asks the event store for what is next, and one is a ``Subscription`` that two processes share. In the end
what they were given is compared with the rows of the table.

How late they are is the time from the commit, as the server's own record of commits has it, to the moment at which a
reader has the event in its hands.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

import psycopg

from cluster import FAST, cluster
from fakes import new_events
from humanuser import Recorded, SequenceConflict, StoreUnavailable
from humanuser.testing.event_store import CHANGED
from humanuser_adapters.database import Connection
from humanuser_adapters.event_store import UserEventStore, payload_of
from humanuser_adapters.event_store.postgresql import PostgreSQLEventRecorder
from humanuser_adapters.postgresql import PostgreSQLDatabase
from humanuser_adapters.subscription import Subscription
from humanuser_adapters.workers import Worker
from reliability.proof import Effort, Figure, Proof, at_most, none

LAG_MILLISECONDS = 250
PATIENCE = timedelta(seconds=10)
"""Longer than a machine takes on which 32 writers have two cores."""
LONGEST_STANDSTILL_SECONDS = 60
"""Of a reader, after the last event was stored; what it has not been given by then, it has missed."""
PRELOADED = [
    __name__,
    *("humanuser.testing.event_store", "humanuser_adapters.event_store.postgresql"),
    *("humanuser_adapters.subscription", "humanuser_adapters.workers"),
]
"""What every process needs, and none has to read anew; each by itself, for the first one is not found by pytest."""
FOLLOWERS = 2
USERS = 4
"""Of each writer, who is the only one that changes them."""

TABLES = """
    CREATE TABLE taken (number bigint GENERATED ALWAYS AS IDENTITY, at double precision NOT NULL, events text NOT NULL);
    CREATE TABLE ready (reader text);
    CREATE TABLE complete (position bigint)
"""
STORED = """
    SELECT position, aggregate_id, sequence, CASE WHEN current_setting('track_commit_timestamp') = 'on'
        THEN extract(epoch FROM pg_xact_commit_timestamp(xmin))::double precision END
    FROM humanuser_events
"""
APPEND = """
    SELECT humanuser_append_command(
        'default', 'user', %s, NULL, now(), 'admin', 'org1', 2, %s, %s, %s::bigint[], %s, %s
    )
"""
ONE_BACKEND = """
    SELECT pg_terminate_backend(pid) FROM (
        SELECT pid FROM pg_stat_activity WHERE application_name = %s ORDER BY random() LIMIT 1
    ) AS one
"""

Place = tuple[int, str, int]
"""A position, and the user and sequence that are there."""


@dataclass(frozen=True)
class Load:
    """What the writers do."""

    events: int
    """Of all of them together, at least."""
    processes: int = 4
    threads: int = 8
    most: int = 40
    """How many events one command may have."""
    pause_seconds: float = 0.0
    """Before each command of a writer, on average."""
    rolled_back: float = 0.05
    """The share of commands that are undone after they were appended."""
    held_open: float = 0.005
    """The share of commands that are committed a good while after they were appended."""
    kill_every_seconds: float | None = 0.25

    @property
    def writers(self) -> int:
        """How many write at the same time."""
        return self.processes * self.threads


@dataclass(frozen=True)
class Batch:
    """What a reader was given at once."""

    at: float
    places: Sequence[Place]


@dataclass
class Outcome:
    """What was stored, and what the readers were given, in the order in which they were."""

    committed: Mapping[Place, float | None]
    """Every stored event, with the time of its commit if the server has it."""
    readers: Mapping[str, Sequence[Batch]]
    acknowledged: Mapping[str, int]
    """The sequence of each user's last event of which a writer knows that it is stored."""
    done: Counter[str]

    @property
    def rate(self) -> int:
        """Events stored in a second."""
        times = [time for time in self.committed.values() if time is not None]
        return round(len(times) / (max(times) - min(times)))


@dataclass(frozen=True)
class Findings:
    """What is wrong with what a reader was given."""

    missed: int
    twice: int
    not_stored: int
    out_of_order: int

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            self.missed + other.missed,
            self.twice + other.twice,
            self.not_stored + other.not_stored,
            self.out_of_order + other.out_of_order,
        )


def findings(stored: Iterable[Place], given: Iterable[Place]) -> Findings:
    """Compare what was *stored* with what a reader was *given*, in order."""
    missing = set(stored)
    known = frozenset(missing)
    twice = not_stored = out_of_order = 0
    ends: dict[str, int] = {}
    for place in given:
        _, user, sequence = place
        if place not in known:
            not_stored += 1
        elif place not in missing:
            twice += 1
        missing.discard(place)
        out_of_order += sequence <= ends.get(user, 0)
        ends[user] = max(sequence, ends.get(user, 0))
    return Findings(len(missing), twice, not_stored, out_of_order)


def lag_milliseconds(outcome: Outcome, share: float) -> float:
    """How late *share* of the events were in the hands of each reader, or less."""
    lags = [
        batch.at - committed
        for batches in outcome.readers.values()
        for batch in batches
        for place in batch.places
        if (committed := outcome.committed.get(place)) is not None
    ]
    if not lags:
        raise ValueError("the server does not say when it committed: it needs track_commit_timestamp=on")
    return round(1000 * sorted(lags)[int(share * (len(lags) - 1))], 1)


def complete(outcome: Outcome, when: str = "") -> Iterator[Figure]:
    """Whether all readers were given everything; *when* ends the words of each figure."""
    found = Findings(0, 0, 0, 0)
    for batches in outcome.readers.values():
        found += findings(outcome.committed, (place for batch in batches for place in batch.places))
    yield none(f"events that a reader missed{when}", found.missed)
    yield none(f"events that a reader was given twice{when}", found.twice)
    yield none(f"events that a reader was given and that are not stored{when}", found.not_stored)
    yield none(f"events out of order{when}", found.out_of_order)
    ends: dict[str, int] = {}
    for _, user, sequence in outcome.committed:
        ends[user] = max(sequence, ends.get(user, 0))
    lost = sum(ends.get(user, 0) < end for user, end in outcome.acknowledged.items())
    yield none(f"users of whom an acknowledged event is lost{when}", lost)


def follow(
    url: str, load: Load, seed: int, recorder: type[PostgreSQLEventRecorder] = PostgreSQLEventRecorder
) -> Outcome:
    """Let writers and readers loose on the empty schema of *url*; *recorder* is the readers' own."""
    name = f"completeness-{secrets.token_hex(4)}"
    url = psycopg.conninfo.make_conninfo(url, application_name=name)
    with contextlib.closing(PostgreSQLDatabase(url)) as database:
        PostgreSQLEventRecorder(database)  # makes the tables
    processes = load.processes + FOLLOWERS + 1
    main = psycopg.connect(url, autocommit=True, application_name=f"{name}-main")
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with main, ProcessPoolExecutor(processes, mp_context=context) as pool:
        main.execute(TABLES)
        main.execute("CREATE TABLE others (name text)")
        reader = pool.submit(_read, url, recorder)
        followers = [pool.submit(_share, url, recorder) for _ in range(FOLLOWERS)]
        try:
            _wait_for(main, FOLLOWERS + 1, [reader, *followers])
            written = [pool.submit(_write, url, load, seed, number) for number in range(load.processes)]
            with _a_transaction_of_somebody_else(url):
                kills = _kill_until_done(main, name, load, written)
        finally:
            main.execute("INSERT INTO complete SELECT coalesce(max(position), 0) FROM humanuser_events")
        readers = {"reader": reader.result()}
        for follower in followers:
            follower.result()
        rows = main.execute("SELECT at, events FROM taken ORDER BY number").fetchall()
        readers["subscription"] = [Batch(at, [_place(*place) for place in json.loads(events)]) for at, events in rows]
        committed = {_place(*row[:3]): row[3] for row in main.execute(STORED)}
    acknowledged = {user: end for one in written for user, end in one.result()[0].items()}
    done = sum((one.result()[1] for one in written), Counter(killed=kills))
    return Outcome(committed, readers, acknowledged, done)


def _place(position: int, user: str, sequence: int) -> Place:
    return (position, user, sequence)


def _wait_for(main: psycopg.Connection, readers: int, running: Sequence[Future[Any]]) -> None:  # Any: whatever it gives
    while main.execute("SELECT count(*) FROM ready").fetchone() != (readers,):
        for one in running:
            if one.done():
                one.result()
        time.sleep(0.05)


@contextlib.contextmanager
def _a_transaction_of_somebody_else(url: str) -> Iterator[None]:
    """It has written, and stays open all the while; that must hold up no reader."""
    with psycopg.connect(url, application_name="somebody-else") as other:
        other.execute("INSERT INTO others VALUES ('a')")
        yield


def _kill_until_done(main: psycopg.Connection, name: str, load: Load, running: Sequence[Future[Any]]) -> int:
    kills = 0
    while not all(one.done() for one in running):
        time.sleep(load.kill_every_seconds or 0.1)
        if load.kill_every_seconds is not None:
            kills += main.execute(ONE_BACKEND, (name,)).fetchone() == (True,)
    return kills


def _read(url: str, recorder: type[PostgreSQLEventRecorder]) -> list[Batch]:
    """Ask the event store for what is next, until everything is complete."""
    batches: list[Batch] = []
    position = 0
    database = PostgreSQLDatabase(url, patience=PATIENCE)
    store = UserEventStore(recorder(database))

    def read() -> None:
        nonlocal position
        while events := store.read_all(after=position, limit=500):
            batches.append(Batch(time.time(), _places(events)))
            position = events[-1].position

    _until_complete(Worker("reader", database, read), database, lambda: position)
    return batches


def _share(url: str, recorder: type[PostgreSQLEventRecorder]) -> None:
    """Take in what is next, as one of several processes."""
    database = PostgreSQLDatabase(url, patience=PATIENCE)
    subscription = Subscription("completeness", database, UserEventStore(recorder(database)), _Taking())
    _until_complete(Worker("follower", database, subscription.follow), database, subscription.position)


class _Taking:
    """Keeps what it was given in a table, in the transaction of the subscription."""

    def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        given = (time.time(), json.dumps(_places(events)))
        connection.execute("INSERT INTO taken (at, events) VALUES (?, ?)", given)


def _places(events: Sequence[Recorded]) -> list[Place]:
    return [(event.position, event.user_id, event.sequence) for event in events]


def _until_complete(worker: Worker, database: PostgreSQLDatabase, position: Callable[[], int]) -> None:
    logging.disable()  # killed backends are what this is about
    worker.start()
    with database.write() as connection:
        connection.execute("INSERT INTO ready VALUES (?)", (worker.name,))
    reached, since = -1, time.monotonic()
    while time.monotonic() < since + LONGEST_STANDSTILL_SECONDS:
        time.sleep(0.1)
        with contextlib.suppress(StoreUnavailable):
            with database.read() as connection:
                last = connection.execute("SELECT position FROM complete").fetchone()
            if last is None or position() != reached:
                reached, since = position(), time.monotonic()
            if last is not None and reached >= last[0]:
                break
    worker.stop()
    database.close()


def _write(url: str, load: Load, seed: int, process: int) -> tuple[dict[str, int], Counter[str]]:
    """What each user's last sequence is, and what the writers of one process did."""
    logging.disable()
    with contextlib.closing(PostgreSQLDatabase(url, patience=PATIENCE)) as database:
        writers = [_Writer(database, load, f"{seed}-{process}-{number}") for number in range(load.threads)]
        with ThreadPoolExecutor(load.threads) as pool:
            for _ in pool.map(_Writer.run, writers):
                pass
    ends = {user: end for writer in writers for user, end in writer.ends.items()}
    return ends, sum((writer.done for writer in writers), Counter[str]())


class _Writer:
    def __init__(self, database: PostgreSQLDatabase, load: Load, name: str) -> None:
        self.ends = {f"user-{name}-{number}": 0 for number in range(USERS)}
        self.done: Counter[str] = Counter()
        self._database = database
        self._store = UserEventStore(PostgreSQLEventRecorder(database))
        self._load = load
        self._chance = random.Random(name)  # noqa: S311 - to be repeatable

    def run(self) -> None:
        """Write this writer's share of the events."""
        share = -(-self._load.events // self._load.writers)
        while sum(self.ends.values()) < share:
            if self._load.pause_seconds:
                time.sleep(self._chance.expovariate(1 / self._load.pause_seconds))
            user = self._chance.choice([*self.ends])
            try:
                self._command(user, self._chance.randint(1, self._load.most))
            except (StoreUnavailable, SequenceConflict, psycopg.Error):
                self.done["broken off"] += 1
                self._look(user)

    def _command(self, user: str, events: int) -> None:
        kind = self._chance.random()
        if kind < self._load.rolled_back:
            self._in_transaction(user, events, "ROLLBACK", self._chance.uniform(0, 0.02))
            self.done["rolled back"] += 1
        elif kind < self._load.rolled_back + self._load.held_open:
            self._in_transaction(user, events, "COMMIT", self._chance.uniform(0.1, 0.5))
            self.ends[user] += events
            self.done["held open"] += 1
        else:
            self._append(user, events)
            self.ends[user] += events
            self.done["appended"] += 1

    def _append(self, user: str, events: int) -> None:
        self._store.append(new_events(user, [CHANGED] * events, after=self.ends[user]))

    def _in_transaction(self, user: str, events: int, end: str, seconds: float) -> None:
        """Append as the product does, but leave the transaction open for some *seconds*."""
        after = self.ends[user]
        sequences = list(range(after + 1, after + events + 1))
        types, payloads = [CHANGED.type] * events, [payload_of(CHANGED).decode()] * events
        with contextlib.closing(self._database.connect()) as connection:
            connection.execute("BEGIN")
            connection.execute(APPEND, (secrets.token_hex(8), after, [user] * events, sequences, types, payloads))
            time.sleep(seconds)
            if connection.execute(end).statusmessage != end:
                raise StoreUnavailable("the transaction was undone")
        self._database.rang()

    def _look(self, user: str) -> None:
        """Where the user's history ends, after a command of which nobody knows what became."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                self.ends[user] += len(self._store.load_behind(self.ends[user], "default", user))
                return


def _run(effort: Effort) -> Iterator[Figure]:
    with cluster([*FAST, "track_commit_timestamp=on"]) as server:
        stress = follow(_schema(server, "stress"), Load(effort.of(1_000_000, quick=50_000)), effort.seed)
        yield Figure("writers", Load(0).writers)
        yield Figure("events", len(stress.committed))
        yield Figure("events per second", stress.rate)
        for what in ("appended", "rolled back", "held open", "broken off", "killed"):
            yield Figure(_WORDS[what], stress.done[what])
        yield from complete(stress)
        yield Figure("lag p99 in ms, where writers go faster than readers can", lag_milliseconds(stress, 0.99))
        del stress
        steady = follow(_schema(server, "steady"), _steady(effort), effort.seed)
        yield Figure("events per second at a steady load", steady.rate)
        yield from complete(steady, " at a steady load")
        yield at_most(LAG_MILLISECONDS, "lag p99 in ms at a steady load", lag_milliseconds(steady, 0.99))


_WORDS = {
    "appended": "commands appended",
    "rolled back": "commands rolled back after they were appended",
    "held open": "commands committed 0.1 to 0.5 s after they were appended",
    "broken off": "commands broken off",
    "killed": "backends killed, of writers and readers",
}


def _steady(effort: Effort) -> Load:
    """About 100 commands and 300 events a second, until the first writer has written its share."""
    return Load(
        effort.of(9_000, quick=3_000),
        most=5,
        pause_seconds=0.32,
        rolled_back=0.05,
        held_open=0,
        kill_every_seconds=None,
    )


def _schema(server: str, name: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{server}&options=-csearch_path%3D{name}"


PROOF = Proof("R7", "A reader is given every event once and in order, and soon", _run)
