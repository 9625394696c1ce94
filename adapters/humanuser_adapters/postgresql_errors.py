"""What a PostgreSQL error means, in fixed words.

A server's messages quote rows, values and roles, and those of the client library quote the URL. None of that may reach
a log, an answer or a terminal, so the texts here are made of the SQLSTATE and of names in our own schema alone.
"""

from __future__ import annotations

import re

import psycopg

_CONNECTION_REASONS = (
    ("Connection refused", "connection refused"),
    ("No such file or directory", "no server listens on the socket"),
    ("could not translate host name", "unknown host name"),
    ("No route to host", "no route to the host"),
    ("timeout", "timeout"),
    ("timed out", "timeout"),
    ("password authentication failed", "authentication failed"),
    ("no password supplied", "a password is required"),
    ("pg_hba.conf", "the server does not allow this role, database or host"),
    ("role ", "the server does not accept the role"),
    ("database ", "the server does not accept the database"),
    ("too many", "too many connections"),
    ("starting up", "the server is starting"),
    ("shutting down", "the server is shutting down"),
    ("recovery", "no server accepts writes"),
    ("standby", "no server accepts writes"),
    ("SSL", "TLS failed"),
    ("certificate", "TLS failed"),
    ("parameter", "the server or pooler does not accept a connection parameter"),
    ("closed", "the server closed the connection"),
)
"""What the client library says, and what is shown instead. The first that fits; in other languages none may."""
_OUR_NAME = re.compile(r"humanuser_\w+")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]*|\d+")


def error_text(error: psycopg.Error) -> str:
    """What went wrong, without a value, a host, a role or any other part of a URL."""
    if error.sqlstate is None:
        return f"PostgreSQL: {_connection_reason(error)}"
    name = next((name for name in (error.diag.constraint_name, error.diag.table_name) if name), "")
    where = f" on {name}" if _OUR_NAME.fullmatch(name) else ""
    return f"PostgreSQL: {_condition(error.sqlstate)}{where} (SQLSTATE {error.sqlstate})"


def _condition(sqlstate: str) -> str:
    """The name of the condition, such as "disk full"."""
    try:
        name = psycopg.errors.lookup(sqlstate).__name__
    except KeyError:
        return "error"
    return " ".join(_WORD.findall(name)).lower()


def _connection_reason(error: psycopg.Error) -> str:
    text = str(error)
    for fragment, reason in _CONNECTION_REASONS:
        if fragment in text:
            return reason
    return "the server cannot be reached" if isinstance(error, psycopg.OperationalError) else "the driver failed"


__all__ = ["error_text"]
