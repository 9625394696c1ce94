"""Commands about the SMS that were to be sent."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

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
from humanuser_adapters.outbox import Delivery, State

app = typer.Typer(help="The SMS that were to be sent, and what became of them.", no_args_is_help=True)

MessageArgument = Annotated[str, typer.Argument(metavar="MESSAGE", help="The message's id, as listed.")]
StateOption = Annotated[list[State] | None, typer.Option("--state", help="Only these; may be given again.")]


@app.command(
    "list",
    help="List the SMS there were to send, and what became of them.",
    epilog="Example: humanuser outbox list --state failed --state unknown",
)
def list_(state: StateOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    with opened(read_settings(database=database)) as application:
        entries = [_entry(one) for one in application.deliveries(state or tuple(State))]
    if as_json:
        show_json(entries)
        return
    table = Table(title=f"{len(entries)} SMS")
    for heading in ("message", "user", "code", "state", "attempts", "due", "note"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(*(Text(str(value)) for value in entry.values()))
    out.print(table)


@app.command(
    help="Send again what waits or was given up, if its code can still be used; a running server does it.",
    epilog="Example: humanuser outbox retry 3f1c0e7e-0b1e-5d3a-9a52-6d3d1c5b7a10",
)
def retry(message: MessageArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    with opened(read_settings(database=database)) as application:
        _done(application.send_again(message), message, "due", as_json=as_json)


@app.command(
    help="Never send what waits or was given up.",
    epilog="Example: humanuser outbox drop 3f1c0e7e-0b1e-5d3a-9a52-6d3d1c5b7a10",
)
def drop(message: MessageArgument, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    with opened(read_settings(database=database)) as application:
        _done(application.drop_sms(message), message, "dropped", as_json=as_json)


@app.command(
    epilog="Example: humanuser outbox recheck --database postgresql://db/identity",
    help="Ask providers before sending any SMS that waits now. Run it after restoring PostgreSQL, before serving.",
)
def recheck(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    with opened(read_settings(database=database)) as application:
        count = application.recheck_sms()
    show({"rechecked SMS": count}, as_json=as_json)


def _done(done: bool, message: str, state: str, *, as_json: bool) -> None:
    if not done:
        fail(Exit.REFUSED, f"there is no SMS {message} that waits or was given up")
    show({"messageId": message, "state": state}, as_json=as_json)


def _entry(delivery: Delivery) -> dict[str, Any]:
    return {
        "messageId": delivery.notification.message_id,
        "userId": delivery.notification.user_id,
        "codeSequence": delivery.notification.code_sequence,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "dueAt": delivery.due_at.isoformat(),
        "note": delivery.note,
    }
