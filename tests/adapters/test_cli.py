"""The command line: answers on stdout, errors on stderr, and an exit code that tells them apart."""

from __future__ import annotations

import re
import sqlite3
from typing import Any
from uuid import UUID

import pytest
import typer

from command_line import Cli, words
from fresh_imports import freshly_imported
from humanuser_adapters.auth import TokenFile
from humanuser_adapters.cli.app import app

NUMBER, MASKED = "+41791234567", "67"
OTHER = "+41791234589"


def commands(group: Any, *path: str) -> list[tuple[str, ...]]:  # click's own type is Typer's secret
    if not hasattr(group, "commands"):
        return [path]
    return [one for name, command in group.commands.items() for one in commands(command, *path, name)]


COMMANDS = commands(typer.main.get_command(app))


def test_there_are_these_commands() -> None:
    assert sorted(" ".join(path) for path in COMMANDS) == sorted(
        [
            "serve",
            "demo",
            "history",
            "show",
            "explain",
            "import",
            "replay",
            "export",
            "verify",
            "rebuild",
            "status",
            "what-if",
            "repair-positions",
            "key add",
            "backup",
            "restore",
            "outbox recheck",
            "user add",
            "token add",
        ]
        + [f"outbox {verb}" for verb in ("list", "retry", "drop")]
        + [f"parked {verb}" for verb in ("list", "retry", "skip")]
        + [f"phone {verb}" for verb in ("set", "show", "verify", "resend", "remove")]
    )


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself(cli: Cli, path: tuple[str, ...]) -> None:
    answer = cli(*path, "--help")

    assert answer.code == 0
    assert f"Example: humanuser {' '.join(path)}" in words(answer.stdout)


@pytest.mark.parametrize("path", [(), ("user",), ("phone",), ("token",), ("outbox",), ("parked",)], ids=" ".join)
def test_a_group_shows_what_it_can_do(cli: Cli, path: tuple[str, ...]) -> None:
    answer = cli(*path, "--help")

    for command in COMMANDS:
        if command[: len(path)] == path:
            assert command[len(path)] in answer.stdout


def test_the_help_explains_the_exit_codes(cli: Cli) -> None:
    assert "Exit codes: 0 done, 1 refused by a rule, 2 wrong usage" in words(cli("--help").stdout)


@pytest.mark.parametrize(
    ("arguments", "events"),
    [((), 1), (("--phone", NUMBER), 2), (("--phone", NUMBER, "--verified"), 2), (("--organization", "acme"), 1)],
)
def test_a_user_is_added(cli: Cli, arguments: tuple[str, ...], events: int) -> None:
    plain = cli.add(*arguments)
    as_json = cli.add(*arguments, "--json", user_id="bob")

    assert (plain.code, as_json.code) == (0, 0)
    assert list(plain.fields) == ["userId", "sequence", "creationDate", "changeDate", "resourceOwner"]
    assert plain.fields["userId"] == "ada"
    assert as_json.json["userId"] == "bob"
    assert as_json.json["sequence"] == events
    assert as_json.json["resourceOwner"] == ("acme" if "acme" in arguments else "default")


def test_a_user_without_a_chosen_id_gets_a_number(cli: Cli) -> None:
    answer = cli("user", "add", "ada", "--first-name", "Ada", "--last-name", "Lovelace", "--json")

    assert answer.json["userId"].isdigit()
    assert cli("phone", "show", answer.json["userId"]).code == 0


def test_a_new_database_and_its_keys_are_for_their_owner_alone(cli: Cli) -> None:
    cli.add()

    for file in cli.home.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file.name


@pytest.mark.parametrize("verified", [False, True])
def test_a_phone_is_set_and_shown(cli: Cli, verified: bool) -> None:
    cli.add("--phone", OTHER, "--verified")

    changed = cli("phone", "set", "ada", NUMBER, *(["--verified"] if verified else []))
    shown = cli("phone", "show", "ada", "--json", "--reveal")

    assert changed.code == 0
    assert changed.fields["sequence"] == "4"
    assert shown.json == {
        "phone": NUMBER,
        "lastVerifiedPhone": NUMBER if verified else OTHER,
        "isPhoneVerified": verified,
        "resourceOwner": "default",
    }


