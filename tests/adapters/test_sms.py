"""Ways for an SMS to leave the house: the console and a file."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from humanuser import Accepted, Misconfigured, PhoneNumber, Retryable, Sms, SmsSender
from humanuser_adapters.sms import ConsoleSms, FileSms

EXPIRES_AT = datetime(2026, 5, 10, 12, 10, tzinfo=UTC)
NUMBER = PhoneNumber("+41791234567")


def an_sms(
    message_id: str = "message1", text: str = "271828 is your code", expires: datetime | None = EXPIRES_AT
) -> Sms:
    return Sms(message_id=message_id, to=NUMBER, text=text, expires_at=expires)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sms.jsonl"


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_sms_does_not_show_its_text_or_its_number() -> None:
    shown = f"{an_sms()!r} {an_sms()}"

    assert "message1" in shown
    assert "271828" not in shown
    assert NUMBER.e164 not in shown


def test_the_console_shows_number_and_text(capsys: pytest.CaptureFixture[str]) -> None:
    sender: SmsSender = ConsoleSms()

    outcome = sender.send(an_sms())

    assert outcome == Accepted()
    assert capsys.readouterr() == ("", "SMS to +41791234567: 271828 is your code\n")
    assert sender.look_up(an_sms()) is None


def test_a_console_that_cannot_be_written_is_tried_again() -> None:
    closed = io.StringIO()
    closed.close()

    outcome = ConsoleSms(closed).send(an_sms())

    assert isinstance(outcome, Retryable)
    assert "271828" not in outcome.reason


def test_the_file_gets_one_line_of_json_for_each_sms(path: Path) -> None:
    sender: SmsSender = FileSms(path)

    outcomes = [sender.send(an_sms()), sender.send(an_sms("message2", "two\nlines, ünïcode", None))]

    assert outcomes == [Accepted(), Accepted()]
    assert lines(path) == [
        {
            "message_id": "message1",
            "to": "+41791234567",
            "text": "271828 is your code",
            "expires_at": "2026-05-10T12:10:00+00:00",
        },
        {"message_id": "message2", "to": "+41791234567", "text": "two\nlines, ünïcode", "expires_at": None},
    ]


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    before = os.umask(0)

    try:
        FileSms(path).send(an_sms())
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_sent_is_found_by_its_message_id(path: Path) -> None:
    sender = FileSms(path)
    before = sender.look_up(an_sms())

    sender.send(an_sms("message0"))
    sender.send(an_sms())

    assert before is None
    assert FileSms(path).look_up(an_sms()) == Accepted()
    assert sender.look_up(an_sms("message")) is None


@pytest.mark.parametrize(
    "left", [b'{"message_id": "message1", "to": "+4179', b"{", b"\xff\xfe", b"\0\0\0", b"[]", b'"message1"', b"7"]
)
def test_half_a_line_that_a_crash_left_neither_counts_nor_swallows_the_next(path: Path, left: bytes) -> None:
    path.write_bytes(b'{"message_id": "message0"}\n' + left)
    sender = FileSms(path)
    before = sender.look_up(an_sms())

    sender.send(an_sms())

    assert before is None
    assert sender.look_up(an_sms()) == Accepted()
    _, half, whole = path.read_bytes().splitlines()
    assert half == left
    assert json.loads(whole)["message_id"] == "message1"


def test_lines_of_several_threads_do_not_mix(path: Path) -> None:
    senders = [FileSms(path), FileSms(path)]

    def send(thread: int) -> None:
        for number in range(25):
            senders[thread % 2].send(an_sms(f"{thread}-{number}", "x" * 3000))

    threads = [threading.Thread(target=send, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {line["message_id"] for line in lines(path)} == {
        f"{one}-{number}" for one in range(4) for number in range(25)
    }
    assert len(lines(path)) == 100


SENDS = """
import sys
from pathlib import Path
from humanuser import PhoneNumber, Sms
from humanuser_adapters.sms import FileSms
print("ready", flush=True)
prefix = sys.stdin.read()
for number in range(100):
    message_id = f"{prefix}-{number}"
    FileSms(Path("sms.jsonl")).send(
        Sms(message_id=message_id, to=PhoneNumber("+41791234567"), text="x" * 20_000, expires_at=None)
    )
"""


def test_lines_of_several_processes_do_not_mix(path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SENDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=path.parent
        )
        for _ in range(3)
    ]
    assert [process.stdout and process.stdout.readline() for process in processes] == ["ready\n"] * 3

    for name, process in zip("abc", processes, strict=True):
        assert process.stdin
        process.stdin.write(name)
        process.stdin.close()
        process.stdin = None
    for process in processes:
        process.communicate(timeout=30)

    sent = [line["message_id"] for line in lines(path)]
    assert sorted(sent) == sorted(f"{name}-{number}" for name in "abc" for number in range(100))


def test_a_file_in_no_folder_is_misconfigured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for path in (tmp_path / "missing" / "sms.jsonl", tmp_path / "file" / "sms.jsonl", tmp_path):
        outcome = FileSms(path).send(an_sms())

        assert isinstance(outcome, Misconfigured)
        assert "271828" not in outcome.reason
        assert FileSms(path).look_up(an_sms()) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_nobody_may_write_is_misconfigured(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    outcome = FileSms(tmp_path / "sms.jsonl").send(an_sms())

    assert isinstance(outcome, Misconfigured)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_a_full_disk_is_tried_again() -> None:
    outcome = FileSms(Path("/dev/full")).send(an_sms())

    assert isinstance(outcome, Retryable)
    assert "271828" not in outcome.reason
