"""Reads the phones of a running ZITADEL's users from its own read model, to hold ours against them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from humanuser_adapters.read_model import KnownPhone
from humanuser_adapters.zitadel.connection import PATIENT, connected

_PHONES = """
    SELECT instance_id, user_id, nullif(phone, ''), coalesce(is_phone_verified, false)
    FROM projections.users14_humans
"""


@contextmanager
def zitadel_phones(url: str) -> Iterator[Iterator[KnownPhone]]:
    """What the ZITADEL database at *url* says of its users' phones. Raises ``StoreUnavailable``."""
    with connected(url, "humanuser verify") as connection:
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.read_only = True
        with connection.transaction():
            connection.execute(PATIENT)
            with connection.cursor(name="humanuser_verify", binary=True) as cursor:
                cursor.execute(_PHONES)
                yield (KnownPhone(*row) for row in cursor)


__all__ = ["zitadel_phones"]
