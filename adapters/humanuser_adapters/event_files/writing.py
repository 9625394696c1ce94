"""Writes files of events, byte for byte as ``psql`` does."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from json.encoder import encode_basestring
from pathlib import Path
from typing import IO, BinaryIO, cast

from humanuser_adapters.event_files.formats import FileFormat, packing
from humanuser_adapters.event_files.reading import COLUMNS
from humanuser_adapters.event_row import EventRow

_quoted: Callable[[str], str] = encode_basestring


def json_line(row: EventRow) -> str:
    """The row as ``row_to_json`` gives it, without the end of the line."""
    q = _quoted
    return (
        f'{{"instance_id":{q(row.instance_id)},"aggregate_type":{q(row.aggregate_type)},'
        f'"aggregate_id":{q(row.aggregate_id)},"event_type":{q(row.event_type)},"sequence":{row.sequence},'
        f'"revision":{row.revision},"created_at":"{_time(row.created_at)}",'
        f'"payload":{row.payload_text or "null"},"creator":{q(row.creator)},"owner":{q(row.owner)},'
        f'"position":{row.position_text},"in_tx_order":{row.in_tx_order}}}'
    )


def write_events(rows: Iterable[EventRow], file: BinaryIO, name: str, file_format: FileFormat) -> int:
    """Write *rows* into *file*, packed as its *name* tells; how many they were."""
    with packing(file, name) as plain:
        if file_format is FileFormat.CSV:
            return _write_csv(rows, plain)
        return _write_lines(rows, plain, doubling=file_format is FileFormat.COPY)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is there, for its owner alone, once the block is through; until then, and if it fails, it is not.

    Where *path* is a link, that is what it leads to. What is no file (a pipe, a device) is written into as it is.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with path.open("wb") as there:
            yield there
        return
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield cast(BinaryIO, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _write_lines(rows: Iterable[EventRow], file: IO[bytes], *, doubling: bool) -> int:
    count = 0
    for row in rows:
        line = json_line(row) + "\n"
        file.write((line.replace("\\", "\\\\") if doubling else line).encode())
        count += 1
    return count


def _write_csv(rows: Iterable[EventRow], file: IO[bytes]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for row in rows:
        writer.writerow(row.values(_time(row.created_at).replace("T", " ").removesuffix(":00")))
        count += 1
    text.detach()
    return count


def _time(moment: datetime) -> str:
    """As PostgreSQL writes it in UTC: no more digits than there are."""
    text = moment.astimezone(UTC).isoformat()  # ends in +00:00
    return text[:-6].rstrip("0") + text[-6:] if moment.microsecond else text
