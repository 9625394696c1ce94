"""Reads files of events, line by line, and says of each line that is no row what is wrong with it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO

import msgspec

from humanuser_adapters.event_files.formats import BUFFER_BYTES, FileFormat, unpacked
from humanuser_adapters.event_row import NO_PAYLOAD, EventRow, Line, Malformed, UserKey

COLUMNS = EventRow.__struct_fields__
LONGEST_LINE_BYTES = 1 << 24
"""No event is near as long; what is longer is no file of events."""

_POSITION = re.compile(rb"[0-9]{1,30}(\.[0-9]{1,30})?")
_decode = msgspec.json.Decoder(EventRow).decode

ByteProgress = Callable[[int], None]
"""Told how many more bytes of a file were read."""


class EventFile:
    """The events in a file; packed with gzip or zstd if its name ends so."""

    grows = False

    def __init__(
        self,
        path: Path,
        file_format: FileFormat | None = None,
        *,
        name: str = "",
        progress: ByteProgress = lambda _: None,
    ) -> None:
        """Raises ``ValueError`` where neither the name nor *file_format* tells the format."""
        self.path = path
        self.name = name or str(path)
        self._format = file_format or FileFormat.of(path)
        self._progress = progress

    def identity(self) -> str:
        """A digest of the file's bytes."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:32]

    def lines(self, *, after: int = 0) -> Iterator[Line]:
        """The rows behind the line *after*."""
        with self.path.open("rb", buffering=0) as file:
            counted = io.BufferedReader(_Counted(file, self._progress), BUFFER_BYTES)
            with counted, unpacked(counted, self.path.name) as plain:
                if self._format is FileFormat.CSV:
                    yield from _csv_lines(plain, after)
                else:
                    yield from _json_lines(plain, after, self._format)


@contextmanager
def spooled(stream: BinaryIO, name: str) -> Iterator[Path]:
    """What *stream* gives, kept in a file of that *name* for as long as the block runs: rows are read twice."""
    with tempfile.TemporaryDirectory(prefix="humanuser-import-") as folder:
        path = Path(folder) / name
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file, BUFFER_BYTES)
        yield path


class _Counted(io.RawIOBase):
    """Tells how much is read."""

    def __init__(self, file: io.FileIO, progress: ByteProgress) -> None:
        self._file = file
        self._progress = progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the one kind of buffer there is here
        count = self._file.readinto(buffer) or 0
        self._progress(count)
        return count


def _json_lines(file: IO[bytes], after: int, file_format: FileFormat) -> Iterator[Line]:
    lines = enumerate(_whole_lines(file), 1)
    for number, raw in islice(lines, after, None):
        if raw.isspace():
            continue
        text = _without_doubled_backslashes(raw) if file_format is FileFormat.COPY else raw
        yield Line(number, _of_json(text))


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(LONGEST_LINE_BYTES):
        yield line


def _without_doubled_backslashes(line: bytes) -> bytes:
    return line.replace(b"\\\\", b"\\")


def _of_json(raw: bytes) -> EventRow | Malformed:
    try:
        return _in_order(_decode(raw))
    except (msgspec.DecodeError, ValueError) as error:  # a row that lacks something is one, too
        hint = "; if \\copy wrote it, name the format copy" if b'\\\\"' in raw else ""
        return Malformed(f"{error}{hint}", raw, _user_of_json(raw))


def _in_order(row: EventRow) -> EventRow:
    """*row*, if what the types do not tell is in order as well. Raises ``ValueError``."""
    if not _POSITION.fullmatch(row.position):
        raise ValueError("position is no decimal number")
    if not row.instance_id or not row.aggregate_id or not row.event_type:
        raise ValueError("instance_id, aggregate_id and event_type must not be empty")
    payload = bytes(row.payload)
    if payload != NO_PAYLOAD:
        if payload[:1] != b"{":
            raise ValueError("payload is neither null nor an object")
        payload.decode()  # the decoder did not look at it
    if "\0" in f"{row.instance_id}{row.aggregate_type}{row.aggregate_id}{row.event_type}{row.creator}{row.owner}":
        raise ValueError("a column holds a NUL, which no database takes")
    return row


def _user_of_json(raw: bytes) -> UserKey | None:
    try:
        columns = json.loads(raw)
    except ValueError:
        return None
    return _user_of(columns) if isinstance(columns, dict) else None


def _user_of(columns: Mapping[str, object]) -> UserKey | None:
    match columns:
        case {"instance_id": str(instance_id), "aggregate_id": str(user_id)}:
            return UserKey(instance_id, user_id)
        case _:
            return None


def _csv_lines(file: IO[bytes], after: int) -> Iterator[Line]:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    names = COLUMNS
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            yield Line(reader.line_num, Malformed(str(error), b""))
            continue
        if values is None:
            break
        if reader.line_num == 1 and set(values) == set(COLUMNS):
            names = tuple(values)
        elif values and reader.line_num > after:
            yield Line(reader.line_num, _of_csv(names, values))
    text.detach()


def _of_csv(names: Sequence[str], values: Sequence[str]) -> EventRow | Malformed:
    columns = dict(zip(names, values, strict=False))
    try:
        return _in_order(_row_of_csv(columns)) if len(values) == len(names) else _uneven(names, values)
    except (msgspec.DecodeError, ValueError) as error:
        return Malformed(str(error), _raw(values), _user_of(columns))


def _uneven(names: Sequence[str], values: Sequence[str]) -> Malformed:
    return Malformed(f"there are {len(values)} columns, not {len(names)}", _raw(values))


def _raw(values: Sequence[str]) -> bytes:
    return ",".join(values).encode(errors="surrogateescape")


def _row_of_csv(columns: Mapping[str, str]) -> EventRow:
    payload = columns["payload"].encode() or NO_PAYLOAD
    msgspec.json.decode(payload)
    typed = {
        "created_at": datetime.fromisoformat(columns["created_at"]),
        "payload": msgspec.Raw(payload),
        "position": msgspec.Raw(columns["position"].encode()),
    }
    return msgspec.convert({**columns, **typed}, EventRow, strict=False)
