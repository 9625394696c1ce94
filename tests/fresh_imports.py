"""What it takes to import something in a process that has imported nothing yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

CORE = "import humanuser"
FLOOR = "import phonenumbers; from pydantic import BaseModel"  # to import pydantic alone loads next to nothing of it

_PROGRAM = """
import json, sys, time
before, began = set(sys.modules), time.perf_counter()
{statement}
print(json.dumps([time.perf_counter() - began, sorted(set(sys.modules) - before)]))
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it."""

    seconds: float
    modules: frozenset[str]


def freshly_imported(statement: str) -> Imported:
    """What the import *statement* took, and which modules it brought."""
    program = _PROGRAM.format(statement=statement)
    paths = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # so that it finds what this process finds
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=paths)
    seconds, modules = json.loads(done.stdout)
    return Imported(seconds, frozenset(modules))
