"""What all commands share: how the application is opened, and how answers and errors are shown."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from humanuser import (
    By,
    CodeOwner,
    CodeUnreadable,
    CodeVault,
    Details,
    DomainError,
    PhoneNumber,
    SealedCode,
    StoreError,
    VerificationCode,
)
from humanuser_adapters.application import Application, has_events
from humanuser_adapters.cli.senders import budget_of, sender_of
from humanuser_adapters.settings import Settings
from humanuser_adapters.telemetry import Telemetry
from humanuser_adapters.vault import AesGcmVault, Keys
from humanuser_adapters.zitadel.codes import WithZitadelCodes, zitadel_keys

WIDTH = 150
"""Of what goes into a pipe, where nobody can see how wide the screen is."""

out = Console(width=None if sys.stdout.isatty() else WIDTH)
err = Console(stderr=True)

BY = By("cli")
"""Who is recorded as having asked."""


class Exit(IntEnum):
    """What the exit codes mean."""

    OK = 0
    """Done."""
    REFUSED = 1
    """Refused by a rule; of `verify`: something differs."""
    USAGE = 2
    """Wrong usage, or wrong settings."""
    UNAVAILABLE = 3
    """The database, or a file that is to be read or written, cannot be used."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C or SIGTERM, in a clean way."""


DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        "-d",
        help="The SQLite file, or a postgresql:// URL.",
        envvar="HUMANUSER_DATABASE",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]
RevealOption = Annotated[bool, typer.Option("--reveal", help="Show whole numbers. Codes stay hidden: they are sealed.")]
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="The user's id.")]


def fail(exit_code: Exit, message: str) -> NoReturn:
    """Say why on stderr and end."""
    err.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    raise typer.Exit(exit_code)


def read_settings(**given: Any) -> Settings:
    """The settings of the environment, but for what is *given* on the command line (and not None)."""
    given = {name: value for name, value in given.items() if value is not None}
    for stranger in Settings.strangers(os.environ):
        err.print(f"warning: there is no setting {stranger}, which the environment has", highlight=False)
    try:
        return Settings(**given)
    except ValidationError as error:
        options = {name: f"--{name.replace('_', '-')}" for name in given}
        fail(Exit.USAGE, _problems(error, {**Settings.variables(), **options}))


@contextmanager
def opened(
    settings: Settings, *, make: bool = False, needs_keys: bool = False, telemetry: Telemetry | None = None
) -> Iterator[Application]:
    """The application on the database of *settings*; it is made if *make*. Errors end the command.

    If the key file is lost, commands without codes work; with *needs_keys* it is an error at once.
    """
    if not make and settings.sqlite_file and not settings.sqlite_file.exists():
        fail(Exit.UNAVAILABLE, f"there is no database {settings.sqlite_file}; name one with --database")
    with errors_told(), _application(settings, telemetry or Telemetry(), needs_keys=needs_keys) as application:
        yield application


