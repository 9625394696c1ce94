"""Commands about events that could not be taken in."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from humanuser_adapters.application import Application
from humanuser_adapters.cli.session import (
    DatabaseOption,
    Exit,
    JsonOption,
    fail,
    opened,
    out,
    read_settings,
    show,
    show_json,
)
from humanuser_adapters.subscription import Subscription

app = typer.Typer(
    help="Events that could not be taken in, and those of the same user that wait for them.", no_args_is_help=True
)

NameArgument = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="As `status` names it.")]
PositionArgument = Annotated[int, typer.Argument(metavar="POSITION", min=1, help="The event's place in the log.")]


@app.command("list", help="List them, and why.", epilog="Example: humanuser parked list")
def list_(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    with opened(read_settings(database=database)) as application:
        entries = [
            {"subscription": name, "position": one.position, "userId": one.user_id, "reason": one.reason}
            for name, subscription in application.subscriptions().items()
            for one in subscription.parked()
        ]
    if as_json:
        show_json(entries)
        return
    table = Table(title=f"{len(entries)} events parked")
    for heading in ("subscription", "position", "user", "why"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(*(Text(str(value)) for value in entry.values()))
    out.print(table)


@app.command(help="Take in what can be read by now.", epilog="Example: humanuser parked retry users")
def retry(name: NameArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    with opened(read_settings(database=database)) as application:
        subscription = _named(application, name)
        count = subscription.take_in_parked()
        show({"events": count, "still": len(subscription.parked())}, as_json=as_json)


@app.command(
    help="Park the event that a subscription stops at, with all that follows of its user.",
    epilog="Example: humanuser parked skip users 4711",
)
def skip(
    name: NameArgument, position: PositionArgument, database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
    with opened(read_settings(database=database)) as application:
        if not _named(application, name).skip(position):
            fail(Exit.REFUSED, f"{name} has no event to take in at position {position}")
        show({"subscription": name, "position": position}, as_json=as_json)


def _named(application: Application, name: str) -> Subscription:
    subscriptions = application.subscriptions()
    if name not in subscriptions:
        fail(Exit.USAGE, f"there is no subscription {name}; there are: {', '.join(subscriptions)}")
    return subscriptions[name]
