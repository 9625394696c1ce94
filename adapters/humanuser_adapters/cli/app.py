"""All commands."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from humanuser_adapters.cli import (
    backup,
    demo,
    events,
    key,
    operations,
    outbox,
    parked,
    past,
    phone,
    serve,
    token,
    user,
    what_if,
)
from humanuser_adapters.database_name import hide_credentials


class Commands(TyperGroup):
    """Commands whose usage errors repeat no URL: one that stands in the wrong place may hold a password."""

    def invoke(self, ctx: Any) -> Any:  # Any: as in the library
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(message := getattr(error, "message", None), str):
                error.message = hide_credentials(message)  # type: ignore[attr-defined]  # it has one
            raise


app = typer.Typer(
    cls=Commands,
    name="humanuser",
    help="The phone of a human user: change it, prove it with a code, remove it, and see all that happened.",
    epilog="Exit codes: 0 done, 1 refused by a rule, 2 wrong usage or settings, 3 the store cannot be used,"
    " 130 stopped.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command(
    "serve", epilog="Example: humanuser serve --development --sms console", help="Serve the API, and send SMS."
)(serve.serve)
app.command(
    "demo",
    epilog="Example: humanuser demo --phone +41791234567",
    help="Change and prove a user's phone on a server started for it, and show every step. Nothing is left behind.",
)(demo.demo)
app.add_typer(user.app, name="user")
app.add_typer(phone.app, name="phone")
app.add_typer(token.app, name="token")
app.add_typer(key.app, name="key")
app.command(
    "history", epilog="Example: humanuser history 264170294872178691 --reveal", help="Show all that happened to a user."
)(operations.history)
app.command(
    "show",
    epilog="Example: humanuser show 264170294872178691 --at 2026-05-10",
    help="Show a user and the phone, now or as they were.",
)(past.show_user)
app.command(
    "explain",
    epilog="Example: humanuser explain 264170294872178691 --at 2026-05-10T12:00Z",
    help="Tell in plain words what happened to a user, and why the phone is verified, or not.",
)(past.explain_user)
app.command(
    "import",
    epilog="Example: humanuser import zitadel-events.csv.gz --skip-bad bad.jsonl",
    help=(
        "Bring in users' events, as a ZITADEL database or this one exports them. Nobody is sent anything for them.\n\n"
        "Every history comes in whole or not at all: all lines are looked at before the first one is stored. The "
        "same file again adds nothing; a run that was stopped goes on where it was."
    ),
)(events.import_)
app.command(
    "replay",
    epilog="Example: humanuser replay --from postgresql://zitadel.example.com/zitadel --follow",
    help=(
        "Bring in users' events straight from a running ZITADEL's database, which is only read.\n\n"
        "No event is missed, however late it commits. A repeated or interrupted run resumes, and --follow retries "
        "while a database is unavailable."
    ),
)(events.replay)
app.command(
    "export",
    epilog="Example: humanuser export events.jsonl.zst",
    help=(
        "Write all users' events into a file, as psql writes those of a ZITADEL database.\n\n"
        "Whole numbers are in it, and sealed codes. An export that fails leaves no file."
    ),
)(events.export)
app.command(
    "verify",
    epilog="Example: humanuser verify --json",
    help="Replay all events, and tell where the read models say something else. Exit code 1: they do somewhere.",
)(events.verify)
app.command(
    "rebuild",
    epilog="Example: humanuser rebuild --database humanuser.sqlite",
    help="Make the read models anew from all events. Nothing is sent, and no event is added.",
)(events.rebuild)
app.command(
    "backup",
    epilog="Example: humanuser backup /backups/humanuser-2026-05-10.sqlite",
    help=(
        "Back up the SQLite database while servers use it. Keys of codes are not in it: back up the key file, too.\n\n"
        "The backup is checked and for its owner alone. One that fails or is stopped leaves no file."
    ),
)(backup.backup)
app.command(
    "restore",
    epilog="Example: humanuser restore /backups/humanuser-2026-05-10.sqlite --force",
    help=(
        "Restore the SQLite database from a backup. Stop every process that has it open first.\n\n"
        "The backup is checked before anything changes. Providers are asked for each SMS that was waiting in it before "
        "that SMS is sent: it may have been sent since the backup."
    ),
)(backup.restore)
app.command(
    "status",
    epilog="Example: humanuser status --json",
    help="Tell how far what follows the events is behind, and what waits for people.",
)(operations.status)
app.command(
    "repair-positions",
    epilog="Example: humanuser repair-positions",
    help=(
        "Raise the counter of positions to those in use, after a restore or copy that left it behind.\n\n"
        "Every other command does the same at its start, if its role may."
    ),
)(operations.repair_positions)
app.command(
    "what-if",
    epilog="Example: humanuser what-if --policy strict.json --picture refused.svg",
    help="Replay all histories against another policy, and show which commands it would have refused.",
)(what_if.try_policy)
app.add_typer(outbox.app, name="outbox")
app.add_typer(parked.app, name="parked")
