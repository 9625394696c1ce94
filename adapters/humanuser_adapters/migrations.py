"""Tables of several components, each at a version of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from humanuser import StoreUnavailable
from humanuser_adapters.database import Connection

_VERSIONS = """
    CREATE TABLE IF NOT EXISTS humanuser_schema_versions (component TEXT PRIMARY KEY, version BIGINT NOT NULL)
"""


def version_of(connection: Connection, component: str) -> int:
    """How many scripts the tables of *component* have seen. Fails where there are no versions yet."""
    query = "SELECT version FROM humanuser_schema_versions WHERE component = ?"
    row = connection.execute(query, (component,)).fetchone()
    return row[0] if row else 0


def bring_up_to_date(
    connection: Connection, component: str, scripts: Sequence[Sequence[str]], types: Mapping[str, str]
) -> None:
    """Run the *scripts* that *component* has not seen, with *types* for their words, in the transaction at hand.

    Nobody else may do so at the same time. Raises ``StoreUnavailable`` if a newer release was here.
    """
    connection.execute(_VERSIONS)
    version = version_of(connection, component)
    if version > len(scripts):
        raise StoreUnavailable(f"the database was written by a newer release: {component} is at {version}")
    for statement in (statement for script in scripts[version:] for statement in script):
        connection.execute(in_words_of(types, statement))
    connection.execute(
        "INSERT INTO humanuser_schema_versions VALUES (?, ?) "
        "ON CONFLICT (component) DO UPDATE SET version = excluded.version",
        (component, len(scripts)),
    )


def in_words_of(types: Mapping[str, str], statement: str) -> str:
    """*statement* with the *types* for its words."""
    for word, meaning in types.items():
        statement = statement.replace(f"{{{word}}}", meaning)
    return statement
