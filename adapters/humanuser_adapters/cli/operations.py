"""Commands of those who run the system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from humanuser import Event, GeneratorInfo, PhoneNumber, Recorded, SealedCode, UnknownEvent
from humanuser_adapters.cli.session import (
    DatabaseOption,
    Exit,
    JsonOption,
    RevealOption,
    UserArgument,
    fail,
    opened,
    out,
    read_settings,
    show,
    show_json,
    shown_number,
    shown_time,
)
from humanuser_adapters.event_log import OpenTransaction
from humanuser_adapters.subscription import Subscription


def history(
    user_id: UserArgument, reveal: RevealOption = False, database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
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
        texts = map(Text, (one.event.type, one.creator, saying))
        table.add_row(str(one.sequence), shown_time(one.created_at), *texts)
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
        return shown_number(value, reveal=reveal)
    if isinstance(value, SealedCode):
        return f"sealed with key {value.key_id}"
    if name == "expiry":
        return f"{value / 1e9:g} s"
    return value if isinstance(value, str | int | bool) else value.model_dump(mode="json")


def repair_positions(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    with opened(read_settings(database=database)) as application:
        application.repair_positions()
        show({"head": application.head()}, as_json=as_json)


def status(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    with opened(read_settings(database=database)) as application:
        states = {state.value: count for state, count in application.delivery_counts().items()}
        followers = [_follower(one) for one in application.subscriptions().values()]
        end = application.log_end()
        skew = round(application.clock_skew().total_seconds(), 3)
        told = {
            "head": application.head(),
            "end": end.position,
            "openTransaction": _open_transaction(end.open),
            "clockSkewSeconds": skew,
            "subscriptions": followers,
            "sms": states,
        }
    if as_json:
        show_json(told)
        return
    table = Table(title=f"{told['head']} is the last position")
    for heading in ("subscription", "position", "behind", "oldest (UTC)", "parked"):
        table.add_column(heading)
    for follower in followers:
        table.add_row(*(Text(str(value)) for value in follower.values()))
    out.print(table)
    if end.open:
        age = (
            "unknown: the role lacks pg_read_all_stats"
            if end.open.age is None
            else f"{end.open.age.total_seconds():.0f} s"
        )
        out.print(Text(f"Events from position {end.open.position} on wait for the {end.open}, age {age}"))
    out.print(Text("SMS: " + (", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none")))
    out.print(Text(f"clock: {abs(skew):g} s {'behind' if skew < 0 else 'ahead of'} the database's"))


def _open_transaction(transaction: OpenTransaction | None) -> dict[str, Any] | None:
    if transaction is None:
        return None
    return {
        "position": transaction.position,
        "seconds": None if transaction.age is None else transaction.age.total_seconds(),
        "pid": transaction.process_id,
        "name": transaction.name,
    }


def _follower(subscription: Subscription) -> dict[str, Any]:
    lag = subscription.lag()
    return {
        "name": subscription.name,
        "position": subscription.position(),
        "behind": lag.positions,
        "oldest": lag.oldest.isoformat() if lag.oldest else "",
        "parked": len(subscription.parked()),
    }
