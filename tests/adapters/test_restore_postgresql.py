"""PostgreSQL restored to a point in time: whole commands, positions that fit, and new commands go on from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from cluster import NoPostgres, Server, own_server
from fakes import eventually, pending_code
from humanuser import By, HumanUserAdded
from humanuser_adapters.application import Application
from humanuser_adapters.outbox import State
from humanuser_adapters.vault import AesGcmVault

ADMIN = By("admin", organization="org1")
ADDED = HumanUserAdded(user_name="ada")


def test_a_recovery_to_a_point_in_time_has_all_before_it_and_nothing_after(vault: AesGcmVault) -> None:
    settings = ("wal_level=replica", "archive_mode=on", "archive_command=cp %p ../archive_%f", "max_wal_senders=2")
    try:
        with own_server(settings) as server:
            _recover(server, vault)
    except NoPostgres as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must test PostgreSQL: {error}")
        pytest.skip(f"NO POSTGRESQL: {error}")


def _recover(server: Server, vault: AesGcmVault) -> None:
    base = server.home / "base"
    with Application(server.url, vault) as application:
        application.commands.add_human_user("in-base", ADDED, by=ADMIN)
        backup = [
            str(server.folder / "pg_basebackup"),
            "-h",
            str(server.home),
            "-U",
            "postgres",
            "-D",
            str(base),
            "-c",
            "fast",
        ]
        subprocess.run(backup, check=True, capture_output=True, **server.how)
        application.commands.add_human_user("before", ADDED, phone="+41791234567", by=ADMIN)
        assert len(application.deliveries()) == 1
        code = pending_code(application, vault, "before")
        time.sleep(0.05)
        with psycopg.connect(server.url, autocommit=True) as connection:
            (target,) = connection.execute("SELECT clock_timestamp()::text").fetchone() or ("",)
        time.sleep(0.05)
        application.commands.add_human_user("after", ADDED, by=ADMIN)
        with psycopg.connect(server.url, autocommit=True) as connection:
            (last,) = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone() or ("",)
            connection.execute("SELECT pg_switch_wal()")
            query = "SELECT last_archived_wal >= %s FROM pg_stat_archiver"
            assert eventually(lambda: connection.execute(query, (last,)).fetchone() == (True,), seconds=30), (
                server.log()
            )

    server.stop()
    shutil.rmtree(server.data)
    base.rename(server.data)
    _write(server.data / "recovery.signal", "", server)
    server.settings = (
        "restore_command=cp ../archive_%f %p",
        f"recovery_target_time={target}",
        "recovery_target_action=promote",
    )
    server.run()

    assert eventually(lambda: not _is_in_recovery(server.url), seconds=30)
    with Application(server.url, vault) as application:
        assert list(application.user_ids()) == ["before", "in-base"]
        assert application.recheck_sms() == 1
        assert [one.state for one in application.deliveries()] == [State.CLAIMED]
        assert application.head() == max(one.position for one in application.history("before"))
        application.commands.verify_phone("before", code, by=ADMIN)
        application.commands.add_human_user("new", ADDED, by=ADMIN)
        assert application.differences() == []


def _write(file: Path, text: str, server: Server) -> None:
    file.write_text(text)
    if "user" in server.how:
        os.chown(file, server.how["user"], server.how["group"])


def _is_in_recovery(url: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    except psycopg.OperationalError:
        return True
