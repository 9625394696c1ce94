"""What is stored wrong, by whatever means, stops nobody else, is parked with a reason, and is never executed."""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from humanuser import By, HumanUserAdded, Policy, Recorded, UnreadableEvent
from humanuser_adapters.application import Application
from humanuser_adapters.event_store import SQLiteEventRecorder, UserEventStore
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.vault import KEY_BYTES, AesGcmVault, Keys
from reliability.proof import Effort, Figure, Proof, at_most, exactly, none

ADMIN = By("admin", organization="org1")
POLICY = Policy.zitadel()
PATIENCE_SECONDS = 60.0
EXECUTION = (
    "import",
    "exec",
    "compile",
    "os.system",
    "os.exec",
    "subprocess.Popen",
    "ctypes",
    "pickle",
    "socket.connect",
)
"""Audit events of Python that no reading of an event may cause."""

POISON: dict[str, Any] = {
    "no JSON": "{",
    "half an event": '{"phone',
    "another shape": "[1, 2]",
    "a number for a text": '{"phoneNumber": 41791234567}',
    "no number": '{"phoneNumber": "12"}',
    "nothing": "",
    "a lone surrogate": '{"phoneNumber": "\\ud800"}',
    "no UTF-8": b'{"phoneNumber": "\xff\xfe"}',
    "deep": "[" * 100_000,
    "long": '{"phoneNumber": ' + "9" * 100_000 + "}",
    "a pickle": b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.",
    "a NUL": '{"phoneNumber": "+4179\\u0000"}',
}
"""What stands where an event's payload should."""


