"""Who may do what where, and the tokens that say who calls."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from humanuser import EVERY_ORGANIZATION, Caller
from humanuser_adapters.auth import (
    ROLES,
    DevelopmentToken,
    TokenFile,
    add_to_token_file,
    new_token,
    permissions_of,
)
from humanuser_adapters.auth.tokens import digest

READ = frozenset({"user.read"})
READ_AND_WRITE = frozenset({"user.read", "user.write"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


def add(path: Path, *, user: str = "ada", organization: str = "acme", roles: tuple[str, ...] = ()) -> str:
    """A new token that is in the file."""
    token = new_token()
    add_to_token_file(path, token, user=user, organization=organization, roles=roles)
    return token


@pytest.mark.parametrize(
    ("role", "permissions"),
    [
        ("ORG_OWNER", READ_AND_WRITE),
        ("ORG_USER_MANAGER", READ_AND_WRITE),
        ("ORG_OWNER_VIEWER", READ),
        ("ORG_USER_SELF_MANAGER", frozenset()),
        ("PROJECT_OWNER", READ),
    ],
)
def test_a_role_of_an_organization_holds_there_alone(role: str, permissions: frozenset[str]) -> None:
    caller = Caller("ada", "acme", permissions_of([role], "acme"))

    assert caller.permissions_in("acme") == permissions
    assert caller.permissions_in("other") is None


@pytest.mark.parametrize(
    ("role", "permissions"),
    [("IAM_OWNER", READ_AND_WRITE), ("IAM_USER_MANAGER", READ_AND_WRITE), ("IAM_OWNER_VIEWER", READ)],
)
def test_a_role_of_the_instance_holds_in_every_organization(role: str, permissions: frozenset[str]) -> None:
    caller = Caller("ada", "acme", permissions_of([role], "acme"))

    assert caller.permissions_in("acme") == permissions
    assert caller.permissions_in("other") == permissions


def test_roles_add_up() -> None:
    caller = Caller("ada", "acme", permissions_of(["ORG_OWNER", "ORG_OWNER_VIEWER", "IAM_OWNER_VIEWER"], "acme"))

    assert caller.permissions_in("acme") == READ_AND_WRITE
    assert caller.permissions_in("other") == READ


def test_every_role_grants_nothing_but_permissions_there_are() -> None:
    assert {permission for permissions in ROLES.values() for permission in permissions} == READ_AND_WRITE


@pytest.mark.parametrize("role", ["org_owner", "IAM_EVERYTHING", "", "*"])
def test_a_role_that_nobody_knows_is_refused(role: str) -> None:
    with pytest.raises(ValueError, match="there is no role"):
        permissions_of(["ORG_OWNER", role], "acme")


def test_who_has_no_part_in_an_organization_is_told_apart_from_who_may_do_nothing_there() -> None:
    member = Caller("ada", "acme", permissions_of(["ORG_USER_SELF_MANAGER"], "acme"))

    assert member.permissions_in("acme") == frozenset()
    assert member.permissions_in("other") is None
    assert Caller("ada", "acme").permissions_in("acme") is None


def test_a_token_of_the_file_tells_who_calls(path: Path) -> None:
    token = add(path, user="ada", organization="acme", roles=("ORG_OWNER",))

    caller = TokenFile(path).authenticate(token)

    assert caller == Caller("ada", "acme", {"acme": READ_AND_WRITE})


@pytest.mark.parametrize("guess", ["", "x", "\udcff", "Bearer", "ä" * 1000])
def test_what_is_no_token_proves_nobody(path: Path, guess: str) -> None:
    add(path)

    assert TokenFile(path).authenticate(guess) is None


def test_the_file_holds_hashes_which_are_no_tokens_themselves(path: Path) -> None:
    token = add(path)

    assert token not in path.read_text()
    assert digest(token) in path.read_text()
    assert TokenFile(path).authenticate(digest(token)) is None


def test_a_new_file_is_for_its_owner_alone(path: Path) -> None:
    before = os.umask(0)

    try:
        add(path)
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o600


def test_an_added_token_works_without_a_restart(path: Path) -> None:
    first = add(path)
    tokens = TokenFile(path)

    second = add(path, user="bob")

    assert [caller and caller.user_id for caller in map(tokens.authenticate, (first, second))] == ["ada", "bob"]


def test_a_removed_token_stops_working(path: Path) -> None:
    kept = add(path)
    before = path.read_text()
    removed = add(path, user="bob")
    tokens = TokenFile(path)
    assert tokens.authenticate(removed)

    path.write_text(before)

    assert tokens.authenticate(removed) is None
    assert tokens.authenticate(kept)


def test_a_token_is_added_behind_a_file_that_somebody_edited(path: Path) -> None:
    first = add(path)
    path.write_text("# ours\n" + path.read_text().rstrip())

    second = add(path)

    assert all(map(TokenFile(path).authenticate, (first, second)))


@pytest.mark.parametrize("user", ['a"b', "back\\slash", "[[token]]", "Zoë", "😀", "#", "a b"])
def test_any_clean_id_can_stand_in_the_file(path: Path, user: str) -> None:
    token = add(path, user=user)

    caller = TokenFile(path).authenticate(token)

    assert caller
    assert caller.user_id == user


BROKEN = {
    "no TOML": "[[token",
    "a text that is no hash": '[[token]]\nsha256 = "{token}"\nuser = "ada"\norganization = "acme"\n',
    "an unknown role": '[[token]]\nsha256 = "{hash}"\nuser = "ada"\norganization = "acme"\nroles = ["KING"]\n',
    "no user": '[[token]]\nsha256 = "{hash}"\norganization = "acme"\n',
    "an unknown name": '[[token]]\nsha256 = "{hash}"\nuser = "ada"\norganization = "acme"\nsecret = "{token}"\n',
    "an unknown table": '[[tokens]]\nsha256 = "{token}"\n',
    "every organization": '[[token]]\nsha256 = "{hash}"\nuser = "ada"\norganization = "*"\nroles = ["ORG_OWNER"]\n',
    "no UTF-8": "\udcff",
}


def write_broken(path: Path, text: str, secret: str) -> None:
    text = text.replace("{token}", secret).replace("{hash}", digest(secret))
    path.write_bytes(text.encode(errors="surrogateescape"))


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_an_error_at_the_start_that_names_the_file_and_no_secret(path: Path, text: str) -> None:
    secret = new_token()
    write_broken(path, text, secret)

    with pytest.raises(ValueError, match=r"tokens\.toml") as error:
        TokenFile(path)

    assert secret not in str(error.value)
    assert digest(secret) not in str(error.value)


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_edit_is_reported_and_the_old_tokens_go_on(
    path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    token, secret = add(path), new_token()
    tokens = TokenFile(path)

    write_broken(path, text, secret)
    with caplog.at_level(logging.ERROR):
        still_ada, nobody = tokens.authenticate(token), tokens.authenticate(secret)

    assert still_ada
    assert nobody is None
    assert "the token file is not taken in" in caplog.text
    assert secret not in caplog.text


def test_an_edit_is_taken_in_once_it_is_mended(path: Path) -> None:
    token = add(path)
    tokens = TokenFile(path)
    mended = path.read_text()
    path.write_text(f"{mended}[[token")
    assert tokens.authenticate(token)

    path.write_text("")

    assert tokens.authenticate(token) is None


def test_a_missing_file_is_an_error_at_the_start(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        TokenFile(path)


def test_a_file_that_is_gone_for_a_while_leaves_the_old_tokens(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    token = add(path)
    tokens = TokenFile(path)

    path.unlink()

    assert tokens.authenticate(token)
    assert "the token file is not taken in" in caplog.text


def test_a_changed_file_that_cannot_be_read_is_taken_in_as_soon_as_it_can(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    token = add(path)
    tokens = TokenFile(path)
    path.write_text("# revoked")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", Mock(side_effect=PermissionError("not yours")))
        assert tokens.authenticate(token)
        assert tokens.authenticate(token)

    assert tokens.authenticate(token) is None
    assert caplog.text.count("not yours") == 1


@pytest.mark.parametrize("bad", ["", "a\nb", "\x1b[2J", "x" * 201, "\u202e", EVERY_ORGANIZATION])
@pytest.mark.parametrize("name", ["user", "organization"])
def test_a_bad_id_is_refused_and_nothing_is_written(path: Path, name: str, bad: str) -> None:
    ids = {"user": "ada", "organization": "acme", name: bad}

    with pytest.raises(ValueError, match="an id has"):
        add_to_token_file(path, new_token(), **ids)

    assert not path.exists()


def test_an_unknown_role_is_refused_and_nothing_is_written(path: Path) -> None:
    with pytest.raises(ValueError, match="there is no role"):
        add_to_token_file(path, new_token(), user="ada", organization="acme", roles=["KING"])

    assert not path.exists()


def test_the_token_of_a_development_server_may_do_everything_and_no_other_may() -> None:
    development = DevelopmentToken()

    caller = development.authenticate(development.token)

    assert caller
    assert caller.permissions_in("any") == READ_AND_WRITE
    assert development.authenticate(DevelopmentToken().token) is None
    assert development.authenticate("") is None


def test_tokens_differ_and_are_long() -> None:
    tokens = {new_token() for _ in range(100)}

    assert len(tokens) == 100
    assert all(len(token) >= 43 for token in tokens)  # 256 bits in base64
