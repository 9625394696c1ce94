"""Commands about any moment of a user's history."""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from humanuser import PendingCode, UserNotFound
from humanuser_adapters.cli.moments import moment_of
from humanuser_adapters.cli.session import (
    DatabaseOption,
    Exit,
    JsonOption,
    RevealOption,
    UserArgument,
    details_fields,
    fail,
    opened,
    out,
    read_settings,
    show,
    show_json,
    shown_number,
    shown_time,
)
from humanuser_projections import Explanation, UserAsOf, explain, history_until, user_as_of

AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help="A day or a time, such as 2026-05-10 or 2026-05-10T12:00+02:00; UTC unless it names a zone. "
        "A day means its end, and so does a second.",
        show_default=False,
    ),
]
SequenceOption = Annotated[
    int | None,
    typer.Option(
        "--sequence", min=1, help="The last event that counts, as `history` numbers them.", show_default=False
    ),
]


def show_user(
    user_id: UserArgument,
    at: AtOption = None,
    sequence: SequenceOption = None,
    reveal: RevealOption = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    if at is not None and sequence is not None:
        fail(Exit.USAGE, "--at and --sequence are two ways to say when: give one of them")
    moment = _moment(at)
    with opened(read_settings(database=database)) as application:
        then = user_as_of(application.history(user_id), at=moment, sequence=sequence)
    if then is None:
        fail(Exit.REFUSED, f"{UserNotFound.message}{_when(moment, sequence)}")
    show({"userId": user_id, **_fields(then, reveal=reveal)}, as_json=as_json)


def explain_user(
    user_id: UserArgument,
    at: AtOption = None,
    reveal: RevealOption = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    moment = _moment(at)
    settings = read_settings(database=database)
    with opened(settings) as application:
        past = history_until(application.history(user_id), at=moment)
        told = explain(past, now=moment or application.clock(), policy=settings.read_policy(), reveal=reveal)
    if not past:
        fail(Exit.REFUSED, f"{UserNotFound.message}{_when(moment)}")
    if as_json:
        show_json(_entry(told, reveal=reveal))
    else:
        out.print(_table(user_id, told))
        out.print(Text(told.conclusion), soft_wrap=True)


def _moment(at: str | None) -> datetime | None:
    """The moment that *at* means; None: now."""
    moment = moment_of("--at", at, in_day=time.max)
    if moment and not moment.microsecond:
        moment = moment.replace(microsecond=time.max.microsecond)  # times are shown without fractions
    return moment


def _when(moment: datetime | None, sequence: int | None = None) -> str:
    if moment is not None:
        return f" as of {moment.isoformat(timespec='seconds')}"
    return f" as of sequence {sequence}" if sequence else ""


def _fields(then: UserAsOf, *, reveal: bool) -> dict[str, Any]:
    return {
        "state": then.user.state.value,
        "asOfSequence": then.user.sequence,
        **details_fields(then.details),
        "phone": shown_number(then.phone.phone, reveal=reveal),
        "isPhoneVerified": then.phone.verified,
        "lastVerifiedPhone": shown_number(then.phone.last_verified_phone, reveal=reveal),
        **_code_fields(then.user.pending_code),
    }


def _code_fields(code: PendingCode | None) -> dict[str, Any]:
    return {
        "isCodePending": code is not None,
        "codeExpiresAt": code.expires_at.isoformat() if code and code.expires_at else "",
        "codeFailures": code.failures if code else 0,
    }


def _entry(told: Explanation, *, reveal: bool) -> dict[str, Any]:
    return {
        "steps": [
            {
                "sequence": step.sequence,
                "createdAt": step.at.isoformat(),
                "creator": step.creator,
                "words": step.words,
            }
            for step in told.steps
        ],
        "phone": shown_number(told.phone, reveal=reveal),
        "isPhoneVerified": told.verified,
        "conclusion": told.conclusion,
    }


def _table(user_id: str, told: Explanation) -> Table:
    table = Table(title=Text(f"What happened to user {user_id}"))
    for heading in ("#", "when (UTC)"):
        table.add_column(heading, no_wrap=True)
    for heading in ("who", "did what"):
        table.add_column(heading, overflow="fold")
    for step in told.steps:
        table.add_row(str(step.sequence), shown_time(step.at), Text(step.creator), Text(step.words))
    return table