def run(effort: Effort) -> Iterator[Figure]:
    """Poison a log, follow it, mend it; then flip each byte of another one."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _poisoned(Path(folder) / "poisoned.sqlite", users=effort.of(2_000, quick=200), seed=effort.seed)
        yield from _flipped(Path(folder) / "flipped.sqlite", users=effort.of(200, quick=20))


def _poisoned(file: Path, *, users: int, seed: int) -> Iterator[Figure]:
    chance = random.Random(seed)  # noqa: S311 - the same for the same seed
    vault = AesGcmVault(Keys("key1", {"key1": bytes(KEY_BYTES)}))
    with Application(file, vault, policy=POLICY) as application:
        for number in range(users):
            application.commands.add_human_user(f"user{number}", HumanUserAdded(user_name="a"), by=ADMIN)
            application.commands.change_phone(f"user{number}", f"+4179{1000000 + number}", by=ADMIN)
    victims = chance.sample(range(users), max(len(POISON), users // 100))
    before = _spoil(file, [f"user{number}" for number in victims])
    with Application(file, vault, policy=POLICY) as application, _audited() as executed:
        application.start()
        subscription = application.subscriptions()["users"]
        late = _seconds_until(lambda: subscription.lag().positions == 0)
        healthy = [number for number in range(users) if number not in victims]
        names = {f"user{number}" for number in healthy}
        application.commands.change_phone(f"user{healthy[0]}", "+41797654321", by=ADMIN)
        later = _seconds_until(lambda: subscription.lag().positions == 0)
        wrong = int(_shown(application, f"user{healthy[0]}") != "+41797654321")
        wrong += sum(_shown(application, f"user{number}") != f"+4179{1000000 + number}" for number in healthy[1:])
        parked = subscription.parked()
        spoilt = {position for position, _ in before}
        yield Figure("events that were spoilt", len(spoilt))
        yield exactly(len(spoilt), "of them parked", len(spoilt & {one.position for one in parked}))
        yield none("parked without a reason", sum(not one.reason for one in parked))
        yield none("events of other users not taken in", wrong + sum(one.user_id in names for one in parked))
        yield at_most(1, "seconds that a later event of another user takes", round(later, 2))
        yield none("workers that gave up", len(application.problems()))
        yield Figure("seconds to go through the log", round(late, 2))
        with closing(sqlite3.connect(file)) as connection, connection:
            back = [(payload, position) for position, payload in before]
            connection.executemany("UPDATE humanuser_events SET payload = ? WHERE position = ?", back)
        subscription.take_in_parked()
        mended = sum(_shown(application, f"user{number}") == f"+4179{1000000 + number}" for number in victims)
        yield exactly(len(victims), "users taken in after they were mended", mended)
        yield none("still parked then", len(subscription.parked()))
    yield none("imports, processes and code run on the way", len(executed))


def _spoil(file: Path, users: list[str]) -> list[tuple[int, str]]:
    """Write poison over the phone of each of *users*; what stood there before, by position."""
    before = []
    kinds = list(POISON.values())
    with closing(sqlite3.connect(file)) as connection, connection:
        for number, user in enumerate(users):
            query = "SELECT position, payload FROM humanuser_events WHERE aggregate_id = ? AND sequence = 2"
            position, payload = connection.execute(query, (user,)).fetchone()
            before.append((position, payload))
            poison = kinds[number % len(kinds)]
            as_text = "UPDATE humanuser_events SET payload = CAST(? AS TEXT) WHERE position = ?"
            connection.execute(as_text, (poison, position))
    return before


def _flipped(file: Path, *, users: int) -> Iterator[Figure]:
    """Flip each byte of each text of each row, one at a time, and read."""
    vault = AesGcmVault(Keys("key1", {"key1": bytes(KEY_BYTES)}))
    with Application(file, vault, policy=POLICY) as application:
        for number in range(users):
            profile = HumanUserAdded(user_name=f"user{number}")
            application.commands.add_human_user(f"user{number}", profile, phone="+41791234567", by=ADMIN)
    database = SQLiteDatabase(file)
    store = UserEventStore(SQLiteEventRecorder(database))
    refused = read = broken = 0
    columns = ("event_type", "created_at", "creator", "owner", "payload")
    with closing(database), closing(sqlite3.connect(file, isolation_level=None)) as connection, _audited() as executed:
        rows = connection.execute(f"SELECT position, {', '.join(columns)} FROM humanuser_events").fetchall()  # noqa: S608
        for position, *texts in rows:
            for column, text in zip(columns, texts, strict=True):
                update = f"UPDATE humanuser_events SET {column} = CAST(? AS TEXT) WHERE position = ?"  # noqa: S608
                for index in range(len(text.encode())):
                    flipped = bytearray(text.encode())
                    flipped[index] ^= 1 << (index % 8)
                    connection.execute(update, (bytes(flipped), position))
                    try:
                        (entry,) = store.read_log(after=position - 1, limit=1)
                        read += isinstance(entry, Recorded)
                        refused += not isinstance(entry, Recorded)
                        store.read_all(after=position - 1, limit=1)
                    except UnreadableEvent:
                        pass
                    except Exception as error:  # noqa: BLE001 - any other is what is looked for
                        broken += 1
                        print(f"  {column} {bytes(flipped)!r}: {error!r}")  # noqa: T201
                connection.execute(update, (text, position))
    yield Figure("bytes flipped, one at a time", refused + read + broken)
    yield Figure("of them refused as unreadable", refused)
    yield none("that broke the reader", broken)
    yield none("imports, processes and code run by a flipped byte", len(executed))


def _shown(application: Application, user_id: str) -> str | None:
    """The number that the read model has."""
    found = application.find_user(user_id)
    number = found and found[1].phone
    return number.e164 if number else None


class Stuck(Exception):
    """What had to come did not."""


def _seconds_until(seen: Callable[[], bool]) -> float:
    start = time.monotonic()
    while not seen():
        if time.monotonic() - start > PATIENCE_SECONDS:
            raise Stuck
        time.sleep(0.005)
    return time.monotonic() - start


_watching: list[list[str]] = []


@contextmanager
def _audited() -> Iterator[list[str]]:
    """What was imported or executed while the block ran."""
    if not _watching:
        sys.addaudithook(_hook)
    seen: list[str] = []
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching[-1] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event.startswith(EXECUTION):
        _watching[-1].append(f"{event} {arguments[:1]}")


POISONED = Proof("R9", "what is stored wrong is parked with a reason, executed never, and stops nobody else", run)
