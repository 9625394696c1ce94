"""Everything that people read is there under ``python -OO``, which strips docstrings and assertions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from humanuser_adapters.api.methods import SUMMARIES
from humanuser_adapters.api.service import PhoneService

TEXTS = """
import json
import typer
import humanuser
from humanuser import DomainError
from humanuser_adapters.api.methods import METHODS
from humanuser_adapters.cli.app import app
from humanuser_adapters.settings import Settings

def helps(group, path):
    for name, command in getattr(group, "commands", {}).items():
        yield " ".join((*path, name)), command.help
        yield from helps(command, (*path, name))

public = [getattr(humanuser, name) for name in humanuser.__all__]
refusals = [one for one in public if isinstance(one, type) and issubclass(one, DomainError)]
print(json.dumps({
    "refusals": {one.__name__: str(one("ada") if one.__name__ == "CommandIdReused" else one()) for one in refusals},
    "help": dict(helps(typer.main.get_command(app), ())),
    "api": {method.rpc_path: method.summary for method in METHODS},
    "settings": {name: field.description for name, field in Settings.model_fields.items()},
}))
"""


def texts(*options: str) -> Any:  # as it was printed
    done = subprocess.run([sys.executable, *options, "-c", TEXTS], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_every_text_is_the_same_without_docstrings() -> None:
    stripped = texts("-OO")

    assert stripped == texts()
    for kind, of_kind in stripped.items():
        assert len(of_kind) > 10
        assert [name for name, text in of_kind.items() if not text] == [], kind


def test_the_api_describes_its_methods_as_their_docstrings_do() -> None:
    assert {name: getattr(PhoneService, name).__doc__ for name in SUMMARIES} == SUMMARIES


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--phone", "+41791234589"]], ids=["help", "demo"])
def test_the_command_line_works_without_docstrings(tmp_path: Path, arguments: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUMANUSER_")}

    done = subprocess.run(
        [sys.executable, "-m", "humanuser_adapters.cli", *arguments],
        env={**environment, "PYTHONOPTIMIZE": "2"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "Serve the API" in done.stdout or "verified" in done.stdout.lower()
