"""SMS as lines of a file, for tests and for programs that pass them on."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from humanuser import Accepted, Misconfigured, Retryable, Sms
from humanuser_adapters.sms.sms_json import sms_json


class FileSms:
    """Appends one line of JSON for each SMS."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, sms: Sms) -> Accepted | Retryable | Misconfigured:
        line = sms_json(sms)
        try:
            with os.fdopen(os.open(self._path, _APPEND, 0o600), "a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # one at a time, of whatever thread or process, until it is closed
                start = "" if _ends_a_line(file) else "\n"
                file.write(f"{start}{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
            return Misconfigured(f"the SMS file cannot be opened: {error.strerror}")
        except OSError as error:
            return Retryable(f"the SMS file cannot be written: {error.strerror}")
        return Accepted()

    def look_up(self, sms: Sms) -> Accepted | None:
        """Whether the file has the SMS already."""
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                return Accepted() if any(_message_id(line) == sms.message_id for line in file) else None
        except OSError:
            return None


_APPEND = os.O_APPEND | os.O_CREAT | os.O_RDWR


def _ends_a_line(file: BinaryIO) -> bool:
    """Whether the last line is whole; a full disk or a crash may have cut it short."""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _message_id(line: str) -> Any:  # whatever the line holds
    try:
        message = json.loads(line)
    except ValueError:  # a line that a crash cut short
        return None
    return message.get("message_id") if isinstance(message, dict) else None
