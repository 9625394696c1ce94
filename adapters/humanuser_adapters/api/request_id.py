"""The id that a request has in the log and in the headers of its answer."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from humanuser_adapters.log_fields import about

REQUEST_ID = "x-request-id"
"""The header, of requests and of answers."""

_SHORT_AND_PRINTABLE = re.compile("[!-~]{1,128}")


@contextmanager
def request_named(given: str | None) -> Iterator[str]:
    """The id of the request that the block answers, which the log tells meanwhile.

    It is the one that the caller has *given*; where there is none, or none that is short and printable, it is made.
    """
    request_id = given if given and _SHORT_AND_PRINTABLE.fullmatch(given) else secrets.token_hex(16)
    with about(request_id=request_id):
        yield request_id
