"""Servers that tests and pages of the documentation share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from cluster import NoPostgres, cluster, new_schema


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
    return new_schema(postgresql_server)
