"""Processes are killed at random moments; then the tables are read by other code than the one that wrote them."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import sqlite3
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from cluster import cluster
from humanuser import Accepted, By, DomainError, HumanUserAdded, Policy, Sms, StoreUnavailable
from humanuser.testing import TransparentVault
from humanuser_adapters.application import Application
from humanuser_adapters.database_name import is_url
from humanuser_adapters.outbox import WAITING
from reliability.proof import Effort, Figure, Proof, at_most, exactly, none

AT_ONCE = 4
"""Processes on one database."""
LEASE = timedelta(seconds=0.5)
PROVIDER_SECONDS = 0.03
"""Between taking an SMS and answering."""
DRAIN_SECONDS = 60
MOST_STARTS = 20
POLICY = Policy.recommended().model_copy(update={"code_limits": (), "pause_between_codes": None})
CODE, SENT = "user.human.phone.code.added", "user.human.phone.code.sent"
ENDS_A_CODE = {CODE, "user.human.phone.changed", "user.human.phone.verified", "user.human.phone.removed"}
VIEWS = ("humanuser_user_details", "humanuser_user_phone")

Work = Callable[["Place", Application, random.Random], None]


@dataclass(frozen=True)
class Place:
    """A database, and files that outlive whoever is killed."""

    database: str
    acknowledgements: Path
    posts: Path

    @classmethod
    def of(cls, folder: str, database: str) -> Place:
        return cls(database, Path(tempfile.mktemp(dir=folder)), Path(tempfile.mktemp(dir=folder)))  # noqa: S306 - ours

    def acknowledge(self, user_id: str, command_id: str, sequence: int) -> None:
        """Write down what a client was told."""
        _append(self.acknowledgements, [user_id, command_id, sequence])

    def rows(self, query: str) -> list[Any]:  # Any: rows
        """What *query* finds, past all of our own code."""
        if is_url(self.database):
            with psycopg.connect(self.database) as server:
                return server.execute(query.encode()).fetchall()
        with closing(sqlite3.connect(self.database)) as file:
            return file.execute(query).fetchall()


class Provider:
    """Takes each SMS, and takes its time to say so."""

    def __init__(self, place: Place, *, can_be_asked: bool) -> None:
        self._place = place
        self._can_be_asked = can_be_asked

    def send(self, sms: Sms) -> Accepted:
        _append(self._place.posts, [time.time(), sms.message_id, sms.to.e164, sms.text.split()[0]])
        time.sleep(PROVIDER_SECONDS)
        return Accepted()

    def look_up(self, sms: Sms) -> Accepted | None:
        known = self._can_be_asked and any(post[1] == sms.message_id for post in _lines(self._place.posts))
        return Accepted() if known else None


def run_commands(effort: Effort) -> Iterator[Figure]:
    """R1: kill those who give commands, project and send."""
    kills = effort.of(5_000, quick=150)
    with tempfile.TemporaryDirectory() as folder, cluster() as url:
        for name, database, longest in (("SQLite", f"{folder}/kills.sqlite", 0.2), ("PostgreSQL", url, 0.4)):
            place = Place.of(folder, database)
            killed = kill_again_and_again(place, give_commands, kills, effort.seed, longest_seconds=longest)
            for figure in (Figure("kills", killed), *judge_commands(place)):
                yield Figure(f"{figure.what}, {name}", figure.measured, figure.wanted, figure.holds)


def run_codes(effort: Effort) -> Iterator[Figure]:
    """R2: kill those who send codes, until so many codes were made."""
    wanted = effort.of(1_000, quick=50)
    with tempfile.TemporaryDirectory() as folder, cluster() as url:
        for name, database in (("SQLite", f"{folder}/codes.sqlite"), ("PostgreSQL", url)):
            for can_be_asked in (True, False):
                instance = Place.of(folder, database if can_be_asked else _another(database))
                for figure in send_codes(instance, wanted // 2, effort.seed, can_be_asked=can_be_asked):
                    provider = "a provider that can be asked" if can_be_asked else "one that honours ids"
                    yield Figure(f"{figure.what}, {name}, {provider}", figure.measured, figure.wanted, figure.holds)


def send_codes(place: Place, wanted: int, seed: int, *, can_be_asked: bool) -> Iterator[Figure]:
    """Have *wanted* codes made and sent by processes that are killed."""
    kills = 0
    while kills == 0 or len(codes_of(place)) < wanted:
        kills += kill_again_and_again(
            place, change_phones, 20, seed + kills, longest_seconds=0.6, can_be_asked=can_be_asked
        )
    _in_a_process(lambda: _drain(place, can_be_asked=can_be_asked))
    yield Figure("kills", kills)
    yield from judge_codes(place, can_be_asked=can_be_asked)


def kill_again_and_again(
    place: Place, work: Work, kills: int, seed: int, *, longest_seconds: float, can_be_asked: bool = True
) -> int:
    """Run processes that do *work*, and kill each after a random time; how many that were."""
    chance = random.Random(seed)  # noqa: S311 - the same for the same seed
    _in_a_process(lambda: Application(place.database, TransparentVault()).close())  # tables
    living: list[tuple[float, int]] = []
    killed = begun = 0
    while killed < kills:
        while len(living) < AT_ONCE and begun < kills:
            begun += 1
            pid = _fork(lambda: _live(place, work, f"{seed}-{begun}", can_be_asked=can_be_asked))  # noqa: B023 - at once
            living.append((time.monotonic() + chance.uniform(0.005, longest_seconds), pid))
        living.sort()
        dies_at, pid = living.pop(0)
        time.sleep(max(0.0, dies_at - time.monotonic()))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "a process ended by itself"
        killed += 1
    return killed


def give_commands(place: Place, application: Application, chance: random.Random) -> None:
    """A user's life: added, changed, guessed at, removed; each is acknowledged after it was answered."""
    user_id = f"u{chance.getrandbits(60)}"
    commands = application.commands

    def told(what: str, do: Callable[[By], Any]) -> None:  # Any: details
        command_id = f"{user_id}-{what}"
        with suppress(StoreUnavailable, DomainError):
            place.acknowledge(user_id, command_id, do(By("admin", "org1", command_id=command_id)).sequence)

    added = HumanUserAdded(user_name=user_id)
    told("add", lambda by: commands.add_human_user(user_id, added, phone="+41791234567", by=by))
    told("change", lambda by: commands.change_phone(user_id, "+41791234568", by=by))
    told("guess", lambda by: commands.verify_phone(user_id, "guess", by=by))
    told("vouch", lambda by: commands.change_phone(user_id, "+41791234569", verified=True, by=by))
    told("remove", lambda by: commands.remove_phone(user_id, by=by))