def test_a_command_answers_programs_in_json(cli: Cli) -> None:
    cli.add()

    answers = [
        cli("phone", "set", "ada", NUMBER, "--json"),
        cli("phone", "verify", "ada", cli.codes()[-1], "--json"),
        cli("phone", "remove", "ada", "--json"),
    ]

    for answer in answers:
        assert answer.code == 0
        assert list(answer.json) == ["sequence", "creationDate", "changeDate", "resourceOwner"]
    assert [answer.json["sequence"] for answer in answers] == [3, 4, 5]


def test_a_phone_is_proven_with_its_code(cli: Cli) -> None:
    cli.add("--phone", NUMBER)

    answer = cli("phone", "verify", "ada", cli.codes()[0])

    assert answer.code == 0
    assert cli("phone", "show", "ada").fields["isPhoneVerified"] == "True"


def test_a_wrong_code_is_refused_and_remembered(cli: Cli) -> None:
    cli.add("--phone", NUMBER)
    wrong = "000000" if cli.codes()[0] != "000000" else "111111"

    answer = cli("phone", "verify", "ada", wrong)

    assert (answer.code, answer.stdout) == (1, "")
    assert words(answer.stderr) == "error: Code is invalid"
    assert cli("history", "ada", "--json").json[-1]["type"] == "user.human.phone.verification.failed"


