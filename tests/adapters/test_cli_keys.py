"""The key file: made once, never replaced beside existing events, and rotated by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Cli, words
from humanuser_adapters.vault import Keys

NUMBER = "+41791234567"


@pytest.fixture
def key_file(cli: Cli) -> Path:
    """The key file of a database with a pending code."""
    cli.add("--phone", NUMBER)
    return cli.home / "humanuser.sqlite.keys"


def test_a_lost_key_file_is_not_replaced_where_a_server_starts(cli: Cli, key_file: Path) -> None:
    key_file.unlink()

    answer = cli("serve", "--port", "0", "--development")

    assert (answer.code, answer.stdout) == (3, "")
    assert "the key file humanuser.sqlite.keys is missing, but the database holds events" in words(answer.stderr)
    assert "humanuser key add" in words(answer.stderr)
    assert not key_file.exists()


@pytest.mark.parametrize(
    "command",
    [("phone", "set", "ada", "+41791234568"), ("phone", "resend", "ada"), ("phone", "verify", "ada", "123456")],
)
def test_a_command_with_a_code_needs_the_lost_key_and_stores_nothing(
    cli: Cli, key_file: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("HUMANUSER_POLICY", "zitadel")
    key_file.unlink()
    before = cli("history", "ada", "--json").json

    answer = cli(*command)

    assert answer.code == 3
    assert "key file humanuser.sqlite.keys is missing" in words(answer.stderr)
    assert cli("history", "ada", "--json").json == before
    assert not key_file.exists()


@pytest.mark.parametrize("command", [("status",), ("history", "ada"), ("verify",), ("export", "-"), ("outbox", "list")])
def test_a_command_without_codes_works_without_the_key(cli: Cli, key_file: Path, command: tuple[str, ...]) -> None:
    key_file.unlink()

    assert cli(*command).code == 0
    assert not key_file.exists()


def test_a_lost_key_file_is_not_replaced_on_postgresql_either(
    cli: Cli, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUMANUSER_DATABASE", postgresql_url)
    monkeypatch.setenv("HUMANUSER_CODE_KEY_FILE", "secret.keys")
    assert cli.add("--phone", NUMBER).code == 0
    (cli.home / "secret.keys").rename(cli.home / "elsewhere")

    answer = cli("serve", "--port", "0", "--development")

    assert answer.code == 3
    assert "the key file secret.keys is missing" in words(answer.stderr)
    assert not (cli.home / "secret.keys").exists()
    (cli.home / "elsewhere").rename(cli.home / "secret.keys")
    assert cli("phone", "verify", "ada", "123456").code == 1


def test_a_new_key_is_made_on_demand_and_pending_codes_are_refused(cli: Cli, key_file: Path) -> None:
    (old_code,) = cli.codes()
    key_file.unlink()

    added = cli("key", "add", "--json")
    answer = cli("phone", "verify", "ada", old_code)

    assert added.json["key"] == Keys.of_file(key_file).current
    assert answer.code == 3
    assert "there is no key" in words(answer.stderr)


def test_a_key_is_added_in_front_and_older_ones_still_decrypt(cli: Cli, key_file: Path) -> None:
    (code,) = cli.codes()
    old = Keys.of_file(key_file)

    added = cli("key", "add")

    new = Keys.of_file(key_file)
    assert added.fields["key"] == new.current != old.current
    assert {**new.by_id} == {**old.by_id, new.current: new.by_id[new.current]}
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert cli("phone", "verify", "ada", code).code == 0
    assert sorted(file.name for file in cli.home.iterdir()) == ["humanuser.sqlite", "humanuser.sqlite.keys"]


def test_keys_of_the_environment_are_not_changed_in_a_file(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANUSER_CODE_KEYS", "key1:" + "A" * 43 + "=")

    answer = cli("key", "add")

    assert answer.code == 2
    assert list(cli.home.iterdir()) == []


def test_on_postgresql_a_key_file_must_be_named(cli: Cli) -> None:
    assert cli("key", "add", "--database", "postgresql://localhost/x").code == 2
    assert cli("key", "add", "--database", "postgresql://localhost/x", "--file", "new.keys").code == 0
    assert Keys.of_file(cli.home / "new.keys", make=False).current


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"key1:AAAA\n", b"\xff\xfe\x00", bytes(range(128, 192)), b"key1:AAAAAAAAAAAA"]
)
@pytest.mark.parametrize("command", [("status",), ("serve", "--port", "0", "--development"), ("key", "add")])
def test_a_damaged_key_file_is_named_and_left_alone(
    cli: Cli, key_file: Path, content: bytes, command: tuple[str, ...]
) -> None:
    key_file.write_bytes(content)

    answer = cli(*command)

    if command == ("key", "add") and not content.strip():
        assert answer.code == 0
        return
    assert answer.code == 2
    assert "the key file humanuser.sqlite.keys is not usable" in words(answer.stderr)
    assert key_file.read_bytes() == content


def test_a_key_file_that_is_a_folder_cannot_be_used(cli: Cli, key_file: Path) -> None:
    key_file.unlink()
    key_file.mkdir()

    assert cli("status").code == 3


def test_files_that_everybody_can_read_are_warned_of(cli: Cli, key_file: Path) -> None:
    assert "can read" not in cli("status").stderr
    (cli.home / "tokens.toml").write_text("[[token]]\n")
    (cli.home / "tokens.toml").chmod(0o644)
    key_file.chmod(0o644)
    cli.database.chmod(0o664)

    shown = words(cli("serve", "--token-file", "tokens.toml", "--port", "0").stderr)
    both = words(cli("status").stderr)

    assert "every user of this machine can read tokens.toml" in shown
    for name in ("humanuser.sqlite", "humanuser.sqlite.keys"):
        assert f"every user of this machine can read {name};" in both
