"""R4: what a power loss can leave of a SQLite file, thousands of times.

A process runs commands while ``strace`` writes down every call that changes a file. From that log a model of a disk
makes the files as they may be found after the power failed at any point: whatever was not synced is there, or is not,
or in part and in any order. SQLite opens each of these images; then plain SQL compares the rows with those that were
written and with the commands that had been acknowledged by then.

The model knows nothing of SQLite or of the product. It assumes, as SQLite does, that a disk writes a sector of 512
bytes whole or not at all, and that what a disk says it has synced is there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from humanuser import By, HumanUserAdded, Policy
from humanuser.errors import CodeInvalid
from humanuser_adapters.application import Application
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.vault import AesGcmVault, Keys
from reliability.proof import Effort, Figure, Proof, none

PROCESSES = 2
MEMORY = Path("/dev/shm")  # noqa: S108 - images need no disk
SESSIONS = 3
"""How often the recorded process opens the database, and closes it again."""
PAGES_UNTIL_CHECKPOINT = 24
"""A few commits; with the usual 1,000 the main file would hardly ever be written."""
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
ROWS = """
    SELECT position, instance_id, aggregate_type, aggregate_id, sequence, event_type, revision, created_at, creator,
        owner, payload, in_tx_order, command_id
    FROM humanuser_events ORDER BY position
