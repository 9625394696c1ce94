"""An import is killed again and again; then what was brought in is held to the file, past all of our own code.

Meanwhile a server with a sender follows the same database. In the end, questions about moments of the past are answered
from the database, and once more from the lines of the file alone.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

from cluster import cluster, new_schema
from humanuser.testing import TransparentVault
from humanuser_adapters.application import Application
from humanuser_adapters.event_files import EventFile, FileFormat, json_line, write_events
from humanuser_adapters.replay import importer
from humanuser_projections import user_as_of
from reliability.kills import Place, Provider
from reliability.plain_user import PlainRow, Question, answers_of, plain_user
from reliability.proof import Effort, Figure, Proof, none
from zitadel_export import INSTANCE, zitadel_events

EVENTS_A_USER = 20
BATCHES = 100
"""Into which a file is divided, so that there are as many moments between two of them."""
EVENT_SECONDS = 3e-5
"""About as long as it takes to store one of many."""
WHILE_CHECKED = 0.2
"""The share of kills that come while the file is only looked at."""
MOST_FAILURES = 3
PRELOADED = ["humanuser_adapters.application", "humanuser_adapters.postgresql", "humanuser_adapters.replay"]
"""What a process of ours needs and takes long to import."""
OFFSETS = tuple(timedelta(microseconds=one) for one in (-3_600_000_000, -1, 0, 0, 1, 3_600_000_000))
"""From an event to the moment that is asked about."""


class Through(Protocol):
    """How many lines an import is through with, shared between processes."""

    value: int


Import = Callable[[str, Path, Through], None]
"""Brings a file into a database, and tells how far it is: first with looking at the lines, then with storing them."""


def run(effort: Effort) -> Iterator[Figure]:
    """Bring the same file into each kind of database."""
    kills, questions = effort.of(20, quick=3), effort.of(10_000, quick=300)
    with tempfile.TemporaryDirectory() as folder, cluster() as url:
        file = exported(Path(folder), effort.of(1_000_000, quick=20_000), effort.seed)
        kinds = {
            "SQLite": (f"{folder}/imports.sqlite", f"{folder}/speed.sqlite"),
            "PostgreSQL": (new_schema(url), new_schema(url)),
        }
        for name, (database, another) in kinds.items():
            place = Place.of(folder, database)
            for figures in (bring_in_and_kill(place, file, kills, questions, effort.seed), speeds(another, file)):
                for figure in figures:
                    yield Figure(f"{figure.what}, {name}", figure.measured, figure.wanted, figure.holds)


def exported(folder: Path, events: int, seed: int) -> Path:
    """A file with so many events."""
    path = folder / "zitadel.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json_line(row)}\n" for row in zitadel_events(events, events // EVENTS_A_USER, seed))
    return path


def bring_in(database: str, file: Path, through: Through) -> None:
    """As ``humanuser import`` does, read models included."""

    def told(_: str, lines: int) -> None:
        through.value += lines

    importer.LINES_A_BATCH = _batch(_count(file))
    with Application(database, TransparentVault()) as application:
        application.import_events(EventFile(file), told=told)
        application.rebuild()


def bring_in_and_kill(
    place: Place, file: Path, kills: int, questions: int, seed: int, *, import_: Import = bring_in
) -> Iterator[Figure]:
    """Have *file* brought in by processes of which so many are killed, and ask that many questions."""
    chance = random.Random(seed)  # noqa: S311 - the same for the same seed
    provider = Provider(place, can_be_asked=False)
    with Application(
        place.database, TransparentVault(), sender=provider, instance_id=INSTANCE, sms_budget=None
    ) as server:
        server.start()
        yield from _killed(place.database, file, kills, chance, import_)
        yield none("users of whom the read models say something else", len(server.differences()))
        server.rebuild()
        yield from _held_to(file, place, server)
        asked = list(_questions(file, questions, chance))
        yield Figure("questions", len(asked))
        yield none("wrong answers", _wrong_answers(file, asked, server))
        yield none("SMS sent", len(place.posts.read_text().splitlines()) if place.posts.exists() else 0)
        yield none("SMS to be sent", len(server.deliveries()))  # most codes expired years ago, and would not be sent


def speeds(database: str, file: Path) -> Iterator[Figure]:
    """How fast it goes with nobody else there."""
    with Application(database, TransparentVault()) as application:
        began = time.perf_counter()
        events = application.import_events(EventFile(file)).stored
        yield Figure("events imported a second", round(events / (time.perf_counter() - began)))
        began = time.perf_counter()
        _export(application, file.with_name("again.jsonl"))
        yield Figure("events exported a second", round(events / (time.perf_counter() - began)))


def _killed(database: str, file: Path, kills: int, chance: random.Random, import_: Import) -> Iterator[Figure]:
    """Start again after each kill, and in the end let it finish."""
    events = _count(file)
    killed = storing = failures = 0
    finished = False
    while (killed < kills or not finished) and failures < MOST_FAILURES:
        last = killed == kills
        moment = float("inf") if last else _moment(events, kills, chance)
        exit_code, through = _one_run(
            database, file, moment, chance.uniform(0, EVENT_SECONDS * _batch(events)), import_
        )
        killed += exit_code == -signal.SIGKILL
        storing += exit_code == -signal.SIGKILL and through >= events
        failures += exit_code not in (0, -signal.SIGKILL)
        finished = last and exit_code == 0
    yield Figure("kills", killed)
    yield Figure("of them while it stored", storing)
    yield none("runs that failed by themselves", failures)


def _moment(events: int, kills: int, chance: random.Random) -> int:
    """How many lines it may be through with; not so many that all is stored before the last kill."""
    if chance.random() < WHILE_CHECKED:
        return chance.randrange(events)
    return events + chance.randrange(events // kills)


def _one_run(database: str, file: Path, moment: float, delay_seconds: float, import_: Import) -> tuple[int | None, int]:
    """Kill a process a little after that *moment*; how it ended, and what it was through with."""
    context = multiprocessing.get_context("forkserver")  # nothing of this process, which has threads
    context.set_forkserver_preload(PRELOADED)
    through: Through = context.RawValue("q", 0)  # without a lock, that the dead would keep
    process = context.Process(target=import_, args=(database, file, through))
    process.start()
    while process.is_alive() and through.value < moment:
        time.sleep(0.001)
    if process.is_alive():
        time.sleep(delay_seconds)
        process.kill()
    process.join()
    return process.exitcode, through.value


def _held_to(file: Path, place: Place, server: Application) -> Iterator[Figure]:
    """Hold what is stored, and what is exported again, to the *file*."""
    stored = [tuple(row) for row in place.rows("SELECT aggregate_id, sequence FROM humanuser_events")]
    wanted = {row[:2] for row in _rows(file)}
    yield Figure("events", len(wanted))
    yield none("events lost", len(wanted - set(stored)))
    yield none("events stored twice", len(stored) - len(set(stored)))
    yield none("events that nobody brought in", len(set(stored) - wanted))
    again = file.with_name("again.jsonl")
    _export(server, again)
    with file.open("rb") as one, again.open("rb") as other:
        pairs = zip_longest(one, other, fillvalue=b"")
        yield none(
            "bytes of lines that came back otherwise", sum(max(map(len, two)) for two in pairs if two[0] != two[1])
        )


def _questions(file: Path, count: int, chance: random.Random) -> Iterator[Question]:
    """About the moments of events, and about those around them."""
    chosen = set(chance.sample(range(_count(file)), count))
    for number, row in enumerate(_rows(file)):
        if number in chosen:
            by_time = chance.random() < 0.5
            yield (
                Question(row.user_id, at=row.at + chance.choice(OFFSETS))
                if by_time
                else Question(row.user_id, sequence=row.sequence)
            )


def _wrong_answers(file: Path, asked: Sequence[Question], server: Application) -> int:
    of_user: defaultdict[str, list[PlainRow]] = defaultdict(list)
    users = {question.user_id for question in asked}
    for row in _rows(file):
        if row.user_id in users:
            of_user[row.user_id].append(row)
    wrong = 0
    for question in asked:
        answer = user_as_of(server.history(question.user_id), at=question.at, sequence=question.sequence)
        wrong += answers_of(answer) != {plain_user(of_user[question.user_id], question)}
    return wrong


def _rows(file: Path) -> Iterator[PlainRow]:
    with file.open("rb") as lines:
        yield from map(PlainRow.of, lines)


def _count(file: Path) -> int:
    with file.open("rb") as lines:
        return sum(1 for _ in lines)


def _batch(events: int) -> int:
    return max(events // BATCHES, 1)


def _export(application: Application, path: Path) -> None:
    with path.open("wb") as file:
        write_events(application.export_events(), file, path.name, FileFormat.JSON)


IMPORTS = Proof("R17", "an import that is killed loses nothing, adds nothing twice, and gives every byte back", run)