def change_phones(_: Place, application: Application, chance: random.Random) -> None:
    """A new user, whose number changes now and then before the code comes."""
    user_id = f"u{chance.getrandbits(60)}"
    with suppress(StoreUnavailable):
        by = By("admin", "org1")
        application.commands.add_human_user(user_id, HumanUserAdded(user_name="a"), phone="+41791234567", by=by)
        if chance.random() < 0.3:
            time.sleep(chance.random() * 2 * PROVIDER_SECONDS)
            application.commands.change_phone(user_id, "+41791234568", by=by)
    time.sleep(0.1)


def judge_commands(place: Place) -> Iterator[Figure]:
    """Hold the tables to what was acknowledged."""
    rows = place.rows(
        "SELECT aggregate_id, sequence, event_type, command_id, in_tx_order FROM humanuser_events "
        "ORDER BY aggregate_id, sequence"
    )
    stored = {(user_id, command_id): sequence for user_id, sequence, _, command_id, _ in rows if command_id}
    told = _lines(place.acknowledgements)
    lost = sum(stored.get((user_id, command_id), 0) < sequence for user_id, command_id, sequence in told)
    gaps = halves = 0
    expected: dict[str, int] = defaultdict(int)
    for number, (user_id, sequence, event_type, _, order) in enumerate(rows):
        expected[user_id] += 1
        gaps += sequence != expected[user_id]
        follows = rows[number + 1][2:5] if number + 1 < len(rows) else ("", None, 0)
        changed = event_type == "user.human.phone.changed"
        halves += changed and (follows[0] not in (CODE, "user.human.phone.verified") or follows[2] != order + 1)
        halves += order > 1 and rows[number - 1][4] != order - 1
    yield Figure("commands acknowledged", len(told))
    yield none("of them lost", lost)
    yield none("commands stored by half", halves)
    yield none("gaps in a history", gaps)
    _in_a_process(lambda: _catch_up(place))
    live = {view: sorted(map(repr, place.rows(f"SELECT * FROM {view}"))) for view in VIEWS}  # noqa: S608 - a constant
    _in_a_process(lambda: _rebuild(place))
    rebuilt = {view: sorted(map(repr, place.rows(f"SELECT * FROM {view}"))) for view in VIEWS}  # noqa: S608 - as above
    yield exactly(sum(map(len, rebuilt.values())), "rows of read models", sum(map(len, live.values())))
    yield none("of them other than a rebuild makes them", sum(live[view] != rebuilt[view] for view in VIEWS))


@dataclass(frozen=True)
class CodeSeen:
    """A code in the events, and what became of it."""

    characters: str
    ended_at: float | None
    """When something came that made it useless; None: nothing did."""
    sent_events: int


