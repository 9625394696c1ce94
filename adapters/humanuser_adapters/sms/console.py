"""SMS for the eyes of a developer."""

from __future__ import annotations

import sys
from typing import TextIO

from humanuser import Accepted, Retryable, Sms


class ConsoleSms:
    """Prints every SMS, number and code in clear: for development alone."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def send(self, sms: Sms) -> Accepted | Retryable:
        try:
            print(f"SMS to {sms.to.e164}: {sms.text}", file=self._stream or sys.stderr, flush=True)
        except (OSError, ValueError) as error:
            return Retryable(f"the console cannot be written: {error}")
        return Accepted()

    def look_up(self, sms: Sms) -> None:  # noqa: ARG002 - the port's shape
        """Nobody can say what a console showed; to show it again does no harm."""
        return
