"""``humanuser key``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from humanuser_adapters.cli.session import DatabaseOption, Exit, JsonOption, errors_told, fail, read_settings, show
from humanuser_adapters.vault import Keys

app = typer.Typer(help="The keys that encrypt codes.", no_args_is_help=True)


@app.command(
    "add",
    help=(
        "Add a new key to the key file. It encrypts from the next start on; older keys still decrypt.\n\n"
        "If the file is lost, this makes a new one: codes that were encrypted before no longer work."
    ),
    epilog="Example: humanuser key add --database humanuser.sqlite",
)
def add(
    file: Annotated[Path | None, typer.Option(help="The key file. [default: beside the SQLite file]")] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    settings = read_settings(database=database, code_key_file=file)
    path = settings.key_file
    if settings.code_keys is not None:
        fail(Exit.USAGE, "the keys are in HUMANUSER_CODE_KEYS: add a new one in front there")
    if path is None:
        fail(Exit.USAGE, "name the key file with --file")
    with errors_told():
        keys = Keys.add_to_file(path)
    show({"key": keys.current, "file": str(path)}, as_json=as_json)
