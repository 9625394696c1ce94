"""How a file of events is written and packed; its name tells."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Literal, cast

BUFFER_BYTES = 1 << 20


class FileFormat(StrEnum):
    """How rows are written."""

    JSON = "json"
    """One JSON object a line, as ``row_to_json`` gives it."""
    COPY = "copy"
    r"""The same through ``\copy``, which doubles each backslash."""
    CSV = "csv"
    r"""As ``\copy … csv`` writes it, with or without a line of names."""

    @classmethod
    def of(cls, path: Path) -> FileFormat:
        """The format that the name of *path* tells. Raises ``ValueError``."""
        suffixes = [suffix for suffix in path.suffixes if suffix not in _PACKED]
        match suffixes[-1:]:
            case [".json" | ".jsonl" | ".ndjson"]:
                return cls.JSON
            case [".copy"]:
                return cls.COPY
            case [".csv"]:
                return cls.CSV
            case _:
                raise ValueError(f"{path.name} does not tell its format by .jsonl, .csv or .copy; name it")


def _zstd(file: IO[bytes], mode: Literal["rb", "wb"]) -> IO[bytes]:
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdFile  # noqa: PLC0415 - not everybody packs files
    else:
        from backports.zstd import ZstdFile  # noqa: PLC0415 - as above
    return cast(IO[bytes], ZstdFile(file, mode))


def _zstd_error() -> type[Exception]:
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdError  # noqa: PLC0415 - as above
    else:
        from backports.zstd import ZstdError  # noqa: PLC0415 - as above
    return cast(type[Exception], ZstdError)


def _gzip(file: IO[bytes], mode: Literal["rb", "wb"]) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode=mode, compresslevel=6))


_PACKED: dict[str, Callable[[IO[bytes], Literal["rb", "wb"]], IO[bytes]]] = {".gz": _gzip, ".zst": _zstd}


@contextmanager
def unpacked(file: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """What is in *file*, packed as its *name* tells. Raises ``OSError`` for what is broken off or spoilt."""
    unpack = _PACKED.get(Path(name).suffix)
    if unpack is None:
        yield file
        return
    corrupt = _zstd_error() if unpack is _zstd else zlib.error
    try:
        with io.BufferedReader(cast(io.RawIOBase, unpack(file, "rb")), BUFFER_BYTES) as plain:
            yield plain
    except EOFError as error:
        raise OSError(f"{name} is broken off: {error}") from error
    except corrupt as error:
        raise OSError(f"{name} is corrupt: {error}") from error


@contextmanager
def packing(file: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """Where to write what is to be in *file*, packed as its *name* tells."""
    pack = _PACKED.get(Path(name).suffix)
    if pack is None:
        yield file
        return
    with pack(file, "wb") as packed, io.BufferedWriter(cast(io.RawIOBase, packed), BUFFER_BYTES) as plain:
        yield plain
