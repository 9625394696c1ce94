"""Bearer tokens: from a file that knows them by their SHA-256, or one for a development server."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, field_validator

from humanuser import EVERY_ORGANIZATION, LONGEST_TEXT, Caller, is_clean_text
from humanuser_adapters.auth.roles import permissions_of
from humanuser_adapters.forks import ForkSafeLock
from humanuser_adapters.log_fields import log_of

log = log_of(__name__)


def new_token() -> str:
    """A token that nobody can guess: 256 random bits."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What a token file holds instead of *token*."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


class _Token(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    user: str
    organization: str
    roles: tuple[str, ...] = ()

    @field_validator("user", "organization")
    @classmethod
    def _id(cls, value: str) -> str:
        if not is_clean_text(value) or value == EVERY_ORGANIZATION:
            raise ValueError(
                f"an id has 1 to {LONGEST_TEXT} characters, none a control character, and is not {EVERY_ORGANIZATION!r}"
            )
        return value

    def caller(self) -> Caller:
        return Caller(self.user, self.organization, permissions_of(self.roles, self.organization))


class _Tokens(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: tuple[_Token, ...] = ()


class TokenFile:
    """The tokens of a TOML file, read again when the file changes.

    Each ``[[token]]`` has ``sha256``, ``user``, ``organization`` and ``roles``. A changed file with a mistake in it is
    reported and not taken in. At the start it raises ``ValueError`` for a mistake, ``OSError`` if there is no file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = ForkSafeLock()
        self._stamp = self._stamp_now()
        self._callers = _read(path)
        self._problem = ""

    def authenticate(self, token: str) -> Caller | None:
        self._read_again_if_changed()
        return self._callers.get(digest(token))

    def _read_again_if_changed(self) -> None:
        with self._turn:
            before = self._stamp
            try:
                self._stamp = self._stamp_now()
                if self._stamp != before:
                    self._callers = _read(self._path)
                    self._problem = ""
            except OSError as error:  # it is tried again: it may be readable soon, without another change
                self._stamp = before
                self._tell(error)
            except ValueError as error:
                self._tell(error)

    def _tell(self, error: Exception) -> None:
        """Once, for it may come with every call."""
        if str(error) != self._problem:
            self._problem = str(error)
            log.error("the token file is not taken in: %s", error)

    def _stamp_now(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return (status.st_mtime_ns, status.st_size, status.st_ino)


def add_to_token_file(path: Path, token: str, *, user: str, organization: str, roles: Sequence[str] = ()) -> None:
    """Add *token* to the file at *path*, which is made if it is not there. Raises ``ValueError`` and ``OSError``."""
    entry = {"sha256": digest(token), "user": user, "organization": organization, "roles": list(roles)}
    _Token.model_validate(entry).caller()
    values = (f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in entry.items())
    lines = ["", "[[token]]", *values, ""]  # what is there may not end its last line
    with os.fdopen(os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600), "a", encoding="utf-8") as file:
        file.write("\n".join(lines))  # one write, so that a reader sees an entry or none of it


class DevelopmentToken:
    """One token, made anew at every start, for an administrator of everything."""

    def __init__(self, *, user_id: str = "admin", organization: str = "default") -> None:
        self.token = new_token()
        self._digest = digest(self.token)
        self._caller = Caller(user_id, organization, permissions_of(["IAM_OWNER"], organization))

    def authenticate(self, token: str) -> Caller | None:
        return self._caller if secrets.compare_digest(digest(token), self._digest) else None


def _read(path: Path) -> dict[str, Caller]:
    try:
        tokens = _Tokens.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        return {token.sha256: token.caller() for token in tokens.token}
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        where = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
        raise ValueError(f"{path}: {where}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
