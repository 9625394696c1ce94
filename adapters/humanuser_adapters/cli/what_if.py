"""``humanuser what-if``."""

from __future__ import annotations

from datetime import datetime, time
from pathlib import Path
from typing import Annotated

import typer

from humanuser import Policy, UnreadableEvent
from humanuser_adapters.application import Application
from humanuser_adapters.cli.moments import moment_of
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
    begin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="When the policy comes into force: a day, which means its begin, or a time, such as "
            "2026-05-10T12:00+02:00; UTC unless it names a zone.",
            show_default=False,
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="When it ends to be in force, likewise.", show_default=False),
    ] = None,
    picture: PictureOption = None,
    reveal: RevealOption = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    since, until = moment_of("--from", begin, in_day=time.min), moment_of("--to", end, in_day=time.min)
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
    if not findings.complete:
        raise typer.Exit(Exit.INTERRUPTED)


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
