"""Files of events: read whatever psql writes, written as psql does, and each line that is no row told."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import msgspec
import psycopg
import pytest

from humanuser_adapters.event_files import (
    EventFile,
    FileFormat,
    json_line,
    new_file,
    reading,
    spooled,
    write_events,
)
from humanuser_adapters.event_files.formats import packing, unpacked
from humanuser_adapters.event_row import EventRow, Line, Malformed, UserKey
from zitadel_export import zitadel_events

ROWS = tuple(zitadel_events(300, 20))
IN_ORDER = sorted(ROWS, key=lambda row: (Decimal(row.position_text), row.in_tx_order, row.aggregate_id, row.sequence))
EVENTS2 = """
    CREATE TABLE events2 (
        instance_id text, aggregate_type text, aggregate_id text, event_type text, "sequence" bigint, revision smallint,
        created_at timestamptz, payload jsonb, creator text, "owner" text, "position" decimal, in_tx_order integer
    )
"""
NAMES = ["rows.jsonl", "rows.csv", "rows.copy", "rows.ndjson.gz", "rows.csv.zst", "rows.jsonl.zst"]


def written(path: Path, rows: Sequence[EventRow] = ROWS) -> Path:
    with new_file(path) as file:
        write_events(rows, file, path.name, FileFormat.of(path))
    return path


def read(path: Path) -> list[EventRow | Malformed]:
    return [line.content for line in EventFile(path).lines()]


def json_of(row: EventRow) -> dict[str, object]:
    columns: dict[str, object] = json.loads(json_line(row))
    return columns


def malformed(tmp_path: Path, text: str | bytes, name: str = "rows.jsonl") -> Malformed:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    (content,) = read(path)
    assert isinstance(content, Malformed)
    return content


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name)

    assert read(path) == list(ROWS)


@pytest.mark.parametrize("name", NAMES)
def test_reading_goes_on_behind_a_line(name: str, tmp_path: Path) -> None:
    lines = list(EventFile(written(tmp_path / name)).lines())

    behind = list(EventFile(tmp_path / name).lines(after=lines[99].place))

    assert behind == lines[100:]


def test_files_are_those_that_psql_writes(tmp_path: Path, postgresql_url: str) -> None:
    ordered = "SELECT * FROM events2 ORDER BY position, in_tx_order, aggregate_id, sequence"
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("SET timezone TO 'UTC'")
        connection.execute(EVENTS2)
        with connection.cursor().copy("COPY events2 FROM STDIN (FORMAT csv, HEADER)") as copy:
            copy.write(written(tmp_path / "rows.csv").read_bytes())
        lines = connection.execute(f"SELECT row_to_json(e)::text FROM ({ordered}) e").fetchall()  # noqa: S608 - a constant
        of_psql = {
            "psql.jsonl": "".join(f"{line}\n" for (line,) in lines).encode(),
            "psql.copy": copied(connection, f"COPY (SELECT row_to_json(e) FROM ({ordered}) e) TO STDOUT"),  # noqa: S608
            "psql.csv": copied(connection, f"COPY ({ordered}) TO STDOUT (FORMAT csv, HEADER)"),
        }

    for name, text in of_psql.items():
        (tmp_path / name).write_bytes(text)
        rows = [row for row in read(tmp_path / name) if isinstance(row, EventRow)]
        assert [json_of(row) for row in rows] == [json_of(row) for row in IN_ORDER], name
        assert written(tmp_path / f"again-{name}", rows).read_bytes() == text, name


def copied(connection: psycopg.Connection[tuple[object, ...]], query: str) -> bytes:
    with connection.cursor().copy(query.encode()) as copy:
        return b"".join(bytes(part) for part in copy)


def test_a_csv_file_may_have_no_line_of_names_or_another_order(tmp_path: Path) -> None:
    values = ["7", "user", "ada", "user.locked", "1", "2", "2026-05-10 14:00:00.5+02", "", "admin", "org1", "1.5", "1"]
    backwards = [",".join(reversed(line)) for line in (list(EventRow.__struct_fields__), values)]
    (tmp_path / "nameless.csv").write_text(",".join(values))
    (tmp_path / "backwards.csv").write_text("\n".join(backwards))

    (nameless,), (other,) = read(tmp_path / "nameless.csv"), read(tmp_path / "backwards.csv")

    assert nameless == other
    assert isinstance(other, EventRow)
    assert (other.owner, other.instance_id) == ("org1", "7")
    assert other.created_at.isoformat() == "2026-05-10T14:00:00.500000+02:00"


GOOD = json_of(ROWS[0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sequence": 0}, "Expected `int` >= 1 - at `$.sequence`"),
        ({"sequence": "1"}, "Expected `int`, got `str` - at `$.sequence`"),
        ({"created_at": "2026-05-10T12:00:00"}, "Expected `datetime` with a timezone component - at `$.created_at`"),
        ({"created_at": "infinity"}, "Invalid RFC3339 encoded datetime - at `$.created_at`"),
        ({"payload": []}, "payload is neither null nor an object"),
        ({"position": "1"}, "position is no decimal number"),
        ({"position": -1}, "position is no decimal number"),
        ({"aggregate_id": ""}, "instance_id, aggregate_id and event_type must not be empty"),
        ({"creator": "a\0b"}, "a column holds a NUL, which no database takes"),
        ({"owner": None}, "Expected `str`, got `null` - at `$.owner`"),
    ],
)
def test_a_line_that_is_no_row_says_why_and_whose_it_is(change: dict[str, object], reason: str, tmp_path: Path) -> None:
    columns = {**GOOD, **change}

    content = malformed(tmp_path, json.dumps(columns))

    assert content.reason == reason
    assert content.user == UserKey(str(columns["instance_id"]), str(columns["aggregate_id"]))


def test_a_line_that_is_no_json_says_whose_it_is_as_far_as_its_keys_can_be_read(tmp_path: Path) -> None:
    line = json_line(ROWS[0])
    broken = malformed(tmp_path, line[:-9])
    cut_in_the_id = malformed(tmp_path, line[: line.index("aggregate_id") + 20])
    two_lines_in_one = malformed(tmp_path, line + json_line(ROWS[-1]))
    no_object = malformed(tmp_path, "[1]")
    no_text = malformed(tmp_path, json_line(ROWS[0]).replace("userName", "\xff").encode("latin-1"))

    assert (broken.user, broken.reason) == (ROWS[0].user, "Input data was truncated")
    assert cut_in_the_id.user is two_lines_in_one.user is None
    assert (no_object.user, no_object.reason) == (None, "Expected `object`, got `array`")
    assert "can't decode byte 0xff" in no_text.reason


def test_a_file_of_copy_that_is_taken_for_another_is_told(tmp_path: Path) -> None:
    quoted = next(row for row in ROWS if '\\"' in json_line(row))
    text = written(tmp_path / "rows.copy", [quoted]).read_bytes()

    content = malformed(tmp_path, text)

    assert content.reason.endswith("if \\copy wrote it, name the format copy")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("7,user,ada", "there are 3 columns, not 12"),
        ("7,user,ada,user.locked,x,2,2026-05-10 14:00:00+02,,admin,org1,1.5,1", "Expected `int`, got `str` - at …"),
        ("7,user,ada,user.locked,1,2,yesterday,,admin,org1,1.5,1", "Invalid isoformat string: 'yesterday'"),
        ("7,user,ada,user.locked,1,2,2026-05-10 14:00:00+02,{,admin,org1,1.5,1", "Input data was truncated"),
        ('7,user,"ada"x,user.locked', "',' expected after '\"'"),
    ],
)  # fmt: skip
def test_a_line_of_csv_that_is_no_row_says_why(line: str, reason: str, tmp_path: Path) -> None:
    assert malformed(tmp_path, line + "\n", "rows.csv").reason.startswith(reason.rstrip("…"))


LOCKED = "7,user,ada,user.locked,1,2,2026-05-10 14:00:00+02,,admin,org1,1.5,1"
HEADER = ",".join(EventRow.__struct_fields__)


@pytest.mark.parametrize(
    ("line", "user"),
    [
        (LOCKED.removesuffix(",1"), UserKey("7", "ada")),
        (LOCKED.replace("user.locked", '"user.locked"x'), UserKey("7", "ada")),
        ("7,user,ad", None),  # perhaps the id goes on
        (LOCKED.removeprefix("7,"), None),
        (LOCKED.replace("ada", '"ada'), None),  # lines of others may have gone with it
        (LOCKED.replace("ada", '"ada"x'), None),
    ],
)
def test_a_broken_line_of_csv_says_whose_it_is_only_where_that_is_certain(
    line: str, user: UserKey | None, tmp_path: Path
) -> None:
    assert malformed(tmp_path, line + "\n", "rows.csv").user == user


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.csv.zst"])
def test_a_value_of_500_000_bytes_is_read(name: str, tmp_path: Path) -> None:
    picture = json.dumps({"key": "picture", "value": "A" * 500_000})
    large = msgspec.structs.replace(ROWS[0], event_type="user.metadata.set", payload=msgspec.Raw(picture.encode()))

    assert read(written(tmp_path / name, [large])) == [large]


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_a_line_that_is_too_long_is_told_and_reading_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LONGEST_LINE_BYTES", 2000)
    long = msgspec.structs.replace(ROWS[0], payload=msgspec.Raw(json.dumps({"a": "A" * 9000}).encode()))

    lines = list(EventFile(written(tmp_path / name, [long, *ROWS[:3]])).lines())

    (place, content), *others = lines
    assert isinstance(content, Malformed)
    assert content.reason.startswith("the line is longer than ")
    assert content.user == long.user
    assert [line.content for line in others] == list(ROWS[:3])
    assert [line.place for line in others] == [place + 1, place + 2, place + 3]


@pytest.mark.parametrize("name", NAMES)
def test_a_byte_order_mark_is_passed_over(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name)
    with path.open("rb") as file, unpacked(file, name) as plain:
        text = b"\xef\xbb\xbf" + plain.read()
    with path.open("wb") as target, packing(target, name) as packed:
        packed.write(text)

    assert read(path) == list(ROWS)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_text_that_is_not_utf_8_is_refused_with_advice(encoding: str, name: str, tmp_path: Path) -> None:
    text = written(tmp_path / name).read_text()

    content = malformed(tmp_path, text.encode(encoding), name)

    assert content.reason.startswith("the file is UTF-16 or UTF-32: convert it to UTF-8")


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_line_ends_of_windows_empty_lines_and_no_last_line_end_change_nothing(name: str, tmp_path: Path) -> None:
    text = written(tmp_path / name).read_bytes()

    (tmp_path / name).write_bytes(text.replace(b"\n", b"\r\n\r\n").removesuffix(b"\r\n\r\n"))

    assert read(tmp_path / name) == list(ROWS)


def test_a_quoted_line_end_belongs_to_its_value(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        f"{HEADER}\n{LOCKED.replace('admin', chr(34) + 'a' + chr(10) + 'b' + chr(34))}\n{LOCKED}\n"
    )

    (first, second) = EventFile(tmp_path / "rows.csv").lines()

    assert isinstance(first.content, EventRow)
    assert (first.content.creator, first.place, second.place) == ("a\nb", 3, 4)


def test_a_nul_refuses_its_line(tmp_path: Path) -> None:
    content = malformed(tmp_path, LOCKED.replace("admin", "ad\0min"), "rows.csv")

    assert (content.reason, content.user) == ("a column holds a NUL, which no database takes", UserKey("7", "ada"))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (HEADER.replace("creator,", ""), "columns are missing: creator"),
        (HEADER.replace("creator", "owner"), "columns are missing: creator"),
        (f"{HEADER},owner", "columns are there twice: owner"),
    ],
)
def test_a_line_of_names_that_will_not_do_refuses_the_file(header: str, reason: str, tmp_path: Path) -> None:
    assert malformed(tmp_path, f"{header}\n{LOCKED}\n{LOCKED}\n", "rows.csv").reason == reason


def test_a_column_that_we_do_not_know_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(f"more,{HEADER}\nx,{LOCKED}\n")

    (row,) = read(tmp_path / "rows.csv")

    assert isinstance(row, EventRow)
    assert row.aggregate_id == "ada"


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.jsonl.zst"])
def test_a_packed_file_that_is_corrupt_is_told(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name)
    middle = path.stat().st_size // 2
    path.write_bytes(path.read_bytes()[:middle] + b"\xff" * 300 + path.read_bytes()[middle + 300 :])

    with pytest.raises(OSError, match=r"is corrupt|CRC check failed"):
        read(path)


def test_the_name_tells_the_format(tmp_path: Path) -> None:
    assert FileFormat.of(Path("a.b.csv.gz")) is FileFormat.CSV
    with pytest.raises(ValueError, match=r"^rows\.txt does not tell its format"):
        EventFile(tmp_path / "rows.txt")


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.jsonl.zst"])
def test_a_packed_file_that_is_broken_off_is_no_whole_one(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(OSError, match="is broken off"):
        read(path)


def test_a_file_that_could_not_be_written_whole_is_not_there(tmp_path: Path) -> None:
    def failing() -> None:
        with new_file(tmp_path / "rows.jsonl") as file:
            write_events(itertools.islice(ROWS, 5), file, "rows.jsonl", FileFormat.JSON)
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        failing()

    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_one_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "rows.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(target)

    written(link)

    assert link.is_symlink()
    assert read(target) == list(ROWS)


def test_a_pipe_with_a_name_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "rows.jsonl"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(pipe.read_bytes)

        written(pipe)

        assert reader.result(30).count(b"\n") == len(ROWS)
    assert pipe.is_fifo()


def test_a_stream_is_kept_while_it_is_read(tmp_path: Path) -> None:
    text = written(tmp_path / "rows.csv").read_bytes()

    with spooled(io.BytesIO(text), "in.csv") as path:
        lines = list(EventFile(path, name="-").lines())
        assert [line.content for line in lines] == list(ROWS)

    assert not path.exists()
    assert isinstance(lines[0], Line)


def test_the_same_contents_have_the_same_identity_and_reading_is_counted(tmp_path: Path) -> None:
    path, other = written(tmp_path / "rows.jsonl"), written(tmp_path / "other.jsonl")
    shorter = written(tmp_path / "shorter.jsonl", ROWS[:-1])
    counts: list[int] = []
    counting = EventFile(path, progress=counts.append)

    list(counting.lines())

    assert sum(counts) == path.stat().st_size
    assert counting.identity() == EventFile(other).identity() != EventFile(shorter).identity()
