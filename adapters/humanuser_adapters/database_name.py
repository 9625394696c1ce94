"""Which database a text names: a SQLite file, or a PostgreSQL server by its URL.

A text that is neither may hold a password, so no error repeats any part of it.
"""

from __future__ import annotations

import re
from pathlib import Path

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
"""The last one is SQLAlchemy's name for PostgreSQL through psycopg."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_AUTHORITY = re.compile(r"[^/?]*")
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::(\d*))?")
_HIGHEST_PORT = 65535
_PATH_BEGINNINGS = ("/", "./", "../", "~/", ".\\", "..\\")
_DRIVE = re.compile(r"[A-Za-z]:(?![^\\/]*@)[^:]*")
_CREDENTIALS = re.compile(r"(?i)://|:[^/]*@|\b(?:password|passwd|pwd)\s*=")
_CONNECTION_STRING = re.compile(
    r"\S*://\S*|\S*:[^/\s]*@\S*|\S+@\S+|//\S*|"
    r"(?i:\S*\b(?:host|hostaddr|user|uid|password|passwd|pwd|dbname|service|server)\s*=).*|\bfile:\S*|\bpostgres\w*:\S*",
    re.DOTALL,
)


def is_url(name: Path | str) -> bool:
    """Whether *name* is the URL of a PostgreSQL database rather than a file. Raises ``ValueError`` if it is neither."""
    text = str(name)
    if any(ord(character) < ord(" ") or character == "\x7f" for character in text):
        raise ValueError("the database has a control character, such as a line break, in its name")
    if not text or text != text.strip():
        raise ValueError("the database's name is empty, or begins or ends with a space")
    if found := _URL.fullmatch(text):
        if found[1].lower() not in SCHEMES:
            raise ValueError(
                "the database's URL has an unknown scheme: use postgresql://, or the path of a SQLite file"
            )
        return True
    _require_file(text)
    return False


def postgresql_url(url: str) -> str:
    """*url* as libpq reads it. Raises ``ValueError`` if it is not the URL of a PostgreSQL database."""
    if not is_url(url):
        raise ValueError("the database is not a postgresql:// URL")
    rest = url.partition("://")[2]
    if " " in rest or _BAD_ESCAPE.search(rest):
        raise ValueError("the database's URL has a malformed percent escape, or a space: escape special characters")
    _require_ports(rest)
    return f"postgresql://{rest}"


def _require_ports(rest: str) -> None:
    match = _AUTHORITY.match(rest)
    authority = match[0] if match else ""
    for host in authority.rpartition("@")[2].split(","):
        found = _PORT.fullmatch(host)
        if not found or (found[1] and not 0 < int(found[1]) <= _HIGHEST_PORT):
            raise ValueError("the database's URL has an invalid host or port: escape special characters in a password")


def _require_file(text: str) -> None:
    """Raises ``ValueError`` unless *text* is clearly a path: much that is not a URL is a connection string."""
    if _CREDENTIALS.search(text) or text.startswith("//"):
        raise ValueError("the database looks like a connection string: use a postgresql:// URL, or the path of a file")
    if text.startswith(_PATH_BEGINNINGS) or _DRIVE.fullmatch(text):
        return
    if "=" in text or ":" in text or "@" in text:
        raise ValueError(
            "the database looks like a connection string: use a postgresql:// URL; a file whose name has '=', ':' or "
            "'@' needs ./ before it"
        )


def hide_credentials(text: str) -> str:
    """*text* without what looks like a URL or a connection string."""
    return _CONNECTION_STRING.sub("(hidden)", text)


__all__ = ["hide_credentials", "is_url", "postgresql_url"]
