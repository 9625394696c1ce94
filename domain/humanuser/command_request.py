"""The request that a command id names, in the form in which it is fingerprinted."""

from __future__ import annotations

import json
from collections.abc import Mapping

Request = Mapping[str, object]
"""A command's name and everything it is asked with, as JSON values."""


def canonical(request: Request, *, instance_id: str, user_id: str, creator: str, organization: str) -> bytes:
    """*request*, for whom and by whom, as bytes: equal if and only if nothing of it differs.

    Stored fingerprints are made of these bytes, so their form must not change.
    """
    return json.dumps([instance_id, user_id, creator, organization, request], sort_keys=True).encode()
