"""pgbouncer in transaction mode, in front of a server of the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fakes import PATIENCE_SECONDS, eventually


@contextmanager
def pooler(url: str, *, size: int = 3) -> Iterator[str]:
    """The URL of the database at *url* through a pooler with *size* connections; without pgbouncer, skip loudly."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI must test the pooler")
        pytest.skip("NO PGBOUNCER: not tested through a pooler")
    home = Path(tempfile.mkdtemp(prefix="pool-", dir="/tmp"))  # a socket needs a short path
    server = psycopg.conninfo.conninfo_to_dict(url)
    (home / "pgbouncer.ini").write_text(
        f"""
        [databases]
        pooled = host={server["host"]} dbname={server["dbname"]} user={server["user"]}
        [pgbouncer]
        listen_addr =
        unix_socket_dir = {home}
        listen_port = 6432
        auth_type = any
        pool_mode = transaction
        default_pool_size = {size}
        """
    )
    user: dict[str, Any] = {}  # Any: keyword arguments
    if os.geteuid() == 0:  # it refuses to run as root
        nobody = pwd.getpwnam("nobody")
        shutil.chown(home, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([program, home / "pgbouncer.ini"], cwd=home, stdout=log, stderr=log, **user)
    try:
        assert eventually((home / ".s.PGSQL.6432").exists), (home / "log").read_text()
        yield f"postgresql:///pooled?host={home}&port=6432"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_SECONDS)
        shutil.rmtree(home, ignore_errors=True)
