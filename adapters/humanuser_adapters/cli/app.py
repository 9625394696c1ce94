"""All commands."""

from __future__ import annotations

import typer

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

app = typer.Typer(
    name="humanuser",
    help="The phone of a human user: change it, prove it with a code, remove it, and see all that happened.",
    epilog="Exit codes: 0 done, 1 refused by a rule, 2 wrong usage or settings, 3 the store cannot be used,"
    " 130 stopped.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command("serve", epilog="Example: humanuser serve --development --sms console")(serve.serve)
app.command("demo", epilog="Example: humanuser demo --phone +41791234567")(demo.demo)
app.add_typer(user.app, name="user")
app.add_typer(phone.app, name="phone")
app.add_typer(token.app, name="token")
app.add_typer(key.app, name="key")
app.command("history", epilog="Example: humanuser history 264170294872178691 --reveal")(operations.history)
app.command("show", epilog="Example: humanuser show 264170294872178691 --at 2026-05-10")(past.show_user)
app.command("explain", epilog="Example: humanuser explain 264170294872178691 --at 2026-05-10T12:00Z")(past.explain_user)
app.command("import", epilog="Example: humanuser import zitadel-events.csv.gz --skip-bad bad.jsonl")(events.import_)
app.command("replay", epilog="Example: humanuser replay --from postgresql://zitadel.example.com/zitadel --follow")(
    events.replay
)
app.command("export", epilog="Example: humanuser export events.jsonl.zst")(events.export)
app.command("verify", epilog="Example: humanuser verify --json")(events.verify)
app.command("rebuild", epilog="Example: humanuser rebuild --database humanuser.sqlite")(events.rebuild)
app.command("backup", epilog="Example: humanuser backup /backups/humanuser-2026-05-10.sqlite")(backup.backup)
app.command("restore", epilog="Example: humanuser restore /backups/humanuser-2026-05-10.sqlite --force")(backup.restore)
app.command("status", epilog="Example: humanuser status --json")(operations.status)
app.command("what-if", epilog="Example: humanuser what-if --policy strict.json --picture refused.svg")(
    what_if.try_policy
)
app.add_typer(outbox.app, name="outbox")
app.add_typer(parked.app, name="parked")
