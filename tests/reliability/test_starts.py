"""The proof about starts, in small, and that it notices what it is for."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from cluster import new_schema
from reliability.starts import PROCESSES, Start, start, start_together


def failed(databases: Sequence[str], start: Start = start) -> dict[str, float]:
    return {figure.what: figure.measured for figure in start_together(databases, start=start) if not figure.holds}


def test_ten_processes_start_together_on_a_new_postgresql_database_three_times(postgresql_server: str) -> None:
    assert failed([new_schema(postgresql_server) for _ in range(3)]) == {}


def test_ten_processes_start_together_on_a_new_file_three_times(tmp_path: Path) -> None:
    assert failed([str(tmp_path / f"{number}.sqlite") for number in range(3)]) == {}


def test_tables_that_are_made_without_taking_turns_are_noticed(tmp_path: Path) -> None:
    assert failed([str(tmp_path / "test.sqlite")], hasty)["of them failed"] > PROCESSES / 2


def hasty(database: str, user_id: str) -> str:
    """Start as one must not: look, and then make the tables."""
    with closing(sqlite3.connect(f"{database}.hasty", isolation_level=None)) as connection:
        missing = connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        time.sleep(0.2)
        try:
            if missing:
                connection.execute("CREATE TABLE things (name TEXT)")
        except sqlite3.OperationalError as error:
            return str(error)
    return start(database, user_id)
