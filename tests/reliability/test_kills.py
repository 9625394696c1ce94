"""The proofs about kills, in small, and that they notice what they are for."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from humanuser import Accepted, Sms
from humanuser_adapters.application import Application
from reliability import kills
from reliability.kills import Place, Provider, change_phones, give_commands, judge_codes, judge_commands, send_codes
from reliability.proof import Figure

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
"""Children of a fork use no thread of their parent's here."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.of(str(tmp_path), str(tmp_path / "test.sqlite"))


def failed(figures: Iterable[Figure]) -> set[str]:
    return {figure.what for figure in figures if not figure.holds}


def killed(place: Place, work: kills.Work = give_commands) -> Place:
    kills.kill_again_and_again(place, work, 20, seed=1, longest_seconds=0.3)
    return place


def change(place: Place, statement: str) -> None:
    with closing(sqlite3.connect(place.database)) as connection, connection:
        assert connection.execute(statement).rowcount > 0


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_was_acknowledged_is_stored_whole(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    database = str(tmp_path / "test.sqlite") if kind == "sqlite" else request.getfixturevalue("postgresql_url")

    figures = list(judge_commands(killed(Place.of(str(tmp_path), database))))

    assert failed(figures) == set()
    assert figures[0].measured > 0


@pytest.mark.parametrize("can_be_asked", [True, False])
def test_every_code_that_is_wanted_is_sent(place: Place, *, can_be_asked: bool) -> None:
    figures = list(send_codes(place, 20, seed=1, can_be_asked=can_be_asked))

    assert failed(figures) == set()


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("DELETE FROM humanuser_events WHERE command_id LIKE '%remove'", "of them lost"),
        (
            "DELETE FROM humanuser_events WHERE event_type = 'user.human.phone.code.added' AND in_tx_order = 2",
            "commands stored by half",
        ),
        ("DELETE FROM humanuser_events WHERE sequence = 2", "gaps in a history"),
    ],
)
def test_what_is_missing_is_noticed(place: Place, statement: str, what: str) -> None:
    killed(place)
    change(place, statement)

    assert what in failed(judge_commands(place))


def test_a_read_model_that_is_wrong_is_noticed(place: Place) -> None:
    killed(place)
    kills._catch_up(place)  # noqa: SLF001 - then nothing mends it
    change(place, "UPDATE humanuser_user_phone SET verified = NOT verified")

    assert "of them other than a rebuild makes them" in failed(judge_commands(place))


def test_acknowledging_before_it_is_stored_is_noticed(place: Place) -> None:
    def careless(place: Place, application: Application, chance: random.Random) -> None:
        place.acknowledge(f"u{chance.random()}", f"{chance.random()}", 1)
        give_commands(place, application, chance)

    assert "of them lost" in failed(judge_commands(killed(place, careless)))


def test_a_sender_that_makes_a_new_id_or_never_stops_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def send(_: Provider, sms: Sms) -> Accepted:
        for number in range(4):
            kills._append(place.posts, [0.0, f"{sms.message_id}{number}", sms.to.e164, sms.text.split()[0]])  # noqa: SLF001
        return Accepted()

    monkeypatch.setattr(Provider, "send", send)

    found = failed(send_codes(place, 5, seed=1, can_be_asked=True))

    assert found == {"posts of one code", "codes posted under two ids", "codes delivered twice"}


def test_a_code_that_is_lost_or_late_is_noticed(place: Place) -> None:
    killed(place, change_phones)
    place.posts.write_text("")
    ended = next(code for code in kills.codes_of(place) if code.ended_at)
    kills._append(place.posts, [(ended.ended_at or 0) + 60, "id", "+41791234567", ended.characters])  # noqa: SLF001

    found = failed(judge_codes(place, can_be_asked=True))

    assert found == {"codes still wanted and never sent", "codes sent that something had ended"}
