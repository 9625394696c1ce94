"""Backups of a SQLite file that is in use, and restores that lose nothing and send nothing twice."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from command_line import Cli, words
from fakes import FakeClock, eventually, pending_code
from humanuser import Accepted, By, HumanUserAdded, Sms, StoreUnavailable
from humanuser_adapters.application import Application
from humanuser_adapters.outbox import State
from humanuser_adapters.sqlite_backup import back_up
from humanuser_adapters.vault import AesGcmVault

ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")
NUMBER = "+41791234567"


def users_in(file: Path) -> list[str]:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT DISTINCT aggregate_id FROM humanuser_events ORDER BY position").fetchall()
    return [user_id for (user_id,) in rows]


def names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_backup_is_one_file_for_its_owner_that_opens_as_a_database(
    application: Application, tmp_path: Path, vault: AesGcmVault
) -> None:
    application.commands.add_human_user("ada", ADDED, phone=NUMBER, by=ADMIN)
    pages: list[tuple[int, int]] = []

    size = application.backup(tmp_path / "a backup%20?.sqlite", lambda done, total: pages.append((done, total)))

    backup = tmp_path / "a backup%20?.sqlite"
    assert (backup.stat().st_size, backup.stat().st_mode & 0o777) == (size, 0o600)
    assert pages[-1][0] == pages[-1][1] > 0
    assert {name for name in names_in(tmp_path) if "backup" in name} == {backup.name}
    with Application(backup, vault) as copy:
        assert list(copy.history("ada")) == list(application.history("ada"))


def test_a_backup_ends_while_others_write_all_the_time(
    application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        application.commands.add_human_user(f"before{number}", ADDED, by=ADMIN)
    monkeypatch.setattr("humanuser_adapters.sqlite_backup.PAGES", 1)
    written = 0

    def write(done: int, total: int) -> None:
        nonlocal written
        if done < total and written < 500:
            application.commands.add_human_user(f"meanwhile{written}", ADDED, by=ADMIN)
            written += 1

    application.backup(tmp_path / "backup", write)

    assert 5 < written < 500
    assert users_in(tmp_path / "backup") == [f"before{number}" for number in range(50)]


def test_an_existing_file_is_replaced_only_if_wanted_and_the_database_never(
    application: Application, tmp_path: Path
) -> None:
    application.commands.add_human_user("ada", ADDED, by=ADMIN)
    (tmp_path / "backup").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "test.sqlite")

    with pytest.raises(FileExistsError):
        application.backup(tmp_path / "backup")
    for path in ("test.sqlite", "link"):
        with pytest.raises(FileExistsError):
            application.backup(tmp_path / path, overwrite=True)
    assert (tmp_path / "backup").read_text() == "precious"

    application.backup(tmp_path / "backup", overwrite=True)
    assert users_in(tmp_path / "backup") == ["ada"]


def test_a_backup_that_finds_no_room_leaves_nothing(application: Application, tmp_path: Path) -> None:
    for number in range(100):
        application.commands.add_human_user(f"user{number}", ADDED, by=ADMIN)
    program = """
import resource, signal, sys
from pathlib import Path
from humanuser import StoreUnavailable
from humanuser_adapters.sqlite_backup import back_up
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
try:
    back_up(Path(sys.argv[1]), Path(sys.argv[2]))
except StoreUnavailable as error:
    print(error)
"""
    (tmp_path / "backups").mkdir()
    command = [sys.executable, "-c", program, str(tmp_path / "test.sqlite"), str(tmp_path / "backups" / "backup")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.startswith(f"cannot copy {tmp_path}/test.sqlite to {tmp_path}/backups: ")
    assert names_in(tmp_path / "backups") == set()


def test_a_folder_that_is_missing_and_a_damaged_or_foreign_file_are_named(
    application: Application, tmp_path: Path
) -> None:
    with pytest.raises(StoreUnavailable, match="missing/backup: No such file"):
        application.backup(tmp_path / "missing" / "backup")
    with closing(sqlite3.connect(tmp_path / "foreign")) as connection:
        connection.execute("CREATE TABLE things (name)")
    with pytest.raises(StoreUnavailable, match="no database of humanuser"):
        back_up(tmp_path / "foreign", tmp_path / "backup")
    (tmp_path / "text").write_text("a letter" * 1000)
    with pytest.raises(StoreUnavailable, match="file is not a database"):
        back_up(tmp_path / "text", tmp_path / "backup")

    assert not any("backup" in name for name in names_in(tmp_path))


def test_postgresql_is_backed_up_otherwise(cli: Cli, postgresql_url: str, vault: AesGcmVault, tmp_path: Path) -> None:
    with Application(postgresql_url, vault) as application, pytest.raises(ValueError, match="pg_dump"):
        application.backup(tmp_path / "backup")

    for command, named in (("backup", "pg_dump"), ("restore", "pg_restore")):
        answer = cli(command, "backup", "--database", postgresql_url)
        assert answer.code == 2
        assert named in words(answer.stderr)
        assert postgresql_url not in answer.stderr


def test_the_command_backs_up_and_restores(cli: Cli) -> None:
    cli.add("--phone", NUMBER)
    (code,) = cli.codes()

    made = cli("backup", "backup.sqlite", "--json")
    again = cli("backup", "backup.sqlite")
    cli.add(user_id="later")
    refused = cli("restore", "backup.sqlite")
    restored = cli("restore", "backup.sqlite", "--force", "--json")

    assert made.json == {"file": "backup.sqlite", "bytes": (cli.home / "backup.sqlite").stat().st_size}
    assert (again.code, refused.code, restored.code) == (2, 2, 0)
    assert "--force" in words(again.stderr)
    assert "humanuser.sqlite.before-restore" in words(refused.stderr)
    assert restored.json == {"database": "humanuser.sqlite", "rechecked SMS": 1}
    assert users_in(cli.database) == ["ada"]
    assert users_in(cli.home / "humanuser.sqlite.before-restore") == ["ada", "later"]
    assert cli.database.stat().st_mode & 0o777 == 0o600
    assert cli("phone", "verify", "ada", code).code == 0
    assert cli("restore", "backup.sqlite", "--force").code == 2  # the first one's data are kept
    assert users_in(cli.home / "humanuser.sqlite.before-restore") == ["ada", "later"]


def test_a_database_that_is_in_use_is_not_replaced(cli: Cli) -> None:
    cli.add()
    assert cli("backup", "backup.sqlite").code == 0
    program = """
