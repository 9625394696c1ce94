"""The proof about imports, in small, and that it notices what it is for."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from reliability.imports import Import, Through, bring_in, bring_in_and_kill, exported
from reliability.kills import Place

EVENTS = 2000
AGAIN = """
    INSERT INTO humanuser_events
    SELECT position + 1000000, 'another', aggregate_type, aggregate_id, sequence, event_type, revision, created_at,
        creator, owner, payload, in_tx_order, command_id, source_position, fingerprint
    FROM humanuser_events LIMIT 2
"""
OTHERWISE = "bytes of lines that came back otherwise"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return exported(tmp_path, EVENTS, seed=1)


def failed(database: str, file: Path, kills: int, import_: Import = bring_in) -> dict[str, float]:
    place = Place.of(str(file.parent), database)
    figures = list(bring_in_and_kill(place, file, kills, 100, seed=2, import_=import_))
    assert kills in [figure.measured for figure in figures if figure.what == "kills"]
    return {figure.what: figure.measured for figure in figures if not figure.holds}


def test_an_import_that_is_killed_on_a_file_brings_in_all(tmp_path: Path, file: Path) -> None:
    assert failed(str(tmp_path / "test.sqlite"), file, kills=3) == {}


def test_an_import_that_is_killed_on_postgresql_brings_in_all(postgresql_url: str, file: Path) -> None:
    assert failed(postgresql_url, file, kills=3) == {}


def test_a_run_that_forgets_what_the_killed_one_had_begun_is_noticed(tmp_path: Path) -> None:
    file = exported(tmp_path, 5 * EVENTS, seed=1)  # enough to be in the midst of it when the kill comes

    noticed = failed(str(tmp_path / "test.sqlite"), file, 3, forgetful)

    assert noticed["events lost"] > 0
    assert noticed[OTHERWISE] > 0


@pytest.mark.parametrize(
    ("statement", "figure"),
    [
        ("DELETE FROM humanuser_events WHERE position = 7", "events lost"),
        (AGAIN, "events stored twice"),
        (
            "UPDATE humanuser_events SET aggregate_id = 'eve' || position, sequence = 1 WHERE position < 3",
            "events that nobody brought in",
        ),
        ("UPDATE humanuser_events SET payload = payload || ' ' WHERE position = 1", OTHERWISE),
        ("UPDATE humanuser_user_phone SET verified = NOT verified", "users of whom the read models say something else"),
        ("UPDATE humanuser_events SET event_type = 'user.locked' WHERE position % 3 = 0", "wrong answers"),
        ("UPDATE humanuser_events SET created_at = '2025-01-01T00:00:00Z'", "wrong answers"),
    ],
)
def test_what_an_import_spoils_is_noticed(tmp_path: Path, file: Path, statement: str, figure: str) -> None:
    assert failed(str(tmp_path / "test.sqlite"), file, 0, partial(spoiling, statement)).get(figure, 0) > 0


def test_imported_events_that_pass_for_new_ones_are_noticed(tmp_path: Path, file: Path) -> None:
    assert failed(str(tmp_path / "test.sqlite"), file, 0, passing_for_new)["SMS to be sent"] > 0


def spoiling(statement: str, database: str, file: Path, through: Through) -> None:
    """Bring in, and do something else behind it."""
    bring_in(database, file, through)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def forgetful(database: str, file: Path, through: Through) -> None:
    """Go on behind the batch that was under way when the one before was killed."""
    with closing(sqlite3.connect(database)) as connection, connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'humanuser_imports'").fetchone():
            connection.execute("UPDATE humanuser_imports SET line = line + 20")
    bring_in(database, file, through)


def passing_for_new(database: str, file: Path, through: Through) -> None:
    """Bring in as if all of it happened here and now."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "CREATE TRIGGER new AFTER INSERT ON humanuser_events BEGIN "
            "UPDATE humanuser_events SET source_position = NULL WHERE position = NEW.position; END"
        )
    bring_in(database, file, through)