"""
USER, SEQUENCE, IN_COMMAND = 3, 4, 11
"""Places in a row."""
CORRUPT, LOST, WRONG = "corrupt", "lost", "wrong"


class NoStrace(Exception):
    """The machine has no ``strace``."""


@dataclass(frozen=True)
class Call:
    """One system call that changes a file, or that makes a change last, or that tells of a command."""

    name: str
    path: str
    began: int
    ended: int
    """Lines of the log; what happened between them happened at the same time."""
    data: bytes = b""
    offset: int = 0


@dataclass(frozen=True)
class Recording:
    """What was done to the files of one database, and the rows that it holds in the end."""

    database: str
    calls: Sequence[Call]
    rows: Sequence[tuple[object, ...]]

    @property
    def acknowledged(self) -> int:
        """How many commands."""
        return sum(call.name == "acknowledge" for call in self.calls)


CHANGES = ("write", "pwrite64", "ftruncate", "unlink", "unlinkat", "acknowledge")
SYNCS = ("fsync", "fdatasync")
OPENS = ("openat", "open")
UNKNOWN = (
    *("creat", "writev", "pwritev", "pwritev2", "truncate", "fallocate", "sync_file_range", "copy_file_range"),
    *("sendfile", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
)
"""Calls that nothing here makes on a database; if that changes, the model has to learn them."""

_LINE = re.compile(r"(\d+) +(?:<\.\.\. \w+ resumed>(?P<rest>.*)|(?P<call>\w+\(.*))")
_UNFINISHED = " <unfinished ...>"
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_OPENED = re.compile(r"<([^<>]*)>(?:\(deleted\))?$")


def record(seed: int, *, synchronous: str = "", commands: int = 20) -> Recording:
    """Run *commands* in each session of a process; *synchronous* replaces what the product tells SQLite."""
    strace = shutil.which("strace")
    if strace is None:
        raise NoStrace("there is no strace on this machine")
    with tempfile.TemporaryDirectory(prefix="power-") as folder:
        database, log = Path(folder, "db", "users.sqlite"), Path(folder, "log")
        database.parent.mkdir()
        traced = ",".join(f"?{name}" for name in (*CHANGES[:-1], *SYNCS, *OPENS, *UNKNOWN))
        subprocess.run(
            [
                *(strace, "-f", "--seccomp-bpf", "-y", "-xx", "-s", str(2**20), "-e", f"trace={traced}", "-o", log),
                *(sys.executable, "-m", "reliability.power_loss", database, str(seed), str(commands), synchronous),
            ],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        with contextlib.closing(sqlite3.connect(database)) as connection:
            rows = connection.execute(ROWS).fetchall()
        with log.open() as lines:
            return Recording(str(database), list(calls_of(lines, str(database))), rows)


def calls_of(lines: Iterator[str], database: str) -> Iterator[Call]:
    """The calls that touch the files of *database*, in order, out of what ``strace -f -y -xx`` wrote."""
    under_way: dict[str, tuple[int, str]] = {}
    calls: list[Call] = []
    for number, line in enumerate(lines):
        found = _LINE.match(line)
        if found is None:
            continue  # a signal, or the end of a thread
        began, text = number, found["call"]
        if text is None:
            began, text = under_way.pop(found[1])
            text += found["rest"]
        elif text.endswith(_UNFINISHED):
            under_way[found[1]] = (number, text.removesuffix(_UNFINISHED))
            continue
        calls += _relevant(text, database, began, number)
    yield from sorted(calls, key=_when)


def _when(call: Call) -> int:
    """The line at which a call counts: a change may be there as soon as it began, a sync lasts when it ended."""
    return call.began if call.name in CHANGES else call.ended


def _relevant(text: str, database: str, began: int, ended: int) -> Iterator[Call]:
    if (found := _CALL.match(text)) is None:
        raise ValueError(f"cannot read {text[:200]}")
    name, arguments, result = found[1], found[2].split(", "), int(found[3])
    if name == "write" and arguments[0].startswith("1<"):
        yield Call("acknowledge", "", began, ended, _bytes(arguments[1].strip('"')))
        return
    path = _path(name, text, arguments)
    if not _belongs(path, database) or (result < 0 and name in OPENS):
        return
    if result < 0 or name in UNKNOWN:
        raise ValueError(f"the model does not know this: {text[:200]}")
    if name in OPENS and "O_CREAT" not in text and "O_TRUNC" not in text:
        return
    if name == "pwrite64":
        data, offset = _bytes(arguments[1].strip('"')), int(arguments[3])
        if result != len(data):
            raise ValueError("a short write")
        yield Call(name, path, began, ended, data, offset)
    elif name == "ftruncate":
        yield Call(name, path, began, ended, offset=int(arguments[1]))
    elif name == "write" or "O_TRUNC" in text or "AT_REMOVEDIR" in text:
        raise ValueError(f"the model does not know this: {text[:200]}")
    else:
        yield Call(name, path, began, ended)


def _path(name: str, text: str, arguments: Sequence[str]) -> str:
    if name in OPENS:
        named = arguments[1 if name == "openat" else 0].strip('"')
    elif name in {"unlink", "unlinkat"}:
        named = arguments[-1 if name == "unlink" else 1].strip('"')
    else:
        opened = _OPENED.search(arguments[0])
        named = opened[1] if opened else ""
    if name in UNKNOWN:  # whichever of its arguments it is
        named = next(iter(re.findall(r'["<]([^"<>]*)[">]', text)), "")
    return _bytes(named).decode()


def _belongs(path: str, database: str) -> bool:
    if path.endswith("-shm"):
        return False  # made anew after a crash
    return path.startswith(database) or path == str(Path(database).parent)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", "")) if text.startswith("\\x") else text.encode()


@dataclass(eq=False)
class File:
    """A file on the disk: what lasts, and what may last."""

    lasting: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)


class Disk:
    """A disk with a write cache, from which anything may get lost that was not synced."""

    def __init__(self) -> None:
        self._names: dict[str, File] = {}
        """As a running process sees them."""
        self._lasting: dict[str, File] = {}
        self._pending: list[tuple[Call, File | None]] = []
        """Names that came or went, in order."""

    def take(self, call: Call) -> None:
        """Do what a process asked for."""
        if call.name in OPENS:
            if call.path not in self._names:
                self._names[call.path] = File()
                self._pending.append((call, self._names[call.path]))
        elif call.name in {"unlink", "unlinkat"}:
            del self._names[call.path]
            self._pending.append((call, None))
        elif call.name not in SYNCS:
            self._names[call.path].pending.append(call)
        elif call.path in self._names:
            self._sync(self._names[call.path], call)
        else:
            self._sync_names(call)

    def after_power_loss(self, chance: random.Random) -> dict[str, bytes]:
        """Files as they may be found: the content by path."""
        names: dict[str, File | None] = dict(self._lasting)
        pending: dict[str, list[File | None]] = {}
        for call, one in self._pending:
            pending.setdefault(call.path, []).append(one)
        for path, states in pending.items():
            if kept := chance.randint(0, len(states)):
                names[path] = states[kept - 1]
        luck = Luck(chance)
        return {path: luck.content(file) for path, file in names.items() if file is not None}

    def _sync(self, file: File, sync: Call) -> None:
        for call in _covered(file.pending, sync):
            _apply(file.lasting, call, call.data, call.offset)
            file.pending.remove(call)

    def _sync_names(self, sync: Call) -> None:
        covered = _covered([call for call, _ in self._pending], sync)
        for call, file in [one for one in self._pending if one[0] in covered]:
            self._pending.remove((call, file))
            if file is None:
                self._lasting.pop(call.path, None)
            else:
                self._lasting[call.path] = file


def _covered(calls: Sequence[Call], sync: Call) -> list[Call]:
    """Those of *calls* that had ended when *sync* began."""
    return [call for call in calls if call.ended < sync.began]


class Luck:
    """What one power loss spares of what is not synced.

    Either the disk kept the order, and the first calls are there, the last of them in part; or it did not, and any
    piece of any call may be there: all of a call, or pages, or sectors.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._in_order = chance.random() < 0.3
        self._piece = chance.choice((512, 4096, 2**31))
        self._kept = chance.choice((0.0, 0.1, 0.5, 0.5, 0.9, 0.97, 1.0))

    def content(self, file: File) -> bytes:
        """What is found of *file*."""
        content = bytearray(file.lasting)
        last = self._chance.randint(0, len(file.pending)) if self._in_order else len(file.pending)
        for number, call in enumerate(file.pending[: last + 1]):
            sure = self._in_order and number < last
            for start, end in _pieces(call, self._piece):
                if sure or self._chance.random() < self._kept:
                    _apply(content, call, call.data[start:end], call.offset + start)
        return bytes(content)


