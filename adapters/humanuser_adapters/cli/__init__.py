"""The command line, a thin face of the application."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run ``humanuser``. SIGTERM stops it as Ctrl-C does."""
    try:
        from humanuser_adapters.cli.app import app  # noqa: PLC0415 - the parts it needs are an extra
    except ModuleNotFoundError as missing:
        sys.exit(f"{missing}; the command line needs: pip install 'humanuser[cli]'")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except OSError as error:  # of the standard output: its disk may be full
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would try again at its end
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - there is nothing else left to tell it with
        sys.exit(3)


__all__ = ["main"]
