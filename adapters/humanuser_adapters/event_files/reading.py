"""Reads files of events, line by line, and says of each line that is no row what is wrong with it."""

from __future__ import annotations

import codecs
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
from typing import IO, BinaryIO, Self

import msgspec

from humanuser_adapters.event_files.formats import BUFFER_BYTES, FileFormat, unpacked
from humanuser_adapters.event_row import NO_PAYLOAD, EventRow, Line, Malformed, UserKey

COLUMNS = EventRow.__struct_fields__
LONGEST_LINE_BYTES = 1 << 24
"""No event is near as long; what is longer is no file of events."""
TOO_LONG = f"the line is longer than {LONGEST_LINE_BYTES:,} bytes"

_POSITION = re.compile(rb"[0-9]{1,30}(\.[0-9]{1,30})?")
_KEY_COLUMNS = tuple(
    re.compile(rb'"%s"\s*:\s*("(?:[^"\\]|\\.)*")' % name) for name in (b"instance_id", b"aggregate_id")
)
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
    for number, raw in islice(enumerate(_lines(file), 1), after, None):
        if isinstance(raw, Malformed):
            yield Line(number, raw)
        elif not raw.isspace():
            text = _without_doubled_backslashes(raw) if file_format is FileFormat.COPY else raw
            yield Line(number, _of_json(text))


def _lines(file: IO[bytes]) -> Iterator[bytes | Malformed]:
    """The lines of UTF-8 text, without a byte order mark; nothing follows one that says it is other text."""
    first = file.readline(LONGEST_LINE_BYTES).removeprefix(codecs.BOM_UTF8)
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in first[:4]:
        yield Malformed("the file is UTF-16 or UTF-32: convert it to UTF-8, as with iconv -f UTF-16 -t UTF-8", b"")
        return
    line = first
    while line:
        if len(line) < LONGEST_LINE_BYTES or line.endswith(b"\n"):
            yield line
        else:
            yield Malformed(TOO_LONG, line, _user_in_broken_json(line))
            _skip_line(file)
        line = file.readline(LONGEST_LINE_BYTES)


def _skip_line(file: IO[bytes]) -> None:
    while (rest := file.readline(LONGEST_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass


def _without_doubled_backslashes(line: bytes) -> bytes:
    return line.replace(b"\\\\", b"\\")


def _of_json(raw: bytes) -> EventRow | Malformed:
    try:
        return _in_order(_decode(raw))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # a row that lacks something is one, too
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
    except (ValueError, RecursionError):
        return _user_in_broken_json(raw)
    return _user_of(columns) if isinstance(columns, dict) else None


def _user_in_broken_json(raw: bytes) -> UserKey | None:
    """The user whose id can still be read; None if there is none, or more than one."""
    found = [column.findall(raw) for column in _KEY_COLUMNS]
    if [len(texts) for texts in found] != [1, 1]:
        return None
    try:
        instance_id, user_id = (json.loads(texts[0]) for texts in found)
    except ValueError:
        return None
    return UserKey(instance_id, user_id)


def _user_of(columns: Mapping[str, object]) -> UserKey | None:
    match columns:
        case {"instance_id": str(instance_id), "aggregate_id": str(user_id)}:
            return UserKey(instance_id, user_id)
        case _:
            return None


class _CsvText:
    """The lines of a CSV file as text, and the bytes of the record that is being read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.number = 0
        """Of the last line read."""
        self._lines = _lines(file)
        self._record: list[bytes] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        if isinstance(line, Malformed):
            self._record.append(line.raw)
            raise csv.Error(line.reason)
        self._record.append(line)
        return line.decode(errors="surrogateescape")

    def take_record(self) -> Sequence[bytes]:
        """The lines that were read since this was called last."""
        record, self._record = self._record, []
        return record


def _csv_lines(file: IO[bytes], after: int) -> Iterator[Line]:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE_BYTES))  # for all readers of the process
    text = _CsvText(file)
    reader = csv.reader(text, strict=True)
    names: Sequence[str] = ()
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            record = text.take_record()
            yield Line(
                text.number, Malformed(str(error), b"".join(record), _user_in_broken_csv(names or COLUMNS, record))
            )
            continue
        record = text.take_record()
        if values is None:
            return
        if not names:
            names = values if _is_header(values) else COLUMNS
            if problem := _header_problem(names):
                yield Line(text.number, Malformed(problem, record[0]))
                return
            if names is values:
                continue
        if values and text.number > after:
            yield Line(text.number, _of_csv(names, values, record))


def _is_header(values: Sequence[str]) -> bool:
    return {"aggregate_id", "event_type"} <= set(values)


def _header_problem(names: Sequence[str]) -> str:
    missing = [name for name in COLUMNS if name not in names]
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if missing:
        return f"columns are missing: {', '.join(missing)}"
    return f"columns are there twice: {', '.join(twice)}" if twice else ""


def _user_in_broken_csv(names: Sequence[str], record: Sequence[bytes]) -> UserKey | None:
    """The user of a record that takes one line, if the columns up to the user's id are whole and not quoted."""
    if len(record) != 1:
        return None
    last = max(map(names.index, ("instance_id", "aggregate_type", "aggregate_id")))
    values = record[0].split(b",", last + 1)
    if len(values) <= last + 1 or any(b'"' in value for value in values[: last + 1]):
        return None
    columns = {
        name: value.decode(errors="surrogateescape") for name, value in zip(names, values[: last + 1], strict=False)
    }
    return _user_of(columns) if columns["aggregate_type"] == "user" else None  # else columns may have moved


def _of_csv(names: Sequence[str], values: Sequence[str], record: Sequence[bytes]) -> EventRow | Malformed:
    if len(values) != len(names):
        reason = f"there are {len(values)} columns, not {len(names)}"
        return Malformed(reason, b"".join(record), _user_in_broken_csv(names, record))
    columns = dict(zip(names, values, strict=True))
    try:
        return _in_order(_row_of_csv(columns))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return Malformed(str(error), b"".join(record), _user_of(columns))


def _row_of_csv(columns: Mapping[str, str]) -> EventRow:
    payload = columns["payload"].encode() or NO_PAYLOAD
    msgspec.json.decode(payload)
    typed = {
        "created_at": datetime.fromisoformat(columns["created_at"]),
        "payload": msgspec.Raw(payload),
        "position": msgspec.Raw(columns["position"].encode()),
    }
    return msgspec.convert({**columns, **typed}, EventRow, strict=False)