def test_a_new_code_makes_the_old_one_worthless(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANUSER_POLICY", "zitadel")
    cli.add("--phone", NUMBER)

    answers = [cli("phone", "resend", "ada"), cli("phone", "resend", "ada", "--json")]

    assert [answer.code for answer in answers] == [0, 0]
    assert answers[1].json["sequence"] == 4
    first, _, third = cli.codes()
    assert cli("phone", "verify", "ada", first).code == 1
    assert cli("phone", "verify", "ada", third).code == 0


def test_a_phone_is_removed(cli: Cli) -> None:
    cli.add("--phone", NUMBER)

    answer = cli("phone", "remove", "ada")

    assert answer.code == 0
    assert cli("phone", "show", "ada").fields["phone"] == ""


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_numbers_are_masked_unless_they_are_to_be_revealed(cli: Cli, form: tuple[str, ...]) -> None:
    cli.add("--phone", OTHER, "--verified")
    cli("phone", "set", "ada", NUMBER)

    for command in ("history",), ("phone", "show"), ("show",), ("explain",):
        masked = cli(*command, "ada", *form).stdout
        whole = cli(*command, "ada", "--reveal", *form).stdout

        assert NUMBER not in masked
        assert OTHER not in masked
        assert "791234" not in masked
        assert f"*{MASKED}" in masked
        assert NUMBER in whole
        assert OTHER in whole


def test_numbers_show_up_nowhere_unasked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANUSER_POLICY", "zitadel")
    cli.add("--phone", NUMBER)

    for arguments in (
        ("phone", "set", "ada", NUMBER),
        ("phone", "set", "ada", OTHER),
        ("phone", "resend", "ada"),
        ("phone", "set", "nobody", NUMBER),
        ("phone", "set", "ada", f"{NUMBER}x1"),
        ("outbox", "list"),
        ("outbox", "list", "--json"),
        ("rebuild",),
        ("verify",),
    ):
        cli(*arguments)

    assert "791234" not in cli.shown


def test_codes_show_up_nowhere(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANUSER_POLICY", "zitadel")  # letters, so that no other number looks like a code
    cli.add("--phone", NUMBER)
    cli("phone", "resend", "ada")
    first, second = cli.codes()

    for arguments in (
        ("history", "ada", "--reveal"),
        ("history", "ada", "--reveal", "--json"),
        ("outbox", "list"),
        ("outbox", "list", "--json"),
        ("phone", "show", "ada", "--reveal"),
        ("show", "ada", "--reveal"),
        ("explain", "ada", "--reveal"),
        ("explain", "ada", "--reveal", "--json"),
        ("rebuild", "--json"),
        ("phone", "verify", "ada", first),
        ("phone", "verify", "ada", second),
        ("phone", "verify", "ada", second),
        ("history", "ada"),
    ):
        cli(*arguments)

    assert "sealed with key" in cli.shown
    assert first not in cli.shown
    assert second not in cli.shown


def test_the_history_says_all_that_happened(cli: Cli) -> None:
    cli.add()
    cli("phone", "set", "ada", NUMBER)

    told = cli("history", "ada", "--json").json
    table = cli("history", "ada").stdout

    assert [one["sequence"] for one in told] == [1, 2, 3]
    assert [one["type"] for one in told] == [
        "user.human.added",
        "user.human.phone.changed",
        "user.human.phone.code.added",
    ]
    assert told[0]["payload"] == {
        "user_name": "ada",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "display_name": "Ada Lovelace",
    }
    assert {(one["creator"], one["resourceOwner"]) for one in told} == {("cli", "default")}
    assert re.fullmatch(r"sealed with key [0-9a-f]{8}", told[2]["payload"]["code"])
    assert told[2]["payload"]["expiry"] == "600 s"
    assert all(one["type"] in table for one in told)


@pytest.mark.parametrize("text", ["[/red]", "[bold]x", "urn:x:1", "a\\[b]", "\\"])
def test_what_people_chose_is_shown_as_it_is(cli: Cli, text: str) -> None:
    added = cli("user", "add", text, "--first-name", text, "--last-name", "L", "--id", text)
    cli("phone", "set", text, NUMBER)

    assert added.fields["userId"] == text
    assert f"History of user {text}" in words(cli("history", text).stdout)
    assert f"user_name {text}, first_name {text}," in cli("history", text).stdout
    assert f" {text} " in cli("outbox", "list").stdout
    assert f"{text}.none" in cli("history", "nobody", "--database", f"./{text}.none").stderr


def test_the_outbox_lists_what_there_is_to_send(cli: Cli) -> None:
    cli.add("--phone", NUMBER)

    told = cli("outbox", "list", "--json").json
    table = cli("outbox", "list").stdout

    assert len(told) == 1
    assert {name: told[0][name] for name in ("userId", "codeSequence", "state", "attempts", "note")} == {
        "userId": "ada",
        "codeSequence": 2,
        "state": "due",
        "attempts": 0,
        "note": "",
    }
    assert "1 SMS" in table
    assert UUID(told[0]["messageId"]).version == 5
    assert told[0]["messageId"] in table


def test_an_sms_is_dropped_and_sent_again_by_hand(cli: Cli) -> None:
    cli.add("--phone", NUMBER)
    (sms,) = cli("outbox", "list", "--json").json

    dropped = cli("outbox", "drop", sms["messageId"])
    states = [cli("outbox", "list", "--json", "--state", state).json for state in ("dropped", "due")]
    again = cli("outbox", "retry", sms["messageId"], "--json")
    unknown = cli("outbox", "retry", "nothing")

    assert dropped.fields == {"messageId": sms["messageId"], "state": "dropped"}
    assert [len(listed) for listed in states] == [1, 0]
    assert again.json == {"messageId": sms["messageId"], "state": "due"}
    assert (unknown.code, words(unknown.stderr)) == (1, "error: there is no SMS nothing that waits or was given up")


def test_an_event_that_cannot_be_read_is_listed_until_it_can(cli: Cli) -> None:
    cli.add("--phone", NUMBER)
    cli("user", "add", "bob", "--first-name", "Bob", "--last-name", "B", "--id", "bob")
    with sqlite3.connect(cli.database) as connection:
        connection.execute("UPDATE humanuser_events SET payload = '{' WHERE position = 2")
    connection.close()
    cli("rebuild")

    (listed,) = cli("parked", "list", "--json").json
    table = cli("parked", "list").stdout
    stuck = cli("parked", "retry", "users", "--json").json
    with sqlite3.connect(cli.database) as connection:
        connection.execute("UPDATE humanuser_events SET payload = '{}' WHERE position = 2")
    connection.close()
    mended = cli("parked", "retry", "users")

    assert (listed["subscription"], listed["position"], listed["userId"]) == ("users", 2, "ada")
    assert "Invalid JSON" in listed["reason"]
    assert "Invalid JSON" in table
    assert stuck == {"events": 0, "still": 1}
    assert mended.fields == {"events": "1", "still": "0"}
    assert cli("parked", "list", "--json").json == []


def test_an_event_that_is_to_come_is_skipped(cli: Cli) -> None:
    cli.add("--phone", NUMBER)

    skipped = cli("parked", "skip", "users", "1", "--json")
    past = cli("parked", "skip", "users", "99")
    nobody = cli("parked", "skip", "people", "1")

    assert skipped.json == {"subscription": "users", "position": 1}
    assert (past.code, words(past.stderr)) == (1, "error: users has no event to take in at position 99")
    assert (nobody.code, words(nobody.stderr)) == (
        2,
        "error: there is no subscription people; there are: users, notifications",
    )


def test_the_status_tells_how_far_things_are(cli: Cli) -> None:
    cli.add("--phone", NUMBER)

    told = cli("status", "--json").json
    plain = cli("status").stdout

    users, notifications = told["subscriptions"]
    assert (told["head"], told["sms"]) == (2, {"due": 1})
    assert (users["name"], users["position"], users["behind"], users["parked"]) == ("users", 0, 2, 0)
    assert users["oldest"] != ""
    assert (notifications["name"], notifications["behind"], notifications["oldest"]) == ("notifications", 0, "")
    assert "SMS: 1 due" in plain


def test_a_rebuild_makes_the_read_models_anew(cli: Cli) -> None:
    cli.add("--phone", NUMBER)
    cli("rebuild")
    with sqlite3.connect(cli.database) as connection:
        connection.execute("UPDATE humanuser_user_phone SET phone = NULL")
    connection.close()
    damaged = cli("phone", "show", "ada", "--reveal").fields["phone"]

    plain, as_json = cli("rebuild"), cli("rebuild", "--json")

    assert (plain.code, plain.fields, as_json.json) == (0, {"events": "2"}, {"events": 2})
    assert damaged == ""
    assert cli("phone", "show", "ada", "--reveal").fields["phone"] == NUMBER


def test_a_token_is_made_and_shown_once(cli: Cli) -> None:
    path = cli.home / "tokens.toml"
    options = ("token", "add", "--user", "admin", "--organization", "acme", "--file", str(path))

    plain = cli(*options, "--role", "ORG_OWNER")
    as_json = cli(*options, "--json")

    assert (plain.code, as_json.code) == (0, 0)
    assert plain.fields["token"] not in path.read_text()
    tokens = TokenFile(path)
    for token, permissions in (plain.fields["token"], {"user.read", "user.write"}), (as_json.json["token"], set()):
        caller = tokens.authenticate(token)
        assert caller
        assert (caller.user_id, caller.organization) == ("admin", "acme")
        assert (caller.permissions_in("acme") or set()) == permissions


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--role", "KING", "--file", "tokens.toml"), "there is no role 'KING'"),
        ((), "name the token file with --file"),
        (("--organization", "*", "--file", "tokens.toml"), "an id has 1 to 200 characters"),
        (("--file", "missing/tokens.toml"), "No such file"),
    ],
)
def test_a_token_that_cannot_be_made_is_an_error_of_usage(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    answer = cli("token", "add", "--user", "admin", *arguments)

    assert (answer.code, answer.stdout) == (2, "")
    assert message in words(answer.stderr)
    assert not (cli.home / "tokens.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("history", "nobody"), "User could not be found"),
        (("phone", "show", "nobody"), "User could not be found"),
        (("show", "nobody"), "User could not be found"),
        (("explain", "nobody"), "User could not be found"),
        (("phone", "set", "nobody", NUMBER), "User could not be found"),
        (("phone", "set", "ada", "0791234567"), "Phone is invalid: it must start with + and the country code"),
        (("phone", "set", "ada", "+4912"), "Phone is invalid: no number of its country has this length"),
        (("phone", "set", "ada", ""), "Phone is empty"),
        (("phone", "set", "ada", OTHER), "Phone not changed"),
        (("phone", "resend", "ada"), "A code was just asked for, wait before asking for another"),
        (("phone", "verify", "ada", ""), "Code is empty"),
        (("phone", "verify", "", "123456"), "User ID missing"),
        (("phone", "remove", "nobody"), "User could not be found"),
    ],
)
def test_a_refusal_is_told_on_stderr_and_exits_1(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    cli.add("--phone", OTHER)

    for form in (), ("--json",):
        answer = cli(*arguments, *form)

        assert (answer.code, answer.stdout, words(answer.stderr)) == (1, "", f"error: {message}")


def test_a_user_is_added_once(cli: Cli) -> None:
    cli.add()

    answer = cli.add()

    assert (answer.code, words(answer.stderr)) == (1, "error: User already exists")


@pytest.mark.parametrize("bad", ["a\nb", "\x1b[2J", "\x7f", "x" * 201, "\u202e"])
def test_ids_and_names_that_hide_something_are_refused_and_not_echoed(cli: Cli, bad: str) -> None:
    cli.add()

    answers = [
        cli.add(user_id=bad),
        cli.add("--organization", bad, user_id="bob"),
        cli("user", "add", bad, "--first-name", "Ada", "--last-name", "Lovelace"),
        cli("user", "add", "ada", "--first-name", bad, "--last-name", "Lovelace"),
        cli("phone", "set", bad, NUMBER),
        cli("phone", "verify", bad, "123456"),
        cli("phone", "resend", bad),
        cli("phone", "remove", bad),
        cli("phone", "show", bad),
        cli("history", bad),
        cli("show", bad),
        cli("explain", bad),
    ]

    assert [answer.code for answer in answers] == [1] * len(answers)
    assert not any(bad in answer.stderr + answer.stdout for answer in answers)


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("phone", "set", "ada"),
        ("user", "add", "ada"),
        ("history", "ada", "--colour"),
        ("serve", "--sms", "pigeon", "--development"),
        ("serve", "--port", "65536", "--development"),
        ("serve", "--port", "http", "--development"),
        ("serve", "--host", "", "--port", "70000"),
        ("serve", "--port", "0"),
        ("serve", "--port", "0", "--token-file", "missing.toml"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2(cli: Cli, arguments: tuple[str, ...]) -> None:
    answer = cli(*arguments)

    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr


def test_a_server_that_nobody_could_call_does_not_start(cli: Cli) -> None:
    answer = cli("serve", "--port", "0")

    assert answer.code == 2
    assert "nobody could call: name a --token-file, or start with --development" in words(answer.stderr)


def test_a_server_with_a_broken_token_file_does_not_start(cli: Cli) -> None:
    (cli.home / "tokens.toml").write_text("[[token]]\nsecret = 'hidden'")

    answer = cli("serve", "--port", "0", "--token-file", "tokens.toml")

    assert answer.code == 2
    assert "tokens.toml: token.0.sha256: Field required" in words(answer.stderr)
    assert "hidden" not in answer.stderr


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "http", "HUMANUSER_PORT: Input should be a valid integer"),
        ("SMS_LEASE_SECONDS", "inf", "HUMANUSER_SMS_LEASE_SECONDS: Input should be less than or equal to 3600"),
        ("POLICY", "missing.json", "No such file"),
        ("POLICY", "policy.json", "code.length: Input should be greater than or equal to 4"),
        ("INSTANCE_ID", "a\x1b", "instance id"),
        ("CODE_KEYS", "c2VjcmV0c2VjcmV0", "a key must be written as id:base64"),
        ("CODE_KEYS", "", "there is no key"),
        ("SMS", "twilio", "twilio needs twilio_account_sid, twilio_auth_token, twilio_from"),
        ("SMS_FALLBACK", "console", "sms_fallback needs another sms before it"),
    ],
)
def test_a_wrong_setting_exits_2(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    cli.add()
    (cli.home / "policy.json").write_text('{"code": {"length": 2}}')

    monkeypatch.setenv(f"HUMANUSER_{name}", value)
    answer = cli("history", "ada")

    assert (answer.code, answer.stdout) == (2, "")
    assert message in words(answer.stderr)
    assert "c2VjcmV0" not in answer.stderr
    assert "errors.pydantic.dev" not in answer.stderr


def test_a_wrong_setting_is_called_what_it_was_given_as(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    option = cli("serve", "--port", "99999")
    monkeypatch.setenv("HUMANUSER_PORT", "99999")
    variable = cli("serve")

    assert (option.code, variable.code) == (2, 2)
    assert words(option.stderr).startswith("error: --port: Input should be")
    assert words(variable.stderr).startswith("error: HUMANUSER_PORT: Input should be")


def test_a_misspelt_setting_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANUSER_DATABSE", "x.sqlite")

    answer = cli.add()

    assert answer.code == 0
    assert words(answer.stderr) == "warning: there is no setting HUMANUSER_DATABSE, which the environment has"


MAKING = ("serve", "demo", "user", "token", "key", "import", "replay", "restore")


@pytest.mark.parametrize("command", [path for path in COMMANDS if path[0] not in MAKING])
def test_a_database_that_is_not_there_exits_3_and_is_not_made(cli: Cli, command: tuple[str, ...]) -> None:
    arguments = {
        ("phone", "set"): ("ada", NUMBER),
        ("phone", "verify"): ("ada", "123456"),
        ("parked", "skip"): ("users", "1"),
        ("export",): ("-",),
        ("what-if",): ("--policy", "zitadel"),
        **dict.fromkeys(
            [
                ("rebuild",),
                ("verify",),
                ("status",),
                ("repair-positions",),
                ("outbox", "list"),
                ("parked", "list"),
                ("outbox", "recheck"),
            ],
            (),
        ),
    }

    answer = cli(*command, *arguments.get(command, ("ada",)))

    assert (answer.code, answer.stdout) == (3, "")
    assert words(answer.stderr) == "error: there is no database humanuser.sqlite; name one with --database"
    assert list(cli.home.iterdir()) == []


def test_a_file_that_is_no_database_exits_3_and_is_left_alone(cli: Cli) -> None:
    cli.database.write_text("a letter, and not a database" * 100)

    answers = [cli("history", "ada"), cli.add(), cli("serve", "--port", "0", "--development")]

    assert [(answer.code, answer.stdout) for answer in answers] == [(3, "")] * 3
    assert all("file is not a database" in words(answer.stderr) for answer in answers)
    assert cli.database.read_text() == "a letter, and not a database" * 100


def test_a_folder_that_cannot_be_written_exits_3(cli: Cli) -> None:
    (cli.home / "file").touch()

    for path in ("missing/x.sqlite", "file/x.sqlite", "."):
        answer = cli.add("--database", str(cli.home / path))

        assert (answer.code, answer.stdout) == (3, "")
        assert answer.stderr.startswith("error: ")


def test_a_code_whose_key_is_lost_exits_3(cli: Cli) -> None:
    cli.add("--phone", NUMBER)
    (cli.home / "humanuser.sqlite.keys").unlink()

    answer = cli("phone", "verify", "ada", "123456")

    assert answer.code == 3
    assert "the key file humanuser.sqlite.keys is missing" in words(answer.stderr)


def test_the_database_is_chosen_by_argument_or_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.add("--database", "one.sqlite")

    monkeypatch.setenv("HUMANUSER_DATABASE", "one.sqlite")

    assert cli("history", "ada").code == 0
    assert cli("history", "ada", "--database", "two.sqlite").code == 3


def test_users_of_another_instance_are_not_there(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.add("--phone", NUMBER)

    monkeypatch.setenv("HUMANUSER_INSTANCE_ID", "other")

    assert cli("history", "ada").code == 1
    assert cli("phone", "show", "ada").code == 1
    assert cli("outbox", "list", "--json").json == []


@pytest.mark.parametrize("payload", ['{"a": "+41791234567"}', "{not JSON", None])
def test_an_event_without_a_word_for_it_is_shown_and_its_payload_is_hidden(cli: Cli, payload: str | None) -> None:
    cli.add()
    connection = sqlite3.connect(cli.database)
    with connection:
        connection.execute(
            "UPDATE humanuser_events SET event_type = 'user.human.avatar.added', payload = ?", (payload,)
        )
    connection.close()

    hidden = cli("history", "ada")
    revealed = cli("history", "ada", "--reveal")

    assert (hidden.code, revealed.code) == (0, 0)
    assert "user.human.avatar.added" in hidden.stdout
    assert f"{len(payload or '')} bytes, hidden" in hidden.stdout
    assert (payload or "") in revealed.stdout
    assert "+4179" not in hidden.stdout


def test_who_serves_nothing_waits_for_no_server_to_be_imported() -> None:
    modules = freshly_imported("import humanuser_adapters.cli.app").modules

    assert {"grpc", "google.protobuf", "prometheus_client", "psycopg", "starlette", "uvicorn"} & modules == set()
