"""``humanuser what-if``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from humanuser import Policy, UnreadableEvent
from humanuser_adapters.application import Application
from humanuser_adapters.cli.progress import steps
from humanuser_adapters.cli.session import (
    DatabaseOption,
    Exit,
    JsonOption,
    RevealOption,
    errors_told,
    fail,
    opened,
    read_settings,
    show_json,
)
from humanuser_adapters.cli.what_if_findings import Findings, findings_for_programs, show_findings
from humanuser_adapters.cli.what_if_picture import draw, require_drawing
from humanuser_projections import what_if

MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]
"""How a moment can be written; in UTC unless it says otherwise."""

PolicyOption = Annotated[
    str,
    typer.Option("--policy", metavar="POLICY", help="`recommended`, `zitadel`, or a policy file."),
]
PictureOption = Annotated[
    Path | None,
    typer.Option("--picture", help="Draw the refusals over time into this .svg or .png file.", show_default=False),
]


def try_policy(
    policy: PolicyOption,
    since: Annotated[
        datetime | None, typer.Option("--from", formats=MOMENTS, help="When the policy comes into force.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", formats=MOMENTS, help="When it ends to be in force.")
    ] = None,
    picture: PictureOption = None,
    reveal: RevealOption = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay all histories against another policy, and show which commands it would have refused."""
    since, until = _in_utc(since), _in_utc(until)
    if since and until and since >= until:
        fail(Exit.USAGE, "--from must be before --to")
    if picture:
        with errors_told():
            require_drawing(picture)
    settings = read_settings(database=database, policy=policy)
    with opened(settings) as application:
        findings = _tried(application, settings.read_policy(), since, until)
        if as_json:
            show_json(findings_for_programs(findings, reveal=reveal))
        else:
            show_findings(findings, reveal=reveal)
        if picture:
            partial = "" if findings.complete else " (partial)"
            draw(findings.tally, picture, f"What the policy {Path(policy).stem} would have refused{partial}")


def _tried(application: Application, policy: Policy, since: datetime | None, until: datetime | None) -> Findings:
    """What came of all users, or, if somebody stops it, of those so far."""
    findings = Findings()
    with steps() as shown:
        shown.step("replaying", application.head())
        try:
            for user_id in application.user_ids():
                try:
                    history = application.history(user_id)
                except UnreadableEvent:
                    findings.unreadable_users += 1
                    continue
                findings.tally.add_user(list(what_if(history, policy, since=since, until=until)))
                shown.go(len(history))
            findings.complete = True
        except KeyboardInterrupt:
            pass
    return findings


def _in_utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)
