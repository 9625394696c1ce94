"""Connections to the database of a ZITADEL, which read the same whatever it is set to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format

from humanuser import StoreUnavailable
from humanuser_adapters.database_name import postgresql_url
from humanuser_adapters.postgresql_errors import error_text

PATIENT = "; ".join(
    f"SET LOCAL {timeout} = 0"
    for timeout in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
)
"""For a transaction that reads a lot: the shorter timeouts of a server or a role would break it off."""
_KEEPALIVES: dict[str, Any] = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
"""A server that vanished is noticed within half a minute."""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@contextmanager
def connected(url: str, application_name: str) -> Iterator[psycopg.Connection[Any]]:  # Any: rows of whatever is read
    """A connection to the database at *url*; its cursors must be binary, for times in UTC.

    Raises ``StoreUnavailable``, and ``ValueError`` for an invalid *url*; neither shows a part of it.
    """
    if "://" in url:
        url = postgresql_url(url)
    try:
        with psycopg.connect(
            url,
            application_name=application_name,
            client_encoding="UTF8",
            autocommit=True,
            prepare_threshold=None,
            **_KEEPALIVES,
        ) as connection:
            connection.adapters.register_loader("timestamptz", _UtcLoader)
            yield connection
    except psycopg.Error as error:
        raise StoreUnavailable(f"ZITADEL's database cannot be read: {error_text(error)}") from None


class _UtcLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> datetime:
        return _EPOCH + timedelta(microseconds=int.from_bytes(data, signed=True))
