"""Ids for new users, like ZITADEL's: 63-bit numbers in decimal that grow with time."""

from __future__ import annotations

import secrets

from humanuser import Clock

_EPOCH_MS = 1_577_836_800_000  # 2020-01-01; 41 bits of milliseconds last until 2089
_RANDOM_BITS = 22


def new_user_id(clock: Clock) -> str:
    """An id that nobody else draws: the millisecond and 22 random bits."""
    milliseconds = int(clock().timestamp() * 1000) - _EPOCH_MS
    return str(max(milliseconds, 0) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS))
