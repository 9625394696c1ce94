"""What our connections to PostgreSQL depend on, stated by themselves.

A server, a database and a role can have any defaults. A connection of our own is told once what we need. Where a pooler
shares the server's connections, each transaction is told instead, and nothing stays behind.
"""

from __future__ import annotations

from typing import Any, cast

import psycopg
from psycopg.sql import SQL, Composable, Literal

from humanuser import StoreUnavailable

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE"
SILENCE_SECONDS = 3
"""After so many seconds the server ends the transaction of a process that froze in the middle of it."""

_SESSION = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
}
"""What each transaction states where it is not stated for all of them."""
_SINCE_14, _SINCE_17 = 140000, 170000


def require_utf8(connection: psycopg.Connection[Any]) -> None:  # Any: rows of whatever was asked for
    """Raises ``StoreUnavailable`` if the database has another encoding: it cannot hold all names, or damages them."""
    encoding = connection.info.parameter_status("server_encoding") or "unknown"
    if encoding != "UTF8":
        raise StoreUnavailable(f"the database's encoding is {encoding}: create it with ENCODING 'UTF8'")


def pin_settings(
    connection: psycopg.Connection[Any],  # Any: as above
    patience: float,
    patience_for_work: float,
    *,
    search_path: str | None,
) -> tuple[bool, str]:
    """State what the session of a new *connection* needs, unless a pooler shares it.

    Returns whether it is shared, and the *search_path*, which is the server's where none is given. A pooler gives its
    clients process ids of its own.
    """
    shared = SQL("pg_backend_pid() <> {}").format(Literal(connection.info.backend_pid))
    version = connection.info.server_version
    wanted = _SESSION | _wanted(version, patience, patience_for_work)
    if version >= _SINCE_14:
        wanted["idle_session_timeout"] = "0"
    if search_path is not None:
        wanted["search_path"] = search_path
    query = SQL("{}; SELECT {}, current_setting('search_path'), {}; COMMIT").format(
        SQL(BEGIN), shared, _assignments(wanted, shared)
    )
    cursor = connection.execute(query)
    cursor.nextset()
    is_shared, current, *_ = cast("tuple[Any, ...]", cursor.fetchone())
    return is_shared, current if search_path is None else search_path


def local_settings(version: int, patience: float, patience_for_work: float, *, search_path: str) -> str:
    """A statement that sets for the transaction at hand what it needs on a server of *version*."""
    wanted = _wanted(version, patience, patience_for_work) | {"search_path": search_path}
    return SQL("SELECT {}").format(_assignments(wanted, SQL("true"))).as_string()


def _wanted(version: int, patience: float, patience_for_work: float) -> dict[str, str]:
    """For every transaction. Longer timeouts leave work behind in the server, shorter ones break it off."""
    wanted = {
        "lock_timeout": f"{round(patience * 1000)}ms",
        "statement_timeout": f"{round(patience_for_work * 1000)}ms",
        "idle_in_transaction_session_timeout": f"{SILENCE_SECONDS}s",
        "exit_on_error": "off",
        "jit": "off",
    }
    if version >= _SINCE_17:
        wanted["transaction_timeout"] = "0"
    return wanted


def _assignments(wanted: dict[str, str], is_local: Composable) -> Composable:
    """Calls that set what is *wanted*; and that commits wait for the disk at least, if not for more than that."""
    calls = [
        SQL("set_config({}, {}, {})").format(Literal(name), Literal(value), is_local) for name, value in wanted.items()
    ]
    calls.append(
        SQL(
            "CASE WHEN current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') "
            "THEN set_config('synchronous_commit', 'on', {}) END"
        ).format(is_local)
    )
    return SQL(", ").join(calls)
