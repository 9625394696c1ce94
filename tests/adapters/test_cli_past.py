"""The command line tells of any moment: ``humanuser show`` and ``humanuser explain``."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import pytest

from command_line import Cli, words

OLD, NEW = "+41791234567", "+41791234589"
TIMES = {
    1: "2026-05-10T12:00:00.250000Z",
    2: "2026-05-10T12:00:00.250000Z",
    3: "2026-05-11T08:30:00.000000Z",
    4: "2026-05-11T08:30:00.000000Z",
    5: "2026-05-11T08:35:00.500000Z",
    6: "2026-05-12T09:00:00.000000Z",
}


@pytest.fixture
def cli(cli: Cli) -> Cli:
    """Ada came with a proven number, got another one, gave a wrong code and was given up."""
    cli.add("--phone", OLD, "--verified")
    cli("phone", "set", "ada", NEW)
    cli("phone", "verify", "ada", "wrong!")
    cli("phone", "remove", "ada")
    happened_at(cli, TIMES)
    return cli


def happened_at(cli: Cli, times: Mapping[int, str]) -> None:
    """Have the events of these sequences have happened at other times."""
    with sqlite3.connect(cli.database) as connection:
        connection.executemany(
            "UPDATE humanuser_events SET created_at = ? WHERE sequence = ?",
            [(time, sequence) for sequence, time in times.items()],
        )
    connection.close()


def test_a_user_is_shown_as_of_now(cli: Cli) -> None:
    answer = cli("show", "ada", "--json")

    assert answer.code == 0
    assert answer.json == {
        "userId": "ada",
        "state": "active",
        "asOfSequence": 6,
        "sequence": 6,
        "creationDate": "2026-05-10T12:00:00.250000+00:00",
        "changeDate": "2026-05-12T09:00:00+00:00",
        "resourceOwner": "default",
        "phone": "",
        "isPhoneVerified": False,
        "lastVerifiedPhone": "",
        "isCodePending": False,
        "codeExpiresAt": "",
        "codeFailures": 0,
    }
    assert cli("show", "ada").fields == {name: str(value) for name, value in answer.json.items()}


def test_a_user_is_shown_as_of_a_sequence(cli: Cli) -> None:
    shown = cli("show", "ada", "--sequence", "5", "--json", "--reveal").json

    assert (shown["asOfSequence"], shown["sequence"]) == (5, 3)  # events about codes do not show in details
    assert (shown["phone"], shown["isPhoneVerified"], shown["lastVerifiedPhone"]) == (NEW, False, OLD)
    assert (shown["isCodePending"], shown["codeExpiresAt"], shown["codeFailures"]) == (
        True,
        "2026-05-11T08:40:00+00:00",
        1,
    )


@pytest.mark.parametrize(
    ("at", "sequence"),
    [
        ("2026-05-10", 2),
        ("20260510", 2),
        ("2026-05-10T12:00Z", 2),
        ("2026-05-10 12:00:00", 2),
        ("2026-05-11T08:29:59.999999", 2),
        ("2026-05-11T08:30", 4),
        ("2026-05-11T10:30+02:00", 4),
        ("2026-05-11T10:29:59+02:00", 2),
        ("2026-05-11T08:35:00.499999", 4),
        ("2026-05-11T08:35:00.500000", 5),
        ("2026-05-11T08:35:00", 5),
        ("2026-05-11", 5),
        ("2026-05-12", 6),
        ("9999-12-31", 6),
    ],
)
def test_a_day_or_a_time_says_when(cli: Cli, at: str, sequence: int) -> None:
    shown = cli("show", "ada", "--at", at, "--json")
    told = cli("explain", "ada", "--at", at, "--json")

    assert (shown.code, told.code) == (0, 0)
    assert shown.json["asOfSequence"] == sequence
    assert [step["sequence"] for step in told.json["steps"]] == list(range(1, sequence + 1))


@pytest.mark.parametrize("command", ["show", "explain"])
@pytest.mark.parametrize("at", ["", "yesterday", "12:00", "2026-02-30", "2026-05-10T25:00", "\x1b[2J"])
def test_what_is_no_moment_is_an_error_of_usage(cli: Cli, command: str, at: str) -> None:
    answer = cli(command, "ada", "--at", at)

    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr == f"error: --at {at!r} is no day or time, such as 2026-05-10 or 2026-05-10T12:00Z\n"


def test_one_moment_is_enough(cli: Cli) -> None:
    answer = cli("show", "ada", "--at", "2026-05-10", "--sequence", "1")

    assert (answer.code, answer.stdout) == (2, "")
    assert words(answer.stderr) == "error: --at and --sequence are two ways to say when: give one of them"
    assert cli("show", "ada", "--sequence", "0").code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "nobody"), "User could not be found"),
        (("show", "nobody", "--sequence", "3"), "User could not be found as of sequence 3"),
        (("show", "ada", "--at", "2026-05-09"), "User could not be found as of 2026-05-09T23:59:59+00:00"),
        (("explain", "nobody"), "User could not be found"),
        (
            ("explain", "ada", "--at", "2026-05-10T13:59+02:00"),
            "User could not be found as of 2026-05-10T13:59:00+02:00",
        ),
    ],
)
def test_there_is_no_such_user_then(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    answer = cli(*arguments)

    assert (answer.code, answer.stdout, words(answer.stderr)) == (1, "", f"error: {message}")


def test_a_history_is_explained_for_people(cli: Cli) -> None:
    answer = cli("explain", "ada", "--at", "2026-05-11T08:36Z")

    assert answer.code == 0
    assert "What happened to user ada" in answer.stdout
    assert "2026-05-11 08:35:00" in answer.stdout
    assert "failure 1 of 5 with the code of step 4" in words(answer.stdout)
    assert answer.stdout.endswith(
        "**********89 is not verified: the code of step 4 is pending until 2026-05-11 08:40:00 UTC; "
        "its SMS was not sent yet; failed attempts: 1 of 5; "
        "the last proven number **********67 stays in use until the new one is proven\n"
    )


def test_a_history_is_explained_for_programs(cli: Cli) -> None:
    worthless = "the code of step 4 proves nothing any more"

    told = cli("explain", "ada", "--json", "--reveal").json

    assert told["steps"][5] == {
        "sequence": 6,
        "createdAt": "2026-05-12T09:00:00+00:00",
        "creator": "cli",
        "words": f"removed {NEW}; the last proven number {OLD} is gone, too; {worthless}",
    }
    assert (told["phone"], told["isPhoneVerified"]) == ("", False)
    assert told["conclusion"] == "there is no phone: cli removed it at 2026-05-12 09:00:00 UTC"


def test_a_code_has_expired_by_the_moment_that_is_asked_about(cli: Cli) -> None:
    told = cli("explain", "ada", "--at", "2026-05-11T08:50Z", "--json", "--reveal").json

    assert told["phone"] == NEW
    assert "the code of step 4 expired at 2026-05-11 08:40:00 UTC, 10 minutes before" in told["conclusion"]


def test_without_a_moment_a_code_has_expired_by_now(cli: Cli) -> None:
    cli("phone", "set", "ada", OLD)

    assert "the code of step 8 is pending until" in cli("explain", "ada", "--json").json["conclusion"]
    happened_at(cli, {8: "2020-05-13T00:00:00.000000Z"})
    assert "the code of step 8 expired at 2020-05-13" in cli("explain", "ada", "--json").json["conclusion"]


def test_failures_are_counted_as_the_policy_limits_them(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANUSER_POLICY", "zitadel")

    assert "failure 1 with the code of step 4" in cli("explain", "ada", "--json").stdout
