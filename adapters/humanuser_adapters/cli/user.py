"""``humanuser user``."""

from __future__ import annotations

from typing import Annotated

import typer

from humanuser import By, HumanUserAdded
from humanuser_adapters.cli.session import BY, DatabaseOption, JsonOption, opened, read_settings, show_details

app = typer.Typer(help="Users.", no_args_is_help=True)


@app.command(
    "add",
    help="Add a user.",
    epilog="Example: humanuser user add ada --first-name Ada --last-name Lovelace --phone +41791234567",
)
def add(
    user_name: Annotated[str, typer.Argument(metavar="NAME", help="The user's login name.")],
    first_name: Annotated[str, typer.Option(help="First name.")],
    last_name: Annotated[str, typer.Option(help="Last name.")],
    phone: Annotated[str, typer.Option(help="The phone; unless verified, it gets an SMS with a code.")] = "",
    verified: Annotated[bool, typer.Option("--verified", help="The phone is proven already.")] = False,
    organization: Annotated[str, typer.Option(help="The organization that the user belongs to.")] = "default",
    user_id: Annotated[str | None, typer.Option("--id", help="An id of your own choice.", show_default=False)] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    profile = HumanUserAdded(
        user_name=user_name, first_name=first_name, last_name=last_name, display_name=f"{first_name} {last_name}"
    )
    with opened(read_settings(database=database), make=True) as application:
        user_id = application.new_user_id() if user_id is None else user_id
        details = application.commands.add_human_user(
            user_id, profile, phone=phone, verified=verified, by=By(BY.creator, organization=organization)
        )
    show_details(details, as_json=as_json, userId=user_id)
