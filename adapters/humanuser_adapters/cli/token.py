"""``humanuser token``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from humanuser_adapters.auth import add_to_token_file, new_token
from humanuser_adapters.cli.session import Exit, JsonOption, errors_told, fail, read_settings, show

app = typer.Typer(help="Tokens of those who call the API.", no_args_is_help=True)


@app.command(
    "add",
    help="Make a token and add it to the token file, which holds only its SHA-256. It is shown once, now.",
    epilog="Example: humanuser token add --user admin --organization acme --role ORG_OWNER --file tokens.toml",
)
def add(
    user: Annotated[str, typer.Option(help="Who calls with it.")],
    organization: Annotated[str, typer.Option(help="The organization of that user.")] = "default",
    role: Annotated[
        list[str] | None, typer.Option(help="A role there; give it several times for several.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="The token file.", envvar="HUMANUSER_TOKEN_FILE", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    path = read_settings(token_file=file).token_file
    if path is None:
        fail(Exit.USAGE, "name the token file with --file")
    with errors_told():
        token = new_token()
        add_to_token_file(path, token, user=user, organization=organization, roles=role or ())
    show({"token": token, "user": user, "organization": organization}, as_json=as_json)
