"""The database goes away and comes back: every call is answered meanwhile, and nothing has to be restarted."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, pairwise

import psycopg

from cluster import Server, own_server
from humanuser import Accepted, By, HumanUserAdded, Policy, Sms, StoreUnavailable
from humanuser_adapters.application import Application
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys
from reliability.lost_answers import stored_commands
from reliability.proof import Effort, Figure, Proof, at_most, none

SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 60.0
BREATH_SECONDS = 1.0
"""Between two outages."""
PATIENCE_SECONDS = 30
DURABLE = ("max_connections=200",)
"""The server waits for its disk, as it does by itself."""
ADMIN = By("admin", organization="org1")
POLICY = Policy.recommended().model_copy(update={"code_limits": (), "pause_between_codes": None})
NUMBERS = ("+41791234567", "+41791234568")
USERS_OF_ONE = 50
"""Of one client, by turns: a history of thousands of events, as none is, would be what takes the time."""


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """The server crashed, and is started again."""
    server.stop()
    try:
        yield
    finally:
        server.run()


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """The server answers nothing and closes nothing."""
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


@contextmanager
def cut_off(server: Server) -> Iterator[None]:
    """Nobody is let in any more, and who was in is put out."""
    with psycopg.connect(server.url, dbname="template1", autocommit=True) as connection:
        connection.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
        put_out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'"
        connection.execute(put_out)
        try:
            yield
        finally:
            connection.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS true")


OUTAGES = (stopped, frozen, cut_off)


class Phones:
    """Take every SMS."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.reached: set[str] = set()

    def send(self, sms: Sms) -> Accepted:
        self.reached.add(sms.to.e164)
        self.taken.append(sms.message_id)
        return Accepted()

    def look_up(self, sms: Sms) -> Accepted | None:
        return Accepted() if sms.message_id in self.taken else None


Span = tuple[float, float]
"""From when to when, by the clock that goes on while nobody moves it."""


class Clients:
    """Threads that change phones and read, one call after the other, and note what they were answered, and when."""

    def __init__(self, application: Application, count: int = 3, pause_seconds: float = 0.05) -> None:
        """*count* threads, each with users of its own."""
        self.acknowledged: dict[str, int] = {}
        """The sequence that each command id brought its user to."""
        self.refused = 0
        self.longest = 0.0
        self.errors: list[str] = []
        self._acknowledged_at = [time.monotonic()]
        self._application = application
        self._users = [[f"user{number}-{one}" for one in range(USERS_OF_ONE)] for number in range(count)]
        self._pause_seconds = pause_seconds
        self._stopping = threading.Event()
        for user_id in chain(*self._users):
            application.commands.add_human_user(user_id, HumanUserAdded(user_name="a"), by=ADMIN)

    def longest_standstill(self, spans: Iterable[Span]) -> float:
        """The most seconds between two commands that were acknowledged, where that has to do with one of *spans*."""
        gaps = list(pairwise(sorted(self._acknowledged_at)))
        return max(end - start for start, end in gaps for begin, over in spans if start <= over and end >= begin)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """They work while the block runs."""
        threads = [threading.Thread(target=self._work, args=(users,)) for users in self._users]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()

    def _work(self, users: Sequence[str]) -> None:
        turn = 0
        while not self._stopping.is_set():
            round_, place = divmod(turn, len(users))
            user_id = users[place]
            if self._timed(self._change_phone, user_id, round_):
                turn += 1  # else again, under the same id
            self._timed(self._application.find_user, user_id)
            self._stopping.wait(self._pause_seconds)

    def _change_phone(self, user_id: str, round_: int) -> None:
        by = By("admin", "org1", command_id=f"{user_id}-{round_}")
        details = self._application.commands.change_phone(user_id, NUMBERS[round_ % 2], by=by)
        self.acknowledged[f"{user_id}-{round_}"] = details.sequence
        self._acknowledged_at.append(time.monotonic())

    def _timed(self, call: Callable[..., object], *args: object) -> bool:
        """Whether *call* gave a result."""
        start = time.monotonic()
        try:
            call(*args)
        except StoreUnavailable:
            self.refused += 1
        except Exception as error:  # noqa: BLE001 - any other is what is looked for
            self.errors.append(repr(error))
        else:
            return True
        finally:
            self.longest = max(self.longest, time.monotonic() - start)
        return False


def run(effort: Effort) -> Iterator[Figure]:
    """Go through outages of growing length, of each kind in turn."""
    count = effort.of(20, quick=3)
    longest = LONGEST_SECONDS if not effort.quick else 3.0
    spans = [SHORTEST_SECONDS * (longest / SHORTEST_SECONDS) ** (number / (count - 1)) for number in range(count)]
    random.Random(effort.seed).shuffle(spans)  # noqa: S311 - the same for the same seed
    with own_server(DURABLE) as server:
        yield from endure(server, spans)


def endure(server: Server, spans: list[float]) -> Iterator[Figure]:
    """One outage of each of *spans* seconds."""
    vault, phones = AesGcmVault(Keys("key1", {"key1": bytes(KEY_BYTES)})), Phones()
    with Application(server.url, vault, sender=phones, policy=POLICY, sms_budget=None) as application:
        clients = Clients(application)
        application.start()
        slowest_health = 0.0
        with clients.at_work():
            for number, seconds in enumerate(spans):
                time.sleep(BREATH_SECONDS)
                with OUTAGES[number % len(OUTAGES)](server):
                    time.sleep(seconds)
                slowest_health = max(slowest_health, _seconds_until_healthy(application, phones, number))
        workers_down = len(application.problems())
        behind = behind_at_the_end(application)
    stored, doubled = stored_commands(server.url)
    yield Figure("outages", len(spans))
    yield Figure("seconds of them", round(sum(spans), 1))
    yield Figure("calls answered with a result", len(clients.acknowledged))
    yield Figure("calls answered as unavailable", clients.refused)
    yield none("calls answered with any other error", len(clients.errors))
    yield at_most(2, "seconds that the longest call took", round(clients.longest, 2))
    yield at_most(1, "seconds until all was well again, at most", round(slowest_health, 2))
    yield none("acknowledged commands lost", sum(stored.get(one) != at for one, at in clients.acknowledged.items()))
    yield none("commands that took effect twice", doubled)
    yield none("workers that did not come back by themselves", workers_down)
    yield none("events that the projections were behind in the end", behind)
    yield none("SMS sent twice", len(phones.taken) - len(set(phones.taken)))


def _seconds_until_healthy(application: Application, phones: Phones, number: int) -> float:
    """Until a new user is added, is in the read models, has her SMS, and no worker complains."""
    start = time.monotonic()
    user_id, phone = f"probe{number}", f"+4179{2_000_000 + number}"
    added = False
    while time.monotonic() - start < PATIENCE_SECONDS:
        try:
            if not added:
                by = By("admin", "org1", command_id=user_id)
                application.commands.add_human_user(user_id, HumanUserAdded(user_name="a"), phone=phone, by=by)
                added = True
            if phone in phones.reached and not application.problems():
                return time.monotonic() - start
        except StoreUnavailable:
            pass
        time.sleep(0.01)
    return float("inf")


def behind_at_the_end(application: Application) -> int:
    until = time.monotonic() + PATIENCE_SECONDS
    while (behind := application.subscriptions()["users"].lag().positions) and time.monotonic() < until:
        time.sleep(0.01)
    return behind


OUTAGES_ENDURED = Proof("R8", "when the database is away every call is answered, and then all goes on by itself", run)
