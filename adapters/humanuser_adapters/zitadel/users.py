"""Reads the phones of a running ZITADEL's users from its own read model, to hold ours against them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from humanuser import StoreUnavailable
from humanuser_adapters.read_model import KnownPhone

_PHONES = """
    SELECT instance_id, user_id, nullif(phone, ''), coalesce(is_phone_verified, false)
    FROM projections.users14_humans
"""


@contextmanager
def zitadel_phones(url: str) -> Iterator[Iterator[KnownPhone]]:
    """What the ZITADEL database at *url* says of its users' phones. Raises ``StoreUnavailable``."""
    try:
        with psycopg.connect(url, application_name="humanuser verify") as connection:
            connection.read_only = True
            with connection.cursor(name="humanuser_verify") as cursor:
                cursor.execute(_PHONES)
                yield (KnownPhone(*row) for row in cursor)
    except psycopg.Error as error:
        raise StoreUnavailable(str(error).strip()) from error


__all__ = ["zitadel_phones"]