def codes_of(place: Place) -> Sequence[CodeSeen]:
    """Every code that was made."""
    with suppress(sqlite3.OperationalError):
        rows = place.rows(
            "SELECT aggregate_id, event_type, created_at, payload FROM humanuser_events ORDER BY aggregate_id, sequence"
        )
        codes = []
        for number, (user_id, event_type, _, payload) in enumerate(rows):
            if event_type != CODE:
                continue
            later = [row for row in rows[number + 1 : number + 10] if row[0] == user_id]
            ends = [index for index, row in enumerate(later) if row[1] in ENDS_A_CODE]
            until = ends[0] if ends else len(later)
            sealed = json.loads(payload) if isinstance(payload, str | bytes) else payload
            codes.append(
                CodeSeen(
                    base64.b64decode(sealed["code"]["Crypted"]).decode().rpartition("\0")[2],
                    _seconds(later[until][2]) if ends else None,
                    sum(row[1] == SENT for row in later[:until]),
                )
            )
        return codes
    return []


def judge_codes(place: Place, *, can_be_asked: bool) -> Iterator[Figure]:
    """Hold what reached the provider to the events."""
    codes = codes_of(place)
    posts = _lines(place.posts)
    times = Counter(code for *_, code in posts)
    ids = {(message_id, code) for _, message_id, _, code in posts}
    ended = {code.characters: code.ended_at for code in codes}
    slack = LEASE.total_seconds() / 2 + 0.5  # between the last look at the events and the post
    late = sum((end := ended[code]) is not None and at > end + slack for at, _, _, code in posts)
    delivered = times if can_be_asked else Counter(code for _, code in ids)
    yield Figure("codes", len(codes))
    yield Figure("posts", len(posts))
    yield none(
        "codes still wanted and never sent", sum(not times[one.characters] for one in codes if one.ended_at is None)
    )
    yield at_most(3, "posts of one code", max(times.values(), default=0))
    yield none("codes posted under two ids", len(ids) - len(times))
    yield none("codes sent that something had ended", late)
    yield none("codes delivered twice", sum(count > 1 for count in delivered.values()))
    yield none("codes recorded as sent twice", sum(one.sent_events > 1 for one in codes))


def _live(place: Place, work: Work, name: str, *, can_be_asked: bool) -> None:
    chance = random.Random(name)  # noqa: S311 - the same for the same seed
    provider = Provider(place, can_be_asked=can_be_asked)
    application = Application(
        place.database, TransparentVault(), sender=provider, policy=POLICY, sms_lease=LEASE, sms_budget=None
    )
    application.start()
    while True:
        work(place, application, chance)


def _drain(place: Place, *, can_be_asked: bool) -> None:
    """Let one process send what is left in peace."""
    provider = Provider(place, can_be_asked=can_be_asked)
    with Application(
        place.database, TransparentVault(), sender=provider, policy=POLICY, sms_lease=LEASE, sms_budget=None
    ) as application:
        application.start()
        until = time.monotonic() + DRAIN_SECONDS
        while any(one.state in WAITING for one in application.deliveries()) and time.monotonic() < until:
            time.sleep(0.05)


def _catch_up(place: Place) -> None:
    with Application(place.database, TransparentVault()) as application:
        application.subscriptions()["users"].catch_up()


def _rebuild(place: Place) -> None:
    with Application(place.database, TransparentVault()) as application:
        application.rebuild()


def _fork(do: Callable[[], object]) -> int:
    """The id of a process that does that and nothing else; it shares no connection, because there is none yet.

    It begins anew where the database is too busy, as whoever looks after servers starts them again.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        for _ in range(MOST_STARTS):
            with suppress(StoreUnavailable):
                do()
                os._exit(0)
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as its parent
        traceback.print_exc()
    os._exit(1)


def _in_a_process(do: Callable[[], object]) -> None:
    _, status = os.waitpid(_fork(do), 0)
    assert status == 0, "it failed, as told above"


def _append(path: Path, line: list[object]) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{json.dumps(line)}\n".encode())
    finally:
        os.close(file)


def _lines(path: Path) -> list[Any]:  # Any: JSON
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _seconds(moment: str | datetime) -> float:
    return (datetime.fromisoformat(moment) if isinstance(moment, str) else moment).timestamp()


def _another(database: str) -> str:
    """A place beside *database* with nothing in it."""
    if not is_url(database):
        return f"{database}.another"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA another")
    return f"{database}&options=-csearch_path%3Danother"


KILLS = Proof("R1", "what was acknowledged is stored, whole, whoever is killed", run_commands)
CODES = Proof("R2", "every code that is wanted is sent, none twice and none too late, whoever is killed", run_codes)
