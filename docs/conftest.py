"""The Python in these pages is run, each page from top to bottom in a folder of its own."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser


def enter_a_new_folder(namespace: dict[str, Any]) -> None:
    """Begin a page where nothing is."""
    namespace["_folder"] = TemporaryDirectory(prefix="humanuser-docs-")
    namespace["_before"] = Path.cwd()
    os.chdir(namespace["_folder"].name)


def leave_it(namespace: dict[str, Any]) -> None:
    """Leave nothing behind."""
    os.chdir(namespace["_before"])
    namespace["_folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["*.md"], setup=enter_a_new_folder, teardown=leave_it
).pytest()
