"""Servers that tests and pages of the documentation share."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from cluster import NoPostgres, cluster


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a real PostgreSQL server; without one, skip loudly, and fail in CI."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(cluster())
        except NoPostgres as error:
            if os.environ.get("CI"):
                pytest.fail(f"CI must test PostgreSQL: {error}")
            pytest.skip(f"NO POSTGRESQL: {error}")
        yield url


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """The URL of a schema with nothing in it."""
    schema = f"test_{secrets.token_hex(8)}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return f"{postgresql_server}&options=-csearch_path%3D{schema}"
