"""The command line, a thin face of the application."""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``humanuser``."""
    try:
        from humanuser_adapters.cli.app import app  # noqa: PLC0415 - the parts it needs are an extra
    except ModuleNotFoundError as missing:
        sys.exit(f"{missing}; the command line needs: pip install 'humanuser[cli]'")
    app()


__all__ = ["main"]