import sys
from humanuser_adapters.sqlite import SQLiteDatabase
database = SQLiteDatabase(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(cli.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"

        answer = cli("restore", "backup.sqlite", "--force")
        process.communicate()

    assert answer.code == 3
    assert "humanuser.sqlite is in use: stop the processes" in words(answer.stderr)
    assert not (cli.home / "humanuser.sqlite.before-restore").exists()
    assert cli("restore", "backup.sqlite", "--force").code == 0


def test_a_damaged_database_is_replaced_and_its_leftovers_are_not_applied(cli: Cli) -> None:
    cli.add()
    assert cli("backup", "backup.sqlite").code == 0
    cli.database.write_bytes(os.urandom(10_000))
    for end in ("-wal", "-shm", "-journal"):
        (cli.home / f"humanuser.sqlite{end}").write_bytes(b"left over" * 100)

    answer = cli("restore", "backup.sqlite", "--force")

    assert answer.code == 0
    assert users_in(cli.database) == ["ada"]
    assert cli("history", "ada").code == 0
    assert (cli.home / "humanuser.sqlite.before-restore-wal").read_bytes() == b"left over" * 100


def test_a_log_that_is_left_beside_no_database_is_not_applied(cli: Cli) -> None:
    cli.add()
    assert cli("backup", "backup.sqlite").code == 0
    with closing(sqlite3.connect(cli.database)) as connection:
        connection.execute("UPDATE humanuser_events SET aggregate_id = 'eve'")
        connection.commit()
        shutil.copy(cli.home / "humanuser.sqlite-wal", cli.home / "wal")
    cli.database.unlink()
    (cli.home / "wal").rename(cli.home / "humanuser.sqlite-wal")

    assert cli("restore", "backup.sqlite").code == 0
    assert users_in(cli.database) == ["ada"]


@pytest.mark.parametrize("damage", ["cut", "newer", "text", "missing"])
def test_a_backup_that_cannot_be_used_changes_nothing(cli: Cli, damage: str) -> None:
    cli.add()
    backup = cli.home / "backup.sqlite"
    assert cli("backup", "backup.sqlite").code == 0
    match damage:
        case "cut":
            backup.write_bytes(backup.read_bytes()[:-20_000])
        case "newer":
            with closing(sqlite3.connect(backup)) as connection:
                connection.execute("UPDATE humanuser_schema_versions SET version = 99")
                connection.commit()
        case "text":
            backup.write_text("a letter" * 1000)
        case _:
            backup.unlink()
    before = names_in(cli.home)

    answer = cli("restore", "backup.sqlite", "--force")

    assert answer.code == 3, answer.stderr
    assert names_in(cli.home) == before
    assert users_in(cli.database) == ["ada"]


def test_a_missing_key_file_is_warned_of(cli: Cli) -> None:
    cli.add()
    cli("backup", "backup.sqlite")

    answer = cli("restore", "backup.sqlite", "--database", "elsewhere.sqlite")

    assert answer.code == 0
    assert "the key file elsewhere.sqlite.keys is missing; restore it as well" in words(answer.stderr)


class Provider:
    """Has sent what it was given before, and can be asked."""

    def __init__(self, *known: str) -> None:
        self.known = set(known)
        self.sent: list[str] = []

    def send(self, sms: Sms) -> Accepted:
        self.sent.append(sms.message_id)
        return Accepted("new")

    def look_up(self, sms: Sms) -> Accepted | None:
        return Accepted("found") if sms.message_id in self.known else None


def test_what_was_sent_since_the_backup_is_not_sent_again(
    application: Application, tmp_path: Path, vault: AesGcmVault, clock: FakeClock
) -> None:
    application.commands.add_human_user("sent", ADDED, phone=NUMBER, by=ADMIN)
    application.commands.add_human_user("unsent", ADDED, phone=NUMBER, by=ADMIN)
    application.backup(tmp_path / "backup")  # the notifications have not followed yet
    sent, unsent = (one.notification.message_id for one in application.deliveries())

    provider = Provider(sent)
    with Application(tmp_path / "backup", vault, sender=provider, clock=clock) as restored:
        assert restored.recheck_sms() == 2
        restored.start()
        assert eventually(lambda: {one.state for one in restored.deliveries()} == {State.SENT})
        code = pending_code(restored, vault, "unsent")
        restored.commands.verify_phone("unsent", code, by=ADMIN)

    assert provider.sent == [unsent]


def test_two_backups_to_one_name_make_one_file(application: Application, tmp_path: Path) -> None:
    application.commands.add_human_user("ada", ADDED, by=ADMIN)
    outcomes: list[object] = []

    def run() -> None:
        try:
            outcomes.append(back_up(tmp_path / "test.sqlite", tmp_path / "backup"))
        except FileExistsError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
    assert users_in(tmp_path / "backup") == ["ada"]
