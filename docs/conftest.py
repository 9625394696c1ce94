"""The Python and the Bash in these pages is run, each page from top to bottom in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from cluster import candidates
from servers import postgresql_server, postgresql_url

__all__ = ["postgresql_server", "postgresql_url", "pytest_collect_file"]

ON_POSTGRESQL = [
    "how-to/back-up-and-restore.md",
    "how-to/run-on-postgresql.md",
    "how-to/share-a-transaction.md",
    "how-to/use-with-eventsourcing.md",
]


def enter_a_new_folder(namespace: dict[str, Any]) -> None:
    """Begin a page where nothing is."""
    namespace["_folder"] = TemporaryDirectory(prefix="humanuser-docs-")
    namespace["_before"] = Path.cwd()
    os.chdir(namespace["_folder"].name)


def leave_it(namespace: dict[str, Any]) -> None:
    """Leave nothing behind."""
    os.chdir(namespace["_before"])
    if url := namespace.get("_url"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS identity_restored")
    namespace["_folder"].cleanup()


def run_in_bash(example: Example) -> None:
    """Run a block with our commands, PostgreSQL's, and the URLs of two databases."""
    url = str(example.namespace.setdefault("_url", example.namespace["postgresql_url"]))  # one for the page
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HUMANUSER_")}
    folders = [Path(sys.executable).parent, *(folder for folder in candidates() if (folder / "pg_dump").exists())]
    more = {
        "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
        "HUMANUSER_DATABASE": url,
        "RESTORED": re.sub(r"(://[^/]*/)[^?]*", r"\1identity_restored", url),
        "HUMANUSER_CODE_KEY_FILE": "humanuser.sqlite.keys",
    }
    done = subprocess.run(  # noqa: S603 - ours
        ["bash", "-euo", "pipefail", "-c", example.parsed],  # noqa: S607 - the machine's
        env={**ours, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{done.stdout}{done.stderr}")


parsers = [PythonCodeBlockParser(), CodeBlockParser("bash", run_in_bash)]
steps = {"parsers": parsers, "setup": enter_a_new_folder, "teardown": leave_it}
on_files = Sybil(patterns=["*.md"], excludes=ON_POSTGRESQL, **steps)
on_postgresql = Sybil(patterns=ON_POSTGRESQL, fixtures=["postgresql_url"], **steps)
pytest_collect_file = (on_files + on_postgresql).pytest()
