"""The pages of reference that follow from the code. ``make docs`` writes them; a test fails when they are stale."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, ForwardRef, get_args

from google.protobuf.message import Message
from pydantic import BaseModel
from typer.core import TyperArgument, TyperGroup, TyperOption
from typer.main import get_command

from humanuser import Event, Fact, LimitReached
from humanuser_adapters.api.methods import METHODS
from humanuser_adapters.api.refusals import REFUSALS
from humanuser_adapters.api.status import HTTP_STATUS
from humanuser_adapters.auth.roles import ROLES
from humanuser_adapters.cli.app import app
from humanuser_adapters.cli.session import Exit
from humanuser_adapters.settings import Settings
from humanuser_adapters.telemetry.measurements import COUNTERS, GAUGES, TIMED

HERE = Path(__file__).parent / "reference"

PUBLIC = {
    "The rules": ("humanuser",),
    "What proves them": ("humanuser.testing",),
    "What follows from the events": ("humanuser_projections",),
    "The whole": (
        "humanuser_adapters.application",
        "humanuser_adapters.async_application",
        "humanuser_adapters.users",
        "humanuser_adapters.host_transaction",
        "humanuser_adapters.settings",
    ),
    "Codes": ("humanuser_adapters.vault", "humanuser_adapters.zitadel.codes"),
    "Events and who follows them": (
        "humanuser_adapters.event_store",
        "humanuser_adapters.event_store.sqlite",
        "humanuser_adapters.event_store.postgresql",
        "humanuser_adapters.event_log",
        "humanuser_adapters.subscription",
        "humanuser_adapters.read_model",
        "humanuser_adapters.rebuild",
    ),
    "Databases": ("humanuser_adapters.database", "humanuser_adapters.sqlite", "humanuser_adapters.postgresql"),
    "Events in and out": (
        "humanuser_adapters.event_row",
        "humanuser_adapters.event_files",
        "humanuser_adapters.replay",
        "humanuser_adapters.zitadel.events",
        "humanuser_adapters.zitadel.users",
    ),
    "SMS": ("humanuser_adapters.sms", "humanuser_adapters.outbox", "humanuser_adapters.send_budget"),
    "The API": (
        "humanuser_adapters.api",
        "humanuser_adapters.api.grpc_server",
        "humanuser_adapters.api.server",
        "humanuser_adapters.auth",
    ),
    "Operations": (
        "humanuser_adapters.telemetry",
        "humanuser_adapters.telemetry.opentelemetry",
        "humanuser_adapters.telemetry.prometheus",
        "humanuser_adapters.log_fields",
        "humanuser_adapters.log_formats",
    ),
}
"""Every public module, by what it is for; a module that is not here is private."""


def events() -> str:
    """Every event: its stored type, its older names, its payload, what it means."""
    rows = []
    for fact in (fact for fact in get_args(Event) if issubclass(fact, Fact)):
        names = "<br>".join(f"`{name}`" for name in (fact.type, *fact.legacy_types))
        payload = ", ".join(f"`{field.alias}`" for field in fact.model_fields.values()) or "none"
        rows.append(f"| `{fact.__name__}` | {names} | {payload} | {first_line(fact)} |")
    return _page(
        """
        # Events

        Stored types are ZITADEL's and never change. The first name is the one written; the others are read as well. Fields that are
        empty are not stored, fields that we do not know are ignored. An event of any other type is kept as it came, as an
        `UnknownEvent`, and counts in the sequence.

        Each event is stored with: position, instance_id, aggregate_type (`user`), aggregate_id (the user's id), sequence, event_type,
        revision (2), created_at, creator, owner, payload, in_tx_order, command_id, fingerprint (of the request that the command id names).

        | class | stored type | payload | from now on |
        |---|---|---|---|
        """,
        rows,
        """
        A code is stored sealed: `CryptoType` (0), `Algorithm` (`AES-256-GCM`), `KeyID`, `Crypted` (base64 of nonce, ciphertext and tag).
        `expiry` is in nanoseconds from the event's time, 0 never expires.
        """,
    )


def refusals() -> str:
    """Every refusal of every command, in code and words."""
    rows = [
        f"| {command} | `{refusal.__name__}` | {answer.code.value} {answer.code.name} | {HTTP_STATUS[answer.code]} | "
        f"`{answer.id}` | {refusal.message} |"
        for command, answers in REFUSALS.items()
        for refusal, answer in answers.items()
    ]
    limits = ", ".join(f"`{limit.__name__}`" for limit in LimitReached.__subclasses__())
    return _page(
        """
        # Refusals

        What a command refuses, and how the API says so. Ids that begin with `HU-` are ours, the others are ZITADEL's. A message ends
        with its id in parentheses, and a detail of type `zitadel.v1.ErrorDetail` holds both apart. `PhoneInvalid` has kinds that
        say in their message what is wrong; they share its id.

        | command | refusal | code | HTTP | id | message |
        |---|---|---|---|---|---|
        """,
        rows,
        f"""
        Limits ({limits}) say in `Retry-After` and in `google.rpc.RetryInfo` how long to wait, where waiting helps.

        Before any command, in this order: not routed (404 code 5, 405 code 12), malformed JSON (400 code 3), not authenticated (401
        code 16), no part in the organization (404 code 5, `AUTHZ-cdgFk`), no permission (403 code 7, `AUTH-5mWD2`), a field's rule
        (400 code 3, without details). A body above 4 MiB is 429 code 8, and one above 64 KiB is read
        only of somebody who is authenticated. A store that cannot be used is 503 code 14, a history that cannot be read is 500 code 15.
        A code whose key is gone is 400 code 9: the user asks for a new one.
        """,
    )


def settings() -> str:
    """Every setting: its variable, its default, what it means."""
    prefix = Settings.model_config["env_prefix"]
    rows = [
        f"| `{prefix}{name.upper()}` | {_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return _page(
        """
        # Settings

        Read once from the environment. An option of the command line wins.

        | variable | default | meaning |
        |---|---|---|
        """,
        rows,
        """
        A policy file is JSON and holds what differs from the recommended policy, such as
        `{"code_lifetime": "PT5M", "attempts_per_code": 3, "phone": {"allowed_countries": [41, 49]}}`.
        """,
    )


def command_line() -> str:
    """Every command of ``humanuser``, with its arguments and options."""
    rows = ["", *(line for path, command in _commands(get_command(app), ()) for line in _command(path, command))]
    exits = "\n        ".join(
        f"| {code.value} | {text} |" for code, text in zip(Exit, _docs_of_members(Exit), strict=True)
    )
    roles = "\n        ".join(f"| `{role}` | {_names(sorted(granted))} |" for role, granted in ROLES.items())
    return _page(
        """
        # Command line

        `pip install 'humanuser[cli]'` brings it; from a checkout, `make` puts it into `.venv/bin`. `humanuser COMMAND --help` tells the
        same. What is not given comes from [the environment](settings.md), also `--database`. Times are ISO 8601, in UTC unless they
        name a zone.
        """,
        rows,
        f"""
        ## Exit codes

        | code | meaning |
        |---|---|
        {exits}

        ## The token file

        `humanuser token add` writes it: TOML, with a table for each token. A running server takes changes in. Take a table out, and its
        token is worth nothing.

        ```toml
        [[token]]
        sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        user = "admin"
        organization = "acme"
        roles = ["ORG_OWNER"]
        ```

        Roles hold in the organization of the user, those of `IAM_` in all. Another word is refused.

        | role | permissions |
        |---|---|
        {roles}
        """,
    )


def api() -> str:
    """Every method of the API."""
    rows = [
        f"| `{method.service}`<br>{method.name} | `{method.verb} {method.path}` | {method.permission or 'authenticated'} | "
        f"{_fields(method.request, method.path)} | {_fields(method.response)} |"
        for method in METHODS
    ]
    return _page(
        """
        # API

        As ZITADEL's API speaks it. `x-zitadel-orgid` chooses the organization; without it, it is the caller's own. The permission is
        needed there. `Idempotency-Key` makes a request that is sent again the same one. A running server shows all fields at `/docs` and
        `/openapi.json`.

        | wire | request |
        |---|---|
        | REST | as in the table below, with JSON |
        | gRPC | HTTP/2 with prior knowledge, or TLS; with health and reflection |
        | gRPC-Web | `POST /{service}/{method}` with `application/grpc-web`, `+proto` or `-text` |
        | Connect | `POST /{service}/{method}` with `application/json` or `application/proto`; unary |

        All are on one port and give the same answers and errors; headers are the same everywhere. A deadline (`grpc-timeout`,
        `connect-timeout-ms`) is kept. `x-request-id` is what
        the log calls a request, and the answer has it too; without one it is made. Pages of any origin may call gRPC-Web and Connect.

        | method | REST | permission | fields | answer |
        |---|---|---|---|---|
        """,
        rows,
        """
        `details` always has `sequence` (a string), `creationDate`, `changeDate` and `resourceOwner`. Empty, false and zero fields are left
        out. After a command they are those of its last event; on a read those of the last event that shows, which events about
        codes do not. The methods of `zitadel.user.v2` find users of all organizations; users need no permission for their own phone,
        but to vouch for a number or to be given a code, `user.write` in the user's organization is needed.
        """,
    )


def metrics() -> str:
    """Everything that is measured."""
    rows = [
        *(f"| `{one.name}` | histogram | s | {_names(one.labels)} | {one.description} |" for one in TIMED),
        *(f"| `{one.name}` | counter | {one.unit} | {_names(one.labels)} | {one.description} |" for one in COUNTERS),
        *(f"| `{one.name}` | gauge | {one.unit} | {_names(one.labels)} | {one.description} |" for one in GAUGES),
    ]
    return _page(
        """
        # Metrics

        [How to observe a server](../how-to/observe.md) says where they are found. For Prometheus dots are underscores, and names of
        seconds end with `_seconds`.

        | name | kind | unit | labels | meaning |
        |---|---|---|---|---|
        """,
        rows,
        """
        A histogram counts as well: how often, by all of its labels. `error.type` is the class of the refusal or of the error, and is
        left out where there was none. Gauges tell of the database, so every server that shares it tells the same: take the
        maximum, not the sum. `humanuser.clock.skew` alone is of each server.
        """,
    )


def python_api() -> str:
    """Every public name, and what is promised of names."""
    lines: list[str] = []
    for purpose, modules in PUBLIC.items():
        lines += [f"## {purpose}", ""]
        for module in map(importlib.import_module, modules):
            names: Sequence[str] = module.__all__
            lines += [f"### `{module.__name__}`", "", first_line(module), ""]
            lines += [*(_entry(module, name) for name in names), ""]
    return _page(
        """
        # Python API

        All that is public: the names in the `__all__` of these modules, and of their classes what does not begin with an underscore.
        Every other module and name is private and may change in any version.
        [What a version promises](../explanation/versions.md) holds for this page.

        A name is a class, a function, an error, a choice (of an enum), a port (a protocol to implement), a type (an alias) or a constant.
        `…` stands for a default that does not fit here.
        """,
        ["", *lines[:-1]],
    )


def first_line(thing: object, module: ModuleType | None = None, name: str = "") -> str:
    """What *thing* says first of itself; of what cannot have a docstring, what is written below *name* in *module*."""
    thing = inspect.unwrap(thing) if callable(thing) else thing  # of a cache
    if isinstance(thing, type | FunctionType | ModuleType):
        text = thing.__doc__ or ""
        if isinstance(thing, type) and text.startswith(f"{thing.__name__}("):
            text = ""  # a dataclass without one
    else:
        text = _doc_below(module, name) if module else ""
    return inspect.cleandoc(text).partition("\n")[0]


PAGES: dict[str, Callable[[], str]] = {
    "events.md": events,
    "refusals.md": refusals,
    "settings.md": settings,
    "command-line.md": command_line,
    "api.md": api,
    "metrics.md": metrics,
    "python-api.md": python_api,
}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


def _page(before: str, rows: list[str], after: str = "") -> str:
    parts = (textwrap.dedent(before).strip(), "\n".join(rows), "", textwrap.dedent(after).strip())
    return "\n".join(parts).rstrip() + "\n"


def _entry(module: ModuleType, name: str) -> str:
    thing = getattr(module, name)
    return f"- {_kind(thing)} `{name}{_signature(thing)}`: {first_line(thing, module, name)}{_methods(thing)}"


def _kind(thing: Any) -> str:  # Any: whatever has a name
    if isinstance(inspect.unwrap(thing), FunctionType):
        return "function"
    if not isinstance(thing, type):
        return "type" if callable(thing) or get_args(thing) else "constant"
    if issubclass(thing, BaseException):
        return "error"
    if issubclass(thing, Enum):
        return "choice"
    return "port" if getattr(thing, "_is_protocol", False) else "class"


def _signature(thing: Any) -> str:  # Any: as above
    if _kind(thing) not in {"class", "function"} or inspect.isabstract(thing):
        return ""
    texts: dict[str, object] = {}
    for kind in reversed(getattr(thing, "__mro__", ())):
        texts |= vars(kind).get("__annotations__", {})
    parameters = [
        one.replace(
            annotation=_written(texts.get(name, one.annotation)),
            default=one.default if type(one.default) in _PLAIN or one.default is _EMPTY else _Text("…"),
        )
        for name, one in _parameters(thing)
    ]
    if any(one.annotation is _EMPTY for one in parameters):
        return ""  # it is another library's
    answer = inspect.signature(thing).return_annotation
    return str(inspect.Signature(parameters, return_annotation=_Text(answer) if _kind(thing) == "function" else _EMPTY))


def _parameters(thing: Any) -> Iterator[tuple[str, inspect.Parameter]]:  # Any: as above
    if isinstance(thing, type) and issubclass(thing, BaseModel):  # their own signature has the names of what is stored
        for name, field in thing.model_fields.items():
            default = _EMPTY if field.is_required() else field.default
            yield name, inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
    else:
        yield from inspect.signature(thing).parameters.items()


_EMPTY = inspect.Parameter.empty
_PLAIN = (type(None), bool, int, str)


class _Text(str):
    """What is shown as it is, and not as a text in quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def _written(annotation: object) -> object:
    """*annotation* as it is written in the code, without what only checks it."""
    if annotation is _EMPTY:
        return _EMPTY
    text = annotation.__forward_arg__ if isinstance(annotation, ForwardRef) else str(annotation)
    return _Text(re.sub(r"^Annotated\[(.+?), .*\]$", r"\1", text))


def _methods(thing: object) -> str:
    if not isinstance(thing, type) or issubclass(thing, Enum | BaseException):
        return ""
    names = [
        name
        for name, one in vars(thing).items()
        if not name.startswith(("_", "test_")) and isinstance(one, FunctionType | classmethod)
        if not any(mark.startswith("hypothesis_stateful") for mark in vars(one))  # the rules of a machine
    ]
    return f" Methods: {_names(names)}." if names else ""


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The commands below *command*, by their words. Any: which click they are of is typer's own matter."""
    if not isinstance(command, TyperGroup):
        yield path, command
        return
    for name, one in command.commands.items():
        yield from _commands(one, (*path, name))


def _command(path: tuple[str, ...], command: Any) -> list[str]:
    arguments = [one for one in command.params if isinstance(one, TyperArgument)]
    usage = " ".join(["humanuser", *path, *(str(one.metavar or one.name).upper() for one in arguments)])
    options = [one for one in command.params if isinstance(one, TyperOption)]
    return [
        f"## `{usage}`\n",
        f"{' '.join(str(command.help).split())}\n",
        "| option | meaning |\n|---|---|",
        *(f"| {_names([*one.opts, *one.secondary_opts])} | {one.help} |" for one in options),
        "",
    ]


def _docs_of_members(kind: type[Enum]) -> list[str]:
    """The text that stands below each member."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    body = definition.body[1:] if isinstance(definition, ast.ClassDef) else []
    texts = [statement.value for statement in body if isinstance(statement, ast.Expr)]
    return [str(text.value) for text in texts if isinstance(text, ast.Constant)]


def _doc_below(module: ModuleType, name: str) -> str:
    """The text that stands below the assignment of *name* in *module*, or in the one that *module* has it from."""
    body = ast.parse(inspect.getsource(module)).body
    for statement, following in itertools.pairwise(body):
        if isinstance(statement, ast.ImportFrom) and any(one.name == name for one in statement.names):
            return _doc_below(importlib.import_module(str(statement.module)), name)
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
            if named and isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                return str(following.value.value)
    return ""


def _names(labels: Sequence[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _default(value: object) -> str:
    return "" if value is None else f"`{value}`"


def _fields(kind: type[Message], path: str = "") -> str:
    return ", ".join(f"`{field.json_name}`" for field in kind.DESCRIPTOR.fields if f"{{{field.name}}}" not in path)


if __name__ == "__main__":
    main()
