"""``humanuser phone``."""

from __future__ import annotations

from typing import Annotated

import typer

from humanuser_adapters.cli.session import (
    BY,
    DatabaseOption,
    Exit,
    JsonOption,
    RevealOption,
    UserArgument,
    fail,
    opened,
    read_settings,
    show,
    show_details,
    shown_number,
)

app = typer.Typer(help="Phones of users.", no_args_is_help=True)


@app.command(
    "set",
    help="Change a phone; unless verified, it gets an SMS with a code from a server that sends.",
    epilog="Example: humanuser phone set 264170294872178691 +41791234567",
)
def set_phone(
    user_id: UserArgument,
    phone: Annotated[str, typer.Argument(metavar="PHONE", help="A global number, such as +41791234567.")],
    verified: Annotated[bool, typer.Option("--verified", help="The phone is proven already.")] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    with opened(read_settings(database=database)) as application:
        details = application.commands.change_phone(user_id, phone, verified=verified, by=BY)
    show_details(details, as_json=as_json)


@app.command(
    "show",
    help="Show a phone, and whether it is proven.",
    epilog="Example: humanuser phone show 264170294872178691 --reveal",
)
def show_phone(
    user_id: UserArgument,
    reveal: RevealOption = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    with opened(read_settings(database=database)) as application:
        found = application.find_user(user_id)
    if found is None:
        fail(Exit.REFUSED, "User could not be found")
    details, phone = found
    shown = {
        "phone": shown_number(phone.phone, reveal=reveal),
        "lastVerifiedPhone": shown_number(phone.last_verified_phone, reveal=reveal),
        "isPhoneVerified": phone.verified,
        "resourceOwner": details.resource_owner,
    }
    show(shown, as_json=as_json)


@app.command(
    "verify", help="Prove a phone with its code.", epilog="Example: humanuser phone verify 264170294872178691 123456"
)
def verify(
    user_id: UserArgument,
    code: Annotated[str, typer.Argument(metavar="CODE", help="The code from the SMS.")],
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    with opened(read_settings(database=database)) as application:
        details = application.commands.verify_phone(user_id, code, by=BY)
    show_details(details, as_json=as_json)


@app.command(
    "resend",
    help="Make a new code; older ones are worth nothing from now on.",
    epilog="Example: humanuser phone resend 264170294872178691",
)
def resend(user_id: UserArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    with opened(read_settings(database=database)) as application:
        details = application.commands.add_phone_code(user_id, by=BY)
    show_details(details, as_json=as_json)


@app.command("remove", help="Remove a phone.", epilog="Example: humanuser phone remove 264170294872178691")
def remove(user_id: UserArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    with opened(read_settings(database=database)) as application:
        details = application.commands.remove_phone(user_id, by=BY)
    show_details(details, as_json=as_json)
