"""Events in and out on the command line, and read models held against them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from cluster import own_server
from command_line import Cli
from humanuser_adapters.cli import progress
from humanuser_adapters.cli.progress import Steps
from humanuser_adapters.event_files import FileFormat, json_line, new_file, write_events
from humanuser_adapters.event_row import EventRow
from zitadel_database import SCHEMA, ZitadelDatabase, zitadel
from zitadel_export import zitadel_events

__all__ = ["zitadel"]  # a fixture

ROWS = tuple(zitadel_events(300, 20))
BROKEN = json_line(ROWS[-1])[:-9] + "\n"
TEXT = "".join(f"{json_line(row)}\n" for row in ROWS)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "zitadel.jsonl"
    path.write_text(TEXT)
    return path


def execute(cli: Cli, statement: str) -> None:
    connection = sqlite3.connect(cli.database)
    connection.execute(statement)
    connection.commit()
    connection.close()


def without_first_event_of(row: EventRow) -> str:
    return "".join(f"{json_line(one)}\n" for one in ROWS if one.user != row.user or one.sequence > 1)


def test_an_export_of_zitadel_is_brought_in_and_taken_out_again(cli: Cli, export: Path) -> None:
    first = cli("import", str(export), "--json").json
    again = cli("import", str(export), "--json").json
    checked = cli("verify")
    exported = cli("export", "again.jsonl", "--json").json

    users = len({row.user for row in ROWS})
    rest = {"put aside": 0, "of others": 0, "gaps": 0, "removed users": 0, "after removal": 0}
    assert first == {"stored": 300, "new users": users, "there already": 0, **rest}
    assert again == {"stored": 0, "new users": 0, "there already": 300, **rest}
    assert (checked.code, checked.stdout) == (0, "the read models are what the events make them\n")
    assert exported == {"events": 300}
    assert (cli.home / "again.jsonl").read_text() == TEXT


def test_read_models_are_up_to_date_after_an_import(cli: Cli, export: Path) -> None:
    cli("import", str(export))

    (users, _) = cli("status", "--json").json["subscriptions"]

    assert (users["position"], users["behind"]) == (300, 0)


def test_a_few_more_events_are_taken_in_without_a_rebuild(
    cli: Cli, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_A_LINE", 0)
    (cli.home / "yesterday.jsonl").write_text("".join(TEXT.splitlines(keepends=True)[:250]))

    told = [cli("import", name).stderr for name in ("yesterday.jsonl", str(export))]

    assert ["rebuilding" in one for one in told] == [True, False]
    assert cli("status", "--json").json["subscriptions"][0]["behind"] == 0
    assert cli("verify").code == 0


def test_pipes_are_read_and_written(cli: Cli, export: Path) -> None:
    imported = cli("import", "-", input=export.read_bytes())
    exported = cli("export", "-", "--format", "json")

    assert imported.code == 0
    assert exported.stdout == TEXT


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.jsonl.zst", "rows.copy"])
def test_the_name_tells_how_a_file_is_written_and_packed(name: str, cli: Cli, export: Path) -> None:
    cli("import", str(export))

    cli("export", name)
    cli("import", name, "--database", "other.sqlite")

    assert cli("export", "-", "--database", "other.sqlite").stdout == TEXT


def test_a_history_with_a_gap_refuses_all_with_its_line(cli: Cli) -> None:
    (cli.home / "bad.jsonl").write_text(without_first_event_of(ROWS[-1]))

    answer = cli("import", "bad.jsonl")

    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("error: nothing was stored of bad.jsonl:\nline ")
    assert answer.stderr.endswith("comes after 0, so events are missing\n")
    assert cli("status", "--json").json["head"] == 0


def test_bad_histories_are_put_aside(cli: Cli) -> None:
    (cli.home / "bad.jsonl").write_text(without_first_event_of(ROWS[-1]) + BROKEN)
    of_user = [json_line(row) for row in ROWS if row.user == ROWS[-1].user and row.sequence > 1]

    answer = cli("import", "bad.jsonl", "--skip-bad", "aside.jsonl", "--json")

    assert answer.json["put aside"] == len(of_user) + 1
    assert (cli.home / "aside.jsonl").read_text().splitlines() == [*of_user, BROKEN.strip()]


def test_a_line_that_may_be_anybodys_refuses_all(cli: Cli, export: Path) -> None:
    export.write_text(TEXT + '{"nonsense\n')

    answer = cli("import", str(export), "--skip-bad", "aside.jsonl")

    assert answer.code == 1
    assert "these lines may belong to any user" in " ".join(answer.stderr.split())
    assert cli("status", "--json").json["head"] == 0


def test_following_survives_a_restart_of_the_source(cli: Cli) -> None:
    with own_server() as server:
        zitadel = ZitadelDatabase(server.url)
        zitadel.execute(SCHEMA)
        zitadel.add(ROWS[:200])
        command = [sys.executable, "-m", "humanuser_adapters.cli", "replay", "--from", zitadel.url, "--follow"]
        process = subprocess.Popen(command, cwd=cli.home, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stderr is not None
        while _stored(cli) < 200:
            assert process.poll() is None
            time.sleep(0.05)

        server.stop()
        while "retrying in" not in process.stderr.readline():
            assert process.poll() is None
        server.run()
        zitadel.add(ROWS[200:])
        while _stored(cli) < 300:
            assert process.poll() is None
            time.sleep(0.05)

        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert process.returncode == 130


def test_differences_are_shown_and_exit_1(cli: Cli, export: Path) -> None:
    cli("import", str(export))
    execute(cli, "UPDATE humanuser_user_phone SET phone = '+41790000012' WHERE phone IS NOT NULL")

    table, as_json, whole = cli("verify"), cli("verify", "--json"), cli("verify", "--reveal")

    assert (table.code, as_json.code) == (1, 1)
    assert {one["what"] for one in as_json.json} == {"phone"}
    assert "**********12" in table.stdout
    assert "+41" not in table.stdout + as_json.stdout
    assert "+41790000012" in whole.stdout
    assert cli("rebuild").code == 0
    assert cli("verify").code == 0


def test_a_quick_check_looks_at_details_alone(cli: Cli, export: Path) -> None:
    cli("import", str(export))
    right = cli("verify", "--quick")
    execute(cli, "UPDATE humanuser_user_phone SET phone = '+41790000012' WHERE phone IS NOT NULL")
    of_phones = cli("verify", "--quick")
    execute(cli, "UPDATE humanuser_user_details SET resource_owner = 'x'")

    wrong = cli("verify", "--quick", "--json")

    assert (right.code, right.stdout) == (0, "the details are what the events make them\n")
    assert of_phones.code == 0
    assert (wrong.code, {one["what"] for one in wrong.json}) == (1, {"details"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "missing.jsonl"), "No such file or directory: 'missing.jsonl'"),
        (("import", "rows.txt"), "rows.txt does not tell its format by .jsonl, .csv or .copy; name it with --format"),
        (("export", "rows"), "rows does not tell its format by .jsonl, .csv or .copy; name it with --format"),
        (("import", "rows.csv", "--format", "xml"), "'xml' is not one of"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], message: str, cli: Cli) -> None:
    (cli.home / "rows.txt").touch()
    cli.add()

    answer = cli(*arguments)

    assert answer.code == 2
    assert message in " ".join(answer.stderr.split())


def test_an_export_that_cannot_be_written_leaves_nothing(cli: Cli) -> None:
    cli.add()

    answer = cli("export", "no/such/folder.jsonl")

    assert answer.code == 2
    assert "No such file or directory" in answer.stderr
    assert not (cli.home / "no").exists()


def test_a_pipe_is_told_now_and_then_how_far_it_is(cli: Cli, export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_A_LINE", 0)

    answer = cli("import", str(export))

    assert "checking: 100%, 300 events, " in answer.stderr
    assert "storing: 100%, 300 events, " in answer.stderr
    assert "rebuilding: 100%, 300 events, " in answer.stderr


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(cli: Cli) -> None:
    with new_file(cli.home / "big.jsonl") as file:
        write_events(zitadel_events(40_000, 500), file, "big.jsonl", FileFormat.JSON)
    command = [sys.executable, "-m", "humanuser_adapters.cli", "import", "big.jsonl"]
    process = subprocess.Popen(command, cwd=cli.home, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not _stored(cli):
        assert process.poll() is None
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    stored = _stored(cli)
    rest = cli("import", "big.jsonl", "--json").json

    assert process.returncode == 130
    assert " ".join(told.split()).startswith("big.jsonl: stopped. What is stored is whole; the same command goes on")
    assert 0 < stored < 40_000
    assert (rest["stored"], rest["there already"]) == (40_000 - stored, stored)
    assert cli("verify").code == 0


def test_sigterm_stops_an_export_which_leaves_no_file(cli: Cli, export: Path) -> None:
    cli("import", str(export))
    program = (
        "import os, signal; from humanuser_adapters.application import Application; "
        "Application.export_events = lambda _: iter(lambda: os.kill(os.getpid(), signal.SIGTERM), 0); "
        "from humanuser_adapters.cli import main; main()"
    )
    before = set(cli.home.iterdir())

    process = subprocess.run(
        [sys.executable, "-c", program, "export", "out.jsonl"],
        check=False,
        cwd=cli.home,
        capture_output=True,
        text=True,
    )

    assert process.returncode == 130
    assert process.stderr.rstrip().endswith("out.jsonl: stopped. There is no file of it.")
    assert set(cli.home.iterdir()) == before


@pytest.mark.parametrize("command", ["show ada", "verify", "export -", "history ada --json"])
def test_a_full_disk_behind_the_output_exits_3(cli: Cli, command: str) -> None:
    cli.add()
    program = [sys.executable, "-m", "humanuser_adapters.cli", *command.split()]

    with Path("/dev/full").open("w") as full:
        process = subprocess.run(program, check=False, cwd=cli.home, stdout=full, stderr=subprocess.PIPE, text=True)

    assert (process.returncode, process.stderr) == (3, "error: [Errno 28] No space left on device\n")


def test_who_reads_no_further_than_the_first_line_is_told_nothing_else(cli: Cli) -> None:
    with new_file(cli.home / "big.jsonl") as file:
        write_events(zitadel_events(5_000, 500), file, "big.jsonl", FileFormat.JSON)
    cli("import", "big.jsonl")
    program = [sys.executable, "-m", "humanuser_adapters.cli", "export", "-"]

    with subprocess.Popen(program, cwd=cli.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()

    assert first.startswith(b"{")
    assert told == b""


@pytest.mark.parametrize(
    ("command", "how_it_is"),
    [
        ("export out.jsonl", "There is no file of it."),
        ("verify", "Nothing was changed."),
        ("rebuild", "Nothing was changed."),
    ],
)
def test_ctrl_c_says_how_things_are(
    cli: Cli, export: Path, monkeypatch: pytest.MonkeyPatch, command: str, how_it_is: str
) -> None:
    cli("import", str(export))
    monkeypatch.setattr(Steps, "step", Mock(side_effect=KeyboardInterrupt))

    answer = cli(*command.split())

    assert answer.code == 130
    assert answer.stderr.rstrip().endswith(f"stopped. {how_it_is}")


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        ("status -d postgresql://x/y", "psycopg", "postgresql"),
        ("replay --from postgresql://x/y", "psycopg", "postgresql"),
        ("verify --zitadel postgresql://x/y", "psycopg", "postgresql"),
        ("serve --development --port 0", "grpc", "cli"),
    ],
)
def test_without_a_package_it_is_told_what_to_install(cli: Cli, command: str, missing: str, extra: str) -> None:
    cli.add()
    program = f"import sys; sys.modules['{missing}'] = None; from humanuser_adapters.cli import main; main()"
    environment = {**os.environ, "HUMANUSER_CODE_KEYS": f"key:{'A' * 43}="}

    process = subprocess.run(
        [sys.executable, "-c", program, *command.split()],
        check=False,
        cwd=cli.home,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert process.returncode == 2
    assert f"pip install 'humanuser[{extra}]'" in " ".join(process.stderr.split())
    assert "Traceback" not in process.stderr


def test_a_running_zitadel_is_replayed_and_followed(cli: Cli, zitadel: ZitadelDatabase) -> None:
    zitadel.add(ROWS[:200])
    first = cli("replay", "--from", zitadel.url, "--json").json
    command = [sys.executable, "-m", "humanuser_adapters.cli", "replay", "--from", zitadel.url, "--follow"]
    process = subprocess.Popen(command, cwd=cli.home, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    zitadel.add(ROWS[200:])
    while _stored(cli) < 300:
        assert process.poll() is None
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)

    assert first["stored"] == 200
    assert process.returncode == 130
    assert "the replay: stopped." in " ".join(told.split())
    assert cli("replay", "--from", zitadel.url, "--json").json["stored"] == 0
    assert cli("verify").code == 0


def test_read_models_are_held_against_those_of_zitadel(cli: Cli, zitadel: ZitadelDatabase) -> None:
    zitadel.add(ROWS)
    cli("replay", "--from", zitadel.url)
    connection = sqlite3.connect(cli.database)
    ours = connection.execute("SELECT instance_id, user_id, phone, verified FROM humanuser_user_phone").fetchall()
    connection.close()
    for instance_id, user_id, phone, verified in ours:
        known = (user_id, instance_id, phone, bool(verified) if phone else None)
        zitadel.execute("INSERT INTO projections.users14_humans VALUES (%s, %s, %s, %s)", known)
    same = cli("verify", "--zitadel", zitadel.url)
    changed, missing, *_ = sorted(user_id for _, user_id, phone, _ in ours if phone)
    zitadel.execute("UPDATE projections.users14_humans SET phone = '+41790000012' WHERE user_id = %s", [changed])
    zitadel.execute("DELETE FROM projections.users14_humans WHERE user_id = %s", [missing])
    zitadel.execute("INSERT INTO projections.users14_humans VALUES ('zoe', 'i', '', NULL)")

    answer = cli("verify", "--zitadel", zitadel.url, "--json")

    assert (same.code, same.stdout) == (0, "the read models are what the events make them\n")
    assert answer.code == 1
    assert {one["userId"]: one["expected"] for one in answer.json} == {
        changed: ["**********12", answer.json[0]["stored"][1]],
        missing: None,
        "zoe": [None, False],
    }


def test_a_database_that_is_not_there_exits_3(cli: Cli) -> None:
    answer = cli("replay", "--from", "postgresql://localhost:1/nowhere")

    assert (answer.code, answer.stdout) == (3, "")


def _stored(cli: Cli) -> int:
    if not cli.database.exists():
        return 0
    connection = sqlite3.connect(cli.database)
    try:
        count: int = connection.execute("SELECT coalesce(max(position), 0) FROM humanuser_events").fetchone()[0]
    except sqlite3.OperationalError:  # no table yet
        return 0
    finally:
        connection.close()
    return count
