"""``humanuser what-if`` replays every history against another policy, and says what that would have refused."""

from __future__ import annotations

import sqlite3
import struct
import sys
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest

from command_line import Cli, words
from humanuser import Recorded
from humanuser_adapters import application
from humanuser_adapters.application import Application

SWISS, GERMAN = "+41791234567", "+4915123456789"
SWISS_ONLY = '{"phone": {"allowed_countries": [41]}}'


@pytest.fixture
def store(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A store with a user who is all right, and two with German numbers, of whom one has proven it."""
    monkeypatch.setenv("HUMANUSER_POLICY", "zitadel")
    cli.add("--phone", SWISS, user_id="ada")
    cli.add("--phone", GERMAN, user_id="bob")
    cli.add(user_id="cyd")
    cli("phone", "set", "cyd", GERMAN)
    cli("phone", "verify", "cyd", cli.codes("cyd")[0])
    (cli.home / "swiss.json").write_text(SWISS_ONLY)
    return cli


def damage(store: Cli, user_id: str) -> None:
    connection = sqlite3.connect(store.database)
    with connection:
        connection.execute("UPDATE humanuser_events SET payload = '{' WHERE aggregate_id = ?", (user_id,))
    connection.close()


def test_programs_are_told_what_a_policy_would_have_refused(store: Cli) -> None:
    told = store("what-if", "--policy", "swiss.json", "--json").json

    begins, *_ = told["timeline"]["begins"]
    assert {name: told[name] for name in ("partial", "users", "usersRefused", "usersUnreadable")} == {
        "partial": False,
        "users": 3,
        "usersRefused": 2,
        "usersUnreadable": 0,
    }
    assert told["commands"] == {
        "add user": {"given": 3, "refused": 1, "following": 0},
        "change phone": {"given": 1, "refused": 1, "following": 0},
        "verify phone": {"given": 1, "refused": 0, "following": 1},
    }
    assert told["refusals"] == {"PhoneCountryRefused": 2}
    assert told["timeline"]["spanSeconds"] == 3600
    assert sum(told["timeline"]["refusals"]["PhoneCountryRefused"]) == 2
    assert begins.endswith("+00:00")
    assert [(one["userId"], one["sequence"], one["command"], one["refusal"]) for one in told["examples"]] == [
        ("bob", 1, "add user", "PhoneCountryRefused"),
        ("cyd", 2, "change phone", "PhoneCountryRefused"),
    ]


def test_people_are_told_it_in_words(store: Cli) -> None:
    told = store("what-if", "--policy", "swiss.json")

    assert (told.code, told.stderr) == (0, "")
    assert "2 of 5 commands would have been refused, to 2 of 3 users; 1 more follow from these" in words(told.stdout)
    assert "Phone is invalid: its country is not served" in told.stdout
    assert "each bar an hour, the highest" in told.stdout
    assert "PhoneCountryRefused  █" in told.stdout
    assert "The first 2" in told.stdout


def test_a_policy_that_refuses_nothing_is_told_as_such(store: Cli) -> None:
    told = store("what-if", "--policy", "zitadel")

    assert told.code == 0
    assert "0 of 5 commands would have been refused" in words(told.stdout)
    assert "The first" not in told.stdout


def test_without_users_there_is_nothing_to_tell(store: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANUSER_INSTANCE_ID", "other")

    told = store("what-if", "--policy", "swiss.json", "--picture", "nothing.svg")

    assert words(told.stdout) == "0 of 0 commands would have been refused, to 0 of 0 users; 0 more follow from these"
    assert (store.home / "nothing.svg").exists()


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_numbers_of_examples_are_masked_unless_they_are_to_be_revealed(store: Cli, form: tuple[str, ...]) -> None:
    masked = store("what-if", "--policy", "swiss.json", *form).stdout
    whole = store("what-if", "--policy", "swiss.json", "--reveal", *form).stdout

    assert "151234" not in masked
    assert "*89" in masked
    assert GERMAN in whole


def test_users_are_read_page_by_page(store: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "PAGE", 2)

    assert store("what-if", "--policy", "swiss.json", "--json").json["users"] == 3


def test_nothing_is_stored(store: Cli) -> None:
    before = [store("history", user_id, "--json").stdout for user_id in ("ada", "bob", "cyd")]

    store("what-if", "--policy", "swiss.json")

    assert [store("history", user_id, "--json").stdout for user_id in ("ada", "bob", "cyd")] == before


@pytest.mark.parametrize(
    ("period", "given"),
    [
        (("--from", "2020-01-01"), 5),
        (("--from", "2999-12-31T23:59:59"), 0),
        (("--from", "2999-12-31T23:59Z"), 0),
        (("--from", "2020-01-01T00:00:00.5+02:00"), 5),
        (("--to", "2020-01-01T00:00:00Z"), 0),
        (("--from", "2020-01-01", "--to", "2999-12-31T00:00:00+0200"), 5),
    ],
)
def test_the_policy_is_in_force_for_a_time(store: Cli, period: tuple[str, ...], given: int) -> None:
    told = store("what-if", "--policy", "swiss.json", *period, "--json").json

    assert sum(counts["given"] for counts in told["commands"].values()) == given


def test_a_user_whose_events_cannot_be_read_is_left_out_and_told(store: Cli) -> None:
    damage(store, "bob")

    told = store("what-if", "--policy", "swiss.json", "--json").json
    plain = store("what-if", "--policy", "swiss.json").stdout

    assert (told["users"], told["usersRefused"], told["usersUnreadable"], told["partial"]) == (2, 1, 1, False)
    assert "Left out: 1 users with events that cannot be read" in plain


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_who_stops_it_is_told_what_was_found_so_far(
    store: Cli, monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]
) -> None:
    history = Application.history

    def interrupted(application: Application, user_id: str) -> Sequence[Recorded]:
        if user_id == "cyd":
            raise KeyboardInterrupt
        return history(application, user_id)

    monkeypatch.setattr(Application, "history", interrupted)
    told = store("what-if", "--policy", "swiss.json", "--picture", "partial.svg", *form)

    assert told.code == 130
    assert "(partial)" in (store.home / "partial.svg").read_text()
    if form:
        assert (told.json["partial"], told.json["users"], told.json["usersRefused"]) == (True, 2, 1)
    else:
        assert words(told.stdout).startswith("Partial: it was stopped before all users were looked at. 1 of 2 commands")


def test_a_picture_is_drawn_as_svg(store: Cli) -> None:
    told = store("what-if", "--policy", "swiss.json", "--picture", "refused.svg")

    drawn = ElementTree.fromstring((store.home / "refused.svg").read_text())  # noqa: S314 - it is ours
    texts = ["".join(one.itertext()).strip() for one in drawn.iter()]
    assert told.code == 0
    assert "What the policy swiss would have refused" in texts
    assert "2 of 5 commands would have been refused, to 2 of 3 users; 1 more follow from these" in texts
    assert "Phone is invalid: its country is not served (2)" in texts
    assert "refused in an hour" in texts


def test_the_same_findings_are_the_same_picture(store: Cli) -> None:
    for name in ("one.svg", "two.svg"):
        store("what-if", "--policy", "swiss.json", "--picture", name)

    assert (store.home / "one.svg").read_bytes() == (store.home / "two.svg").read_bytes()


def test_a_picture_is_drawn_as_png(store: Cli) -> None:
    store("what-if", "--policy", "swiss.json", "--picture", "refused.PNG")

    begin = (store.home / "refused.PNG").read_bytes()[:24]
    assert begin[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", begin[16:]) == (1500, 840)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing option '--policy'"),
        (("--policy", "missing.json"), "No such file"),
        (("--policy", "broken.json"), "code.length: Input should be greater than or equal to 4"),
        (("--policy", "zitadel", "--from", "yesterday"), "is no day or time"),
        (("--policy", "zitadel", "--from", "2026-05-02", "--to", "2026-05-02"), "--from must be before --to"),
        (("--policy", "zitadel", "--picture", "out.pdf"), "the picture must end with .png or .svg"),
        (("--policy", "zitadel", "--picture", "out"), "the picture must end with .png or .svg"),
        (("--policy", "zitadel", "--picture", "missing/out.svg"), "there is no folder missing for the picture"),
    ],
)
def test_wrong_usage_exits_2_before_anything_is_read(store: Cli, arguments: tuple[str, ...], message: str) -> None:
    (store.home / "broken.json").write_text('{"code": {"length": 2}}')

    told = store("what-if", *arguments)

    assert (told.code, told.stdout) == (2, "")
    assert message in words(told.stderr)


def test_who_has_no_matplotlib_is_told_how_to_get_it(store: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    picture = store("what-if", "--policy", "swiss.json", "--picture", "out.svg")
    words_alone = store("what-if", "--policy", "swiss.json")

    assert (picture.code, picture.stdout) == (2, "")
    assert words(picture.stderr) == "error: to draw a picture needs: pip install 'humanuser[pictures]'"
    assert words_alone.code == 0