@contextmanager
def errors_told() -> Iterator[None]:
    """Errors of the application as messages and exit codes."""
    try:
        yield
    except DomainError as refusal:
        fail(Exit.REFUSED, str(refusal))
    except (StoreError, CodeUnreadable) as error:
        fail(Exit.UNAVAILABLE, str(error))
    except ValidationError as error:
        fail(Exit.USAGE, _problems(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EPIPE):
            raise  # it is the output, where nobody reads on, or no more fits
        fail(Exit.USAGE, str(error))
    except ValueError as error:
        fail(Exit.USAGE, str(error))
    except ModuleNotFoundError as missing:
        if missing.name != "psycopg":
            raise
        fail(Exit.USAGE, "PostgreSQL needs psycopg: pip install 'humanuser[postgresql]'")


def show_details(details: Details, *, as_json: bool, **more: str) -> None:
    """What a command answered."""
    show({**more, **details_fields(details)}, as_json=as_json)


def details_fields(details: Details) -> dict[str, Any]:
    """The details as names and values."""
    return {
        "sequence": details.sequence,
        "creationDate": details.creation_date.isoformat(),
        "changeDate": details.change_date.isoformat(),
        "resourceOwner": details.resource_owner,
    }


def shown_number(number: PhoneNumber | None, *, reveal: bool) -> str:
    """The number, masked unless *reveal*; empty: there is none."""
    if number is None:
        return ""
    return number.e164 if reveal else number.masked


def shown_time(moment: datetime) -> str:
    """A time in a table, to the second."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def show(answer: dict[str, Any], *, as_json: bool) -> None:
    """An answer of names and values."""
    if as_json:
        show_json(answer)
    else:
        width = max(map(len, answer))
        for name, value in answer.items():
            out.print(Text(f"{name:<{width}}  {value}"), soft_wrap=True)


def show_json(answer: object) -> None:
    """An answer for programs: one line."""
    typer.echo(json.dumps(answer))


def warn_of_readers(file: Path) -> None:
    """Warn if every user of the machine may read *file*."""
    if file.exists() and file.stat().st_mode & stat.S_IROTH:
        err.print(f"warning: every user of this machine can read {file}; chmod 600 it", highlight=False, soft_wrap=True)


def _application(settings: Settings, telemetry: Telemetry, *, needs_keys: bool) -> Application:
    if settings.sqlite_file:
        warn_of_readers(settings.sqlite_file)
    try:
        keys = _keys(settings)
    except LostKeys as lost:
        if needs_keys:
            fail(Exit.UNAVAILABLE, str(lost))
        vault = VaultWithoutKeys(str(lost))
        return Application(settings.database, vault, instance_id=settings.instance_id, telemetry=telemetry)

    def clock_of_application() -> datetime:  # there is none before the first SMS is sent
        return application.clock()

    application = Application(
        settings.database,
        _vault(settings, keys),
        sender=sender_of(settings, telemetry, clock=clock_of_application),
        policy=settings.read_policy(),
        instance_id=settings.instance_id,
        sms_workers=settings.sms_workers,
        sms_lease=timedelta(seconds=settings.sms_lease_seconds),
        sms_budget=budget_of(settings, keys),
        standstill=timedelta(seconds=settings.standstill_seconds),
        outbox_retention=timedelta(days=settings.outbox_retention_days) or None,
        telemetry=telemetry,
    )
    return application


def _vault(settings: Settings, keys: Keys) -> CodeVault:
    vault = AesGcmVault(keys)
    if settings.zitadel_keys is None:
        return vault
    return WithZitadelCodes(vault, zitadel_keys(settings.zitadel_keys.get_secret_value()))


def _keys(settings: Settings) -> Keys:
    if settings.code_keys is not None:
        return Keys.parse(settings.code_keys.get_secret_value())
    path = settings.key_file
    if path is None:
        fail(Exit.USAGE, "all processes on one database share keys: set HUMANUSER_CODE_KEYS or HUMANUSER_CODE_KEY_FILE")
    try:
        warn_of_readers(path)
        if not path.exists() and has_events(settings.database) and not path.exists():  # none was made meanwhile
            raise LostKeys(
                f"the key file {path} is missing, but the database holds events. Restore the file from its backup, or "
                "make a new key with `humanuser key add`: then pending codes no longer work, and users ask for new ones"
            )
        return Keys.of_file(path)
    except OSError as error:
        fail(Exit.UNAVAILABLE, f"the key file {path} cannot be used: {error.strerror}")


class LostKeys(Exception):
    """The key file is missing beside existing events."""


class VaultWithoutKeys:
    """In place of a vault: refuses every use of a key."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def seal(self, code: VerificationCode, owner: CodeOwner) -> NoReturn:  # noqa: ARG002 - as a vault
        self._refuse()

    def open(self, sealed: SealedCode, owner: CodeOwner) -> NoReturn:  # noqa: ARG002 - as above
        self._refuse()

    def fingerprint(self, request: bytes) -> NoReturn:  # noqa: ARG002 - as above
        self._refuse()

    def is_fingerprint(self, fingerprint: str, request: bytes) -> NoReturn:  # noqa: ARG002 - as above
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise CodeUnreadable(self._reason)


def _problems(error: ValidationError, names: Mapping[str, str] = MappingProxyType({})) -> str:
    """What is wrong, in one line, without the values: they may be secrets. *names* are what people call it."""
    problems = error.errors(include_input=False, include_url=False)
    where = [".".join(map(str, problem["loc"])) or "settings" for problem in problems]
    return "; ".join(f"{names.get(one, one)}: {problem['msg']}" for one, problem in zip(where, problems, strict=True))
