"""The model of a disk, and that its images show what a database that syncs too little loses."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from humanuser_adapters.event_store.sqlite import SCHEMA
from humanuser_adapters.subscription import SCHEMA as SUBSCRIPTIONS
from reliability.power_loss import (
    CORRUPT,
    LOST,
    ROWS,
    WRONG,
    Call,
    Disk,
    NoStrace,
    Recording,
    calls_of,
    examine,
    faults,
    record,
)

Row = tuple[str, int, int]
"""A user, a sequence, and which event of its command it is."""

FOLDER = "/db"
FILE = "/db/users.sqlite"
OLD, NEW = b"o" * 4096, b"n" * 4096


def recorded(*, synchronous: str = "", commands: int = 10) -> Recording:
    try:
        return record(1, synchronous=synchronous, commands=commands)
    except NoStrace as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must test the loss of power: {error}")
        pytest.skip(f"NO STRACE: the loss of power is not tested, {error}")


def disk(*calls: tuple[str, str] | tuple[str, str, bytes, int]) -> Disk:
    """A disk that was asked for *calls*, one after the other."""
    asked = Disk()
    for line, (name, path, *written) in enumerate(calls):
        data, offset = written or (b"", 0)
        assert isinstance(data, bytes)
        assert isinstance(offset, int)
        asked.take(Call(name, path, line, line, data, offset))
    return asked


CREATED = (("openat", FILE), ("pwrite64", FILE, OLD, 0), ("fsync", FILE), ("fsync", FOLDER))


def images(asked: Disk, path: str = FILE) -> set[bytes | None]:
    """What may be found of a file."""
    chance = random.Random(1)  # noqa: S311 - to be repeatable
    return {asked.after_power_loss(chance).get(path) for _ in range(1000)}


def test_what_was_synced_is_found() -> None:
    assert images(disk(*CREATED)) == {OLD}


def test_what_was_not_synced_is_found_or_not_or_in_part() -> None:
    found = images(disk(*CREATED, ("pwrite64", FILE, NEW, 0)))

    assert {OLD, NEW, NEW[:512] + OLD[512:], OLD[:512] + NEW[512:]} <= found
    assert all(len(set(one[n : n + 512])) == 1 for one in found if one for n in range(0, 4096, 512))


def test_what_was_not_synced_may_be_found_in_any_order() -> None:
    found = images(disk(*CREATED, ("pwrite64", FILE, NEW, 4096), ("pwrite64", FILE, b"l" * 4096, 8192)))

    assert {OLD, OLD + NEW, OLD + bytes(4096) + b"l" * 4096} <= found


def test_a_file_that_was_made_shorter_may_be_as_long_as_before() -> None:
    asked = disk(*CREATED)
    asked.take(Call("ftruncate", FILE, 9, 9, offset=512))

    assert images(asked) == {OLD, OLD[:512]}


def test_a_new_name_may_be_missing_until_its_folder_is_synced() -> None:
    assert images(disk(*CREATED[:3])) == {OLD, None}


def test_a_name_that_is_gone_may_be_back_until_its_folder_is_synced() -> None:
    removed = (*CREATED, ("unlink", FILE))

    assert images(disk(*removed)) == {OLD, None}
    assert images(disk(*removed, ("fsync", FOLDER))) == {None}


def test_a_sync_covers_only_what_had_been_written_when_it_began() -> None:
    asked = disk(*CREATED)
    asked.take(Call("pwrite64", FILE, 11, 12, NEW, 0))
    asked.take(Call("fdatasync", FILE, 10, 13))

    assert OLD in images(asked)


def hexed(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def log(*lines: str) -> Iterator[str]:
    return (f"{line}\n" for line in lines)


def test_calls_of_two_threads_are_told_apart() -> None:
    wal = hexed("/db/users.sqlite-wal")
    lines = log(
        f'7 pwrite64(3<{wal}>, "{hexed("abc")}", 3, 32 <unfinished ...>',
        f"8 fdatasync(4<{wal}> <unfinished ...>",
        '9 write(1</dev/null>, "\\x5b\\x5d", 2) = 2',
        "7 <... pwrite64 resumed>) = 3",
        "8 <... fdatasync resumed>) = 0",
        f'7 openat(AT_FDCWD</>, "{hexed("/elsewhere")}", O_RDWR|O_CREAT, 0600) = 4',
        "8 +++ exited with 0 +++",
    )

    assert list(calls_of(lines, FILE)) == [
        Call("pwrite64", "/db/users.sqlite-wal", 0, 3, b"abc", 32),
        Call("acknowledge", "", 2, 2, b"[]"),
        Call("fdatasync", "/db/users.sqlite-wal", 1, 4),
    ]


def test_a_call_that_the_model_does_not_know_is_no_call_to_pass_over() -> None:
    line = f'7 rename("{hexed(FILE)}", "{hexed("/db/other")}") = 0'

    with pytest.raises(ValueError, match="does not know"):
        list(calls_of(log(line), FILE))


def test_the_product_loses_nothing_that_it_acknowledged() -> None:
    recording = recorded()

    seen = examine(recording, 800, seed=1)

    assert recording.acknowledged == 30
    assert seen.images >= 800
    assert seen.faults == {}
    assert any(call.name == "pwrite64" and call.path == recording.database for call in recording.calls[-400:])


@pytest.mark.parametrize(("synchronous", "expected"), [("NORMAL", {LOST}), ("OFF", {LOST, CORRUPT})])
def test_the_same_look_finds_what_a_database_loses_that_syncs_too_little(synchronous: str, expected: set[str]) -> None:
    seen = examine(recorded(synchronous=synchronous, commands=5), 400, seed=1)

    assert expected <= set(seen.faults)


WRITTEN = [("u", 1, 1), ("u", 2, 2), ("v", 1, 1), ("u", 3, 1)]
"""Three commands, the first of two events."""


@pytest.mark.parametrize(
    ("stored", "acknowledged", "expected"),
    [
        (WRITTEN, [("u", 2), ("v", 1), ("u", 3)], set()),
        (WRITTEN[:2], [("u", 2)], set()),
        (WRITTEN[:2], [("u", 2), ("v", 1)], {LOST}),
        ([], [], set()),
        (WRITTEN[:1], [], {WRONG}),
        (WRITTEN[1:], [], {WRONG}),
        ([*WRITTEN, ("x", 1, 1)], [], {WRONG}),
    ],
)
def test_losses_half_commands_and_gaps_are_seen(
    tmp_path: Path, stored: Sequence[Row], acknowledged: Sequence[tuple[str, int]], expected: set[str]
) -> None:
    recording = Recording(FILE, [], rows_of(tmp_path / "written", WRITTEN))
    rows_of(tmp_path / "found", stored)
    image = {FILE: (tmp_path / "found").read_bytes()}
    (tmp_path / "looked-at").mkdir()

    assert faults(tmp_path / "looked-at", recording, image, acknowledged) == expected


def test_a_subscription_ahead_of_the_events_is_seen(tmp_path: Path) -> None:
    recording = Recording(FILE, [], rows_of(tmp_path / "written", WRITTEN))
    with contextlib.closing(sqlite3.connect(tmp_path / "written", isolation_level=None)) as connection:
        connection.execute(SUBSCRIPTIONS[0][0])
        connection.execute("INSERT INTO humanuser_subscriptions VALUES ('users', 5)")
    image = {FILE: (tmp_path / "written").read_bytes()}

    assert faults(tmp_path, recording, image, []) == {WRONG}


def test_a_file_that_is_no_database_is_seen(tmp_path: Path) -> None:
    assert faults(tmp_path, Recording(FILE, [], []), {FILE: NEW}, []) == {CORRUPT}


def rows_of(path: Path, rows: Sequence[Row]) -> list[tuple[object, ...]]:
    """The rows as they are read from a new database that holds them."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(SCHEMA[0][0])
        for user, sequence, in_command in rows:
            values = ("default", "user", user, sequence, "added", 2, "now", "admin", "org1", None, in_command, None)
            connection.execute(f"INSERT INTO humanuser_events VALUES (NULL{', ?' * 12})", values)  # noqa: S608
        return connection.execute(ROWS).fetchall()
