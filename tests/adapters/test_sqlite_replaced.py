"""A SQLite file that is replaced or removed while it is open: nothing is acknowledged into a file without a name."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fakes import eventually
from humanuser import By, HumanUserAdded, StoreUnavailable
from humanuser_adapters.application import Application
from humanuser_adapters.sqlite import SQLiteDatabase
from humanuser_adapters.vault import AesGcmVault

ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")
GONE = "replaced or removed"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def file(folder: Path) -> Path:
    """Reached by a symbolic link."""
    (folder / "link.sqlite").symlink_to(folder / "a.sqlite")
    return folder / "link.sqlite"


@pytest.fixture
def application(file: Path, vault: AesGcmVault) -> Iterator[Application]:
    with Application(file, vault) as application:
        application.commands.add_human_user("before", ADDED, by=ADMIN)
        yield application


def backed_up(file: Path) -> Path:
    """A copy of the database, as it is now."""
    backup = file.with_name("backup")
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    return backup


def move_a_backup_over_it(file: Path) -> None:
    backed_up(file).replace(file.resolve())
    for ending in ("-wal", "-shm"):
        Path(f"{file.resolve()}{ending}").unlink()


def move_a_backup_over_it_alone(file: Path) -> None:
    backed_up(file).replace(file.resolve())


def move_a_backup_over_the_link(file: Path) -> None:
    backed_up(file).replace(file)


def remove_it(file: Path) -> None:
    file.resolve().unlink()


def remove_its_wal(file: Path) -> None:
    Path(f"{file.resolve()}-wal").unlink()


def replace_its_wal(file: Path) -> None:
    wal = Path(f"{file.resolve()}-wal")
    kept = wal.rename(wal.with_name("old-wal"))
    wal.write_bytes(kept.read_bytes())


def remove_its_index(file: Path) -> None:
    Path(f"{file.resolve()}-shm").unlink()


def rename_its_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))


def lead_the_link_elsewhere(file: Path) -> None:
    backup = backed_up(file)
    file.unlink()
    file.symlink_to(backup)


CHANGES = [
    move_a_backup_over_it,
    move_a_backup_over_it_alone,
    move_a_backup_over_the_link,
    remove_it,
    remove_its_wal,
    replace_its_wal,
    remove_its_index,
    rename_its_folder,
    lead_the_link_elsewhere,
]


@pytest.fixture(params=CHANGES, ids=lambda change: change.__name__)
def change(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    change: Callable[[Path], None] = request.param
    return change


def problem(application: Application) -> str:
    return application.problems().get("database", "")


def reading_is_refused(application: Application) -> bool:
    try:
        application.find_user("before")
    except StoreUnavailable as error:
        return GONE in str(error)
    return False


def test_the_next_command_is_refused(application: Application, file: Path, change: Callable[[Path], None]) -> None:
    change(file)

    with pytest.raises(StoreUnavailable, match=GONE):
        application.commands.add_human_user("after", ADDED, by=ADMIN)


def test_readiness_says_so_within_a_second(
    application: Application, file: Path, change: Callable[[Path], None]
) -> None:
    application.start()

    change(file)

    assert eventually(lambda: GONE in problem(application))
    assert eventually(lambda: GONE in application.problems().get("users", ""))
    assert eventually(lambda: reading_is_refused(application))


def test_what_was_replaced_while_it_was_stored_is_not_acknowledged(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "test.sqlite")

    with pytest.raises(StoreUnavailable, match=GONE), database.write() as connection:  # noqa: PT012 - its end raises
        connection.execute("CREATE TABLE things (name TEXT)")
        remove_it(database.path)


def test_the_transaction_of_a_host_is_refused(application: Application, file: Path) -> None:
    host = sqlite3.connect(file)
    users = application.within(host)

    move_a_backup_over_it(file)

    with pytest.raises(StoreUnavailable, match=GONE):
        users.commands.add_human_user("after", ADDED, by=ADMIN)
    with closing(sqlite3.connect(file)) as late, pytest.raises(StoreUnavailable, match=GONE):
        application.within(late)
    host.close()


def test_a_new_application_opens_what_is_there_now(application: Application, file: Path, vault: AesGcmVault) -> None:
    move_a_backup_over_it(file)
    application.close()

    with Application(file, vault) as again:
        again.commands.add_human_user("after", ADDED, by=ADMIN)
        assert list(again.user_ids()) == ["after", "before"]


def test_the_same_files_at_their_place_again_are_used_again(application: Application, file: Path) -> None:
    rename_its_folder(file)
    with pytest.raises(StoreUnavailable, match=GONE):
        application.commands.add_human_user("after", ADDED, by=ADMIN)

    file.parent.with_name("elsewhere").rename(file.parent)

    application.commands.add_human_user("after", ADDED, by=ADMIN)
    assert application.problems() == {"users": "not running"}
    assert os.path.samefile(file, file.resolve())


def test_no_other_file_is_made_where_it_was_removed(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "test.sqlite")
    database.path.unlink()

    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        database.connect()

    assert not database.path.exists()
