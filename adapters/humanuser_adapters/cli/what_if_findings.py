"""What ``humanuser what-if`` has found, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rich.table import Table
from rich.text import Text

from humanuser import CodeInvalid, DomainError
from humanuser_adapters.cli.session import out
from humanuser_projections import JudgedCommand, RefusalTimeline, WhatIfTally

_SHORT = {timedelta(hours=1): "an hour", timedelta(days=1): "a day", timedelta(weeks=1): "a week"}
_BARS = "·▁▂▃▄▅▆▇█"


@dataclass(slots=True)
class Findings:
    """What came of the users that were looked at."""

    tally: WhatIfTally = field(default_factory=WhatIfTally)
    unreadable_users: int = 0
    """Those with an event that cannot be read; they are left out."""
    complete: bool = False
    """Whether all users were looked at."""


def summary(tally: WhatIfTally) -> str:
    """How much would have been refused, in a sentence."""
    return (
        f"{tally.refused.total()} of {tally.commands.total()} commands would have been refused, "
        f"to {tally.users_refused} of {tally.users} users; {tally.following.total()} more follow from these"
    )


def span_of(timeline: RefusalTimeline) -> str:
    """How long each of its spans is."""
    return _SHORT.get(timeline.width) or f"{timeline.width // timedelta(weeks=1)} weeks"


def saying(refusal: type[DomainError]) -> str:
    """Why a command would have been refused."""
    return f"{refusal.message}: it came too late" if refusal is CodeInvalid else refusal.message


def show_findings(findings: Findings, *, reveal: bool) -> None:
    """The findings as text for people."""
    tally = findings.tally
    if not findings.complete:
        out.print(Text("Partial: it was stopped before all users were looked at.", style="bold yellow"))
    out.print(Text(summary(tally)), soft_wrap=True)
    if findings.unreadable_users:
        out.print(Text(f"Left out: {findings.unreadable_users} users with events that cannot be read"))
    if tally.commands:
        out.print(_commands_table(tally))
    if tally.refusals:
        out.print(_refusals_table(tally))
        out.print(Text("\n".join(_timeline_lines(tally))), no_wrap=True, overflow="crop")
        out.print(_examples_table(tally.examples, reveal=reveal))


def findings_for_programs(findings: Findings, *, reveal: bool) -> dict[str, Any]:
    """The findings as JSON takes them."""
    tally = findings.tally
    return {
        "partial": not findings.complete,
        "users": tally.users,
        "usersRefused": tally.users_refused,
        "usersUnreadable": findings.unreadable_users,
        "commands": {
            kind.value: {"given": given, "refused": tally.refused[kind], "following": tally.following[kind]}
            for kind, given in tally.commands.items()
        },
        "refusals": {refusal.__name__: count for refusal, count in tally.refusals.most_common()},
        "timeline": _timeline_for_programs(tally.timeline, tally.refusals),
        "examples": [
            {
                "userId": one.user_id,
                "sequence": one.sequence,
                "createdAt": one.created_at.isoformat(),
                "command": one.kind.value,
                "phone": _phone(one, reveal=reveal),
                "refusal": _name(one),
            }
            for one in tally.examples
        ],
    }


def _commands_table(tally: WhatIfTally) -> Table:
    table = Table()
    table.add_column("command")
    for heading in ("given", "refused", "following"):
        table.add_column(heading, justify="right")
    for kind, given in tally.commands.most_common():
        table.add_row(kind.value, *(str(count) for count in (given, tally.refused[kind], tally.following[kind])))
    return table


def _refusals_table(tally: WhatIfTally) -> Table:
    table = Table()
    for heading in ("refusal", "saying"):
        table.add_column(heading, overflow="fold")
    table.add_column("commands", justify="right")
    for refusal, count in tally.refusals.most_common():
        table.add_row(refusal.__name__, saying(refusal), str(count))
    return table


def _timeline_lines(tally: WhatIfTally) -> list[str]:
    """A row of bars for each refusal, all on one scale."""
    timeline = tally.timeline
    rows = {refusal.__name__: timeline.counts(refusal) for refusal, _ in tally.refusals.most_common()}
    most, width = max(map(max, rows.values())), max(map(len, rows))
    first, last = (timeline.begins[place].strftime("%Y-%m-%d %H:%M") for place in (0, -1))
    return [
        f"from {first} to {last} (UTC), each bar {span_of(timeline)}, the highest {most}",
        *(f"{name:<{width}}  {''.join(_bar(count, most) for count in counts)}" for name, counts in rows.items()),
    ]


def _bar(count: int, most: int) -> str:
    return _BARS[-(-count * (len(_BARS) - 1) // most)]


def _examples_table(examples: Sequence[JudgedCommand], *, reveal: bool) -> Table:
    table = Table(title=f"The first {len(examples)}")
    table.add_column("when (UTC)", no_wrap=True)
    for heading in ("user", "#", "command", "phone", "refusal"):
        table.add_column(heading, overflow="fold")
    for one in examples:
        shown = (one.user_id, str(one.sequence), one.kind.value, _phone(one, reveal=reveal), _name(one))
        table.add_row(one.created_at.strftime("%Y-%m-%d %H:%M:%S"), *map(Text, shown))
    return table


def _timeline_for_programs(timeline: RefusalTimeline, refusals: Iterable[type[DomainError]]) -> dict[str, Any]:
    return {
        "spanSeconds": int(timeline.width.total_seconds()),
        "begins": [begin.isoformat() for begin in timeline.begins],
        "refusals": {refusal.__name__: timeline.counts(refusal) for refusal in refusals},
    }


def _name(command: JudgedCommand) -> str:
    return command.refusal.__name__ if command.refusal else ""


def _phone(command: JudgedCommand, *, reveal: bool) -> str:
    if command.phone is None:
        return ""
    return command.phone.e164 if reveal else command.phone.masked
