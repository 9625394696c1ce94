"""R5: the primary fails, its synchronous standby takes over, and what was acknowledged is there.

Two real servers of one cluster, clients that know both, and a manager: it lets the failed one never come back as it was
(whoever fails over has to see to that), promotes the standby, and makes the failed one anew as the next standby.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress

import psycopg

from cluster import Server, own_server
from humanuser import StoreUnavailable
from humanuser.testing import TransparentVault
from humanuser_adapters.application import Application
from humanuser_adapters.event_store import UserEventStore
from humanuser_adapters.event_store.postgresql import PostgreSQLEventRecorder
from humanuser_adapters.postgresql import PostgreSQLDatabase
from reliability.completeness import Place, findings
from reliability.lost_answers import stored_commands
from reliability.outages import DURABLE, POLICY, Clients, Phones, Span, behind_at_the_end
from reliability.proof import Effort, Figure, Proof, at_most, none

CLIENTS = 8
PAUSE_SECONDS = 0.01
"""Of a client, between two commands."""
BREATH_SECONDS = 0.5
"""Between two failures, all is well."""
STANDBY_FROZEN_SECONDS = 0.3
PATIENCE_SECONDS = 30


class Pair:
    """A primary and its standby."""

    def __init__(self, primary: Server, standby: Server, *, synchronous: bool) -> None:
        self.primary, self.standby = primary, standby
        self.url = f"postgresql://postgres:unused@/postgres?host={primary.home},{standby.home}"
        self._synchronous = synchronous
        self.make_standby()

    def make_standby(self) -> None:
        """Make the standby anew, as a copy of the primary, and have commits wait for it."""
        self.standby.stop()
        shutil.rmtree(self.standby.data)
        copy = ["-D", str(self.standby.data), "-h", str(self.primary.home), "-U", "postgres", "-R", "-c", "fast", "-N"]
        subprocess.run([str(self.standby.folder / "pg_basebackup"), *copy], check=True, **self.standby.how)
        with (self.standby.data / "postgresql.auto.conf").open("a") as settings:
            settings.write("synchronous_standby_names = ''\n")  # once promoted it goes on alone
        self.standby.run()
        self._wait_until("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
        if self._synchronous:
            self._execute(self.primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
            self._execute(self.primary, "SELECT pg_reload_conf()")
            self._wait_until("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")

    def promote(self) -> None:
        """Have the standby take over from the primary, which has failed."""
        self._execute(self.standby, "SELECT pg_promote(true, 30)")
        self.primary, self.standby = self.standby, self.primary

    @contextmanager
    def standby_frozen(self) -> Iterator[None]:
        """What the primary writes meanwhile never reaches the standby."""
        receiver = self._execute(self.standby, "SELECT pid FROM pg_stat_wal_receiver")
        os.kill(receiver, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(receiver, signal.SIGTERM)  # or it would still take what waits in the socket
            os.kill(receiver, signal.SIGCONT)

    def _wait_until(self, one: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while self._execute(self.primary, one) != 1:
            if time.monotonic() > until:
                raise TimeoutError(one)
            time.sleep(0.02)

    @staticmethod
    def _execute(server: Server, query: str) -> int:
        with psycopg.connect(server.url, autocommit=True) as connection:
            done = connection.execute(query.encode())
            return int(next(done)[0]) if done.description else 0


def killed(pair: Pair) -> None:
    """The primary is gone from one moment to the next."""
    pair.primary.kill()
    pair.promote()


def killed_while_the_standby_lags(pair: Pair) -> None:
    """The primary is gone, and the standby has not received the last that it wrote."""
    with pair.standby_frozen():
        time.sleep(STANDBY_FROZEN_SECONDS)
        pair.primary.kill()
    pair.promote()


def hung(pair: Pair) -> None:
    """The primary answers nothing and closes nothing, until its machine is switched off."""
    pair.primary.signal(signal.SIGSTOP)
    pair.promote()
    pair.standby.kill()


FAILURES: Sequence[Callable[[Pair], None]] = (killed, killed_while_the_standby_lags, hung)


class Reader:
    """Follows the log and keeps where every event was."""

    def __init__(self, url: str) -> None:
        self.given: list[Place] = []
        self._url = url
        self._stopping = threading.Event()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """It reads while the block runs, and what is left at its end."""
        thread = threading.Thread(target=self._follow)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join()

    def _follow(self) -> None:
        with closing(PostgreSQLDatabase(self._url)) as database:
            store = UserEventStore(PostgreSQLEventRecorder(database))
            while True:
                last = self._stopping.is_set()
                with suppress(StoreUnavailable):
                    while events := store.read_all(after=self.given[-1][0] if self.given else 0, limit=500):
                        self.given += [(event.position, event.user_id, event.sequence) for event in events]
                    if last:
                        return
                time.sleep(0.01)


@contextmanager
def pair_of_servers(*, synchronous: bool = True) -> Iterator[Pair]:
    """A primary and a standby of our own; leave nothing behind."""
    with ExitStack() as stack:
        primary, standby = (stack.enter_context(own_server(DURABLE)) for _ in range(2))
        yield Pair(primary, standby, synchronous=synchronous)


def run(effort: Effort) -> Iterator[Figure]:
    """Fail over and over, in each way."""
    count = effort.of(30, quick=3)
    failures = list(itertools.islice(itertools.cycle(FAILURES), count))
    random.Random(effort.seed).shuffle(failures)  # noqa: S311 - the same for the same seed
    with pair_of_servers() as pair:
        yield from fail_over(pair, failures)


def fail_over(pair: Pair, failures: Sequence[Callable[[Pair], None]]) -> Iterator[Figure]:
    """One of *failures* after the other, under load."""
    phones = Phones()
    with Application(pair.url, TransparentVault(), sender=phones, policy=POLICY, sms_budget=None) as application:
        clients = Clients(application, CLIENTS, PAUSE_SECONDS)
        application.start()
        reader = Reader(pair.url)
        spans: list[Span] = []
        with reader.at_work():
            with clients.at_work():
                for number, failure in enumerate(failures):
                    if number:
                        pair.make_standby()
                    time.sleep(BREATH_SECONDS)
                    begin = time.monotonic()
                    failure(pair)
                    spans.append((begin, time.monotonic()))
                time.sleep(BREATH_SECONDS)
            behind = behind_at_the_end(application)  # SMS that still leave are events, too
            workers_down = len(application.problems())
            application.stop()
    stored, doubled = stored_commands(pair.primary.url)
    found = findings(_places(pair.primary.url), reader.given)
    yield Figure("failovers", len(failures))
    yield Figure("commands acknowledged", len(clients.acknowledged))
    yield Figure("calls answered as unavailable", clients.refused)
    yield none("calls answered with any other error", len(clients.errors))
    yield none("acknowledged commands lost", sum(stored.get(one) != at for one, at in clients.acknowledged.items()))
    yield none("commands that took effect twice", doubled)
    yield none("events that a reader missed", found.missed)
    yield none("events that a reader was given twice, or not in order", found.twice + found.out_of_order)
    yield none("events that a reader was given and that are not stored", found.not_stored)
    standstill = round(clients.longest_standstill(spans), 2)
    yield at_most(2, "seconds without an acknowledged command around a failure, at most", standstill)
    yield at_most(2, "seconds that the longest call took", round(clients.longest, 2))
    yield none("workers that did not come back by themselves", workers_down)
    yield none("events that the projections were behind in the end", behind)
    yield none("SMS sent twice", len(phones.taken) - len(set(phones.taken)))


def _places(url: str) -> list[Place]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT position, aggregate_id, sequence FROM humanuser_events").fetchall()


FAILOVER = Proof("R5", "when the primary fails, its synchronous standby has all that was acknowledged", run)
