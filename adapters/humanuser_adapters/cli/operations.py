"""Commands of those who run the system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from humanuser import Event, GeneratorInfo, PhoneNumber, Recorded, SealedCode, UnknownEvent
from humanuser_adapters.cli.session import (
    DatabaseOption,
    Exit,
    JsonOption,
    UserArgument,
    err,
    fail,
    opened,
    out,
    read_settings,
    show,
    show_json,
)

RevealOption = Annotated[bool, typer.Option("--reveal", help="Show whole numbers. Codes stay hidden: they are sealed.")]


def history(
    user_id: UserArgument, reveal: RevealOption = False, database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
    """Show all that happened to a user."""
    with opened(read_settings(database=database)) as application:
        recorded = application.history(user_id)
    if not recorded:
        fail(Exit.REFUSED, "User could not be found")
    if as_json:
        show_json([_entry(one, reveal=reveal) for one in recorded])
    else:
        out.print(history_table(recorded, reveal=reveal))


def history_table(recorded: Sequence[Recorded], *, reveal: bool = False) -> Table:
    """The events as a table for people."""
    table = Table(title=Text(f"History of user {recorded[0].user_id}"))
    for heading in ("#", "when (UTC)", "what"):
        table.add_column(heading, no_wrap=True)
    for heading in ("by", "saying"):
        table.add_column(heading, overflow="fold")
    for one in recorded:
        saying = ", ".join(f"{name} {value}" for name, value in _payload(one.event, reveal=reveal).items())
        when = one.created_at.strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(str(one.sequence), when, *map(Text, (one.event.type, one.creator, saying)))
    return table


def _entry(recorded: Recorded, *, reveal: bool) -> dict[str, Any]:
    return {
        "sequence": recorded.sequence,
        "position": recorded.position,
        "createdAt": recorded.created_at.isoformat(),
        "type": recorded.event.type,
        "creator": recorded.creator,
        "resourceOwner": recorded.resource_owner,
        "payload": _payload(recorded.event, reveal=reveal),
    }


def _payload(event: Event, *, reveal: bool) -> dict[str, Any]:
    """What the event says, with codes hidden, and numbers masked unless *reveal*."""
    if isinstance(event, UnknownEvent):
        return {"payload": event.payload.decode(errors="replace") if reveal else f"{len(event.payload)} bytes, hidden"}
    fields = {name: getattr(event, name) for name in type(event).model_fields}
    return {name: _shown(name, value, reveal=reveal) for name, value in fields.items() if value not in _SAYS_NOTHING}


_SAYS_NOTHING = (None, "", 0, "und", GeneratorInfo())


def _shown(name: str, value: Any, *, reveal: bool) -> Any:
    if isinstance(value, PhoneNumber):
        return value.e164 if reveal else value.masked
    if isinstance(value, SealedCode):
        return f"sealed with key {value.key_id}"
    if name == "expiry":
        return f"{value / 1e9:g} s"
    return value if isinstance(value, str | int | bool) else value.model_dump(mode="json")


def rebuild(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Make the read models anew from all events. Nothing is sent, and no event is added."""
    with opened(read_settings(database=database)) as application:
        columns = (
            TextColumn("rebuilding"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("events"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
            task = progress.add_task("rebuild", total=application.head())
            count = application.rebuild(lambda more: progress.advance(task, more))
    show({"events": count}, as_json=as_json)


def outbox(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List the SMS there were to send, and what became of them."""
    with opened(read_settings(database=database)) as application:
        deliveries = application.deliveries()
    entries = [
        {
            "messageId": one.notification.message_id,
            "userId": one.notification.user_id,
            "codeSequence": one.notification.code_sequence,
            "state": one.state.value,
            "attempts": one.attempts,
            "dueAt": one.due_at.isoformat(),
            "note": one.note,
        }
        for one in deliveries
    ]
    if as_json:
        show_json(entries)
        return
    table = Table(title=f"{len(entries)} SMS")
    for heading in ("message", "user", "code", "state", "attempts", "due", "note"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(*(Text(str(value)) for value in entry.values()))
    out.print(table)
