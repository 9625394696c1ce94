"""The Python in these pages is run, each page from top to bottom in a folder of its own."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from servers import postgresql_server, postgresql_url

__all__ = ["postgresql_server", "postgresql_url", "pytest_collect_file"]

ON_POSTGRESQL = ["how-to/run-on-postgresql.md", "how-to/share-a-transaction.md", "how-to/use-with-eventsourcing.md"]


def enter_a_new_folder(namespace: dict[str, Any]) -> None:
    """Begin a page where nothing is."""
    namespace["_folder"] = TemporaryDirectory(prefix="humanuser-docs-")
    namespace["_before"] = Path.cwd()
    os.chdir(namespace["_folder"].name)


def leave_it(namespace: dict[str, Any]) -> None:
    """Leave nothing behind."""
    os.chdir(namespace["_before"])
    namespace["_folder"].cleanup()


parsers = [PythonCodeBlockParser()]
steps = {"parsers": parsers, "setup": enter_a_new_folder, "teardown": leave_it}
on_files = Sybil(patterns=["*.md"], excludes=ON_POSTGRESQL, **steps)
on_postgresql = Sybil(patterns=ON_POSTGRESQL, fixtures=["postgresql_url"], **steps)
pytest_collect_file = (on_files + on_postgresql).pytest()