def _pieces(call: Call, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a call's data that lie on different pieces of the disk of *size* bytes."""
    start = 0
    while start < len(call.data):
        end = min(len(call.data), start + size - (call.offset + start) % size)
        yield start, end
        start = end
    if not call.data:
        yield 0, 0


def _apply(content: bytearray, call: Call, data: bytes, offset: int) -> None:
    if call.name == "ftruncate":
        del content[call.offset :]
        content.extend(bytes(call.offset - len(content)))
    else:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


@dataclass
class Seen:
    """What became of many images."""

    points: int = 0
    images: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, other: Seen) -> None:
        """Count *other* in."""
        self.points += other.points
        self.images += other.images
        self.faults += other.faults


def examine(recording: Recording, images: int, seed: int, share: int = 0, shares: int = 1) -> Seen:
    """Let the power fail at every point of a *share* of them, until *images* images were looked at.

    No image is looked at twice at the same point. If there are no more, it ends with fewer.
    """
    chance = random.Random(f"{seed} {share}")  # noqa: S311 - to be repeatable
    known: dict[int, set[int]] = {number: set() for number in range(share, len(recording.calls), shares)}
    seen = Seen(points=len(known))
    before = -1
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        while before < seen.images < images:
            before = seen.images
            left = len(known)
            for number, disk, acknowledged in _points(recording):
                if number in known:
                    wanted = -(-(images - seen.images) // left)
                    left -= 1
                    for image in _different(disk, wanted, known[number], chance):
                        seen.images += 1
                        seen.faults.update(faults(Path(folder), recording, image, acknowledged))
    return seen


def _points(recording: Recording) -> Iterator[tuple[int, Disk, Sequence[tuple[str, int]]]]:
    """The disk after each call, and the commands that were acknowledged by then."""
    disk = Disk()
    acknowledged: list[tuple[str, int]] = []
    for number, call in enumerate(recording.calls):
        if call.name == "acknowledge":
            user, sequence = json.loads(call.data)
            acknowledged.append((user, sequence))
        else:
            disk.take(call)
        yield number, disk, acknowledged


def _different(disk: Disk, wanted: int, known: set[int], chance: random.Random) -> Iterator[dict[str, bytes]]:
    """Up to *wanted* images that are not *known* yet."""
    enough = len(known) + wanted
    for _ in range(2 * wanted + 4):
        if len(known) >= enough:
            break
        image = disk.after_power_loss(chance)
        if (key := hash(frozenset(image.items()))) not in known:
            known.add(key)
            yield image


def faults(
    folder: Path, recording: Recording, image: dict[str, bytes], acknowledged: Sequence[tuple[str, int]]
) -> set[str]:
    """What is wrong with *image*: nothing, or some of ``CORRUPT``, ``LOST`` and ``WRONG``."""
    for old in folder.iterdir():
        old.unlink()
    for path, content in image.items():
        (folder / Path(path).name).write_bytes(content)
    try:
        with contextlib.closing(sqlite3.connect(folder / Path(recording.database).name)) as connection:
            connection.execute("PRAGMA synchronous=OFF")  # of this look, which needs not last
            if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return {CORRUPT}
            tables = {name for (name,) in connection.execute(TABLES)}
            rows = connection.execute(ROWS).fetchall() if "humanuser_events" in tables else []
            followed = 0
            if "humanuser_subscriptions" in tables:
                query = "SELECT coalesce(max(position), 0) FROM humanuser_subscriptions"
                (followed,) = connection.execute(query).fetchone()
    except sqlite3.DatabaseError:
        return {CORRUPT}
    found = set()
    if set(acknowledged) - {(row[USER], row[SEQUENCE]) for row in rows}:
        found.add(LOST)
    if _half(rows, recording.rows) or _gap(rows) or followed > len(rows):
        found.add(WRONG)
    return found


def _half(rows: Sequence[tuple[object, ...]], written: Sequence[tuple[object, ...]]) -> bool:
    """Whether *rows* are anything but the first of those that were *written*, up to the end of a command."""
    following = written[len(rows) : len(rows) + 1]
    return rows != written[: len(rows)] or any(row[IN_COMMAND] != 1 for row in following)


def _gap(rows: Sequence[tuple[object, ...]]) -> bool:
    ends: Counter[object] = Counter()
    for row in rows:
        ends[row[USER]] += 1
        if row[SEQUENCE] != ends[row[USER]]:
            return True
    return False


def _run(effort: Effort) -> Iterator[Figure]:
    recordings = effort.of(4, quick=1)
    images = effort.of(100_000, quick=4_000)
    own, acknowledged = Seen(), 0
    for number in range(recordings):
        recording = record(effort.seed + number)
        own.add(_examine(recording, -(-(images - own.images) // (recordings - number)), effort.seed + number))
        acknowledged += recording.acknowledged
    yield Figure("commands acknowledged", acknowledged)
    yield Figure("points at which the power fails", own.points)
    yield Figure("crash images, different at each point", own.images, f">= {images:,}", own.images >= images)
    yield none("images that SQLite finds corrupt", own.faults[CORRUPT])
    yield none("images that lack an acknowledged command", own.faults[LOST])
    yield none("images with half a command, a gap, or what nobody wrote", own.faults[WRONG])
    for synchronous in ("NORMAL", "OFF"):
        seen = _examine(record(effort.seed, synchronous=synchronous), effort.of(4_000, quick=1_000), effort.seed)
        yield Figure(f"images with synchronous={synchronous} instead", seen.images)
        yield _found(f"of them, images in which {synchronous} loses an acknowledged command", seen.faults[LOST])
        if synchronous == "OFF":
            yield _found("of them, images that SQLite finds corrupt", seen.faults[CORRUPT])


def _examine(recording: Recording, images: int, seed: int) -> Seen:
    seen = Seen()
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        each = -(-images // PROCESSES)
        shares = [pool.submit(examine, recording, each, seed, share, PROCESSES) for share in range(PROCESSES)]
        for share in shares:
            seen.add(share.result())
    return seen


def _found(what: str, measured: int) -> Figure:
    """A figure that shows that the checker can see a loss."""
    return Figure(what, measured, "> 0", measured > 0)


PROOF = Proof("R4", "A power loss takes no command that was acknowledged, and leaves no half one", _run)


def work(database: Path, seed: int, commands: int, synchronous: str) -> None:
    """Run *commands* in each session, and print each one's user and last sequence as soon as it is answered."""
    chance = random.Random(seed)  # noqa: S311 - to be repeatable
    connect = SQLiteDatabase.connect

    def other_pragmas(self: SQLiteDatabase) -> sqlite3.Connection:
        connection = connect(self)
        connection.execute(f"PRAGMA wal_autocheckpoint={PAGES_UNTIL_CHECKPOINT}")
        if synchronous:
            connection.execute(f"PRAGMA synchronous={synchronous}")
        return connection

    SQLiteDatabase.connect = other_pragmas  # type: ignore[method-assign]  # of this process alone
    vault = AesGcmVault(Keys("key", {"key": bytes(32)}))
    ends: dict[str, int] = {}
    for _ in range(SESSIONS):
        with Application(database, vault, policy=Policy.zitadel()) as application:
            application.start()
            for _ in range(commands):
                user_id = chance.choice([*ends, f"user{len(ends)}"][-4:])
                ends[user_id] = _answered(application, user_id, ends.get(user_id, 0), chance)
                os.write(1, json.dumps([user_id, ends[user_id]]).encode())  # one call, which the log shows


def _answered(application: Application, user_id: str, end: int, chance: random.Random) -> int:
    """Run one command, and give the sequence at which its user's history ends then."""
    by = By("admin", "org1")
    commands = application.commands
    phone = f"+4179{chance.randrange(10**6, 10**7)}"
    if not end:
        profile = HumanUserAdded(user_name=user_id, first_name="Ada")
        return commands.add_human_user(user_id, profile, phone=phone, by=by).sequence
    if chance.random() < 0.7:
        return commands.change_phone(user_id, phone, by=by).sequence
    try:
        return commands.verify_phone(user_id, "wrong!", by=by).sequence
    except CodeInvalid:
        return end + 1  # what failed is remembered


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("database", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("commands", type=int)
    parser.add_argument("synchronous")
    work(**vars(parser.parse_args()))
