"""The pages of reference that follow from the code. ``make docs`` writes them; a test fails when they are stale."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from google.protobuf.message import Message

from humanuser import Event, Fact, LimitReached
from humanuser_adapters.api.methods import METHODS
from humanuser_adapters.api.refusals import REFUSALS
from humanuser_adapters.api.status import HTTP_STATUS
from humanuser_adapters.settings import Settings
from humanuser_adapters.telemetry.measurements import GAUGES, TIMED

HERE = Path(__file__).parent / "reference"


def events() -> str:
    """Every event: its stored type, its older names, its payload, what it means."""
    rows = []
    for fact in (fact for fact in get_args(Event) if issubclass(fact, Fact)):
        names = "<br>".join(f"`{name}`" for name in (fact.type, *fact.legacy_types))
        payload = ", ".join(f"`{field.alias}`" for field in fact.model_fields.values()) or "none"
        rows.append(f"| `{fact.__name__}` | {names} | {payload} | {_first_line(fact)} |")
    return _page(
        """
        # Events

        Stored types are ZITADEL's and never change. The first name is the one written; the others are read as well. Fields that are
        empty are not stored, fields that we do not know are ignored. An event of any other type is kept as it came, as an
        `UnknownEvent`, and counts in the sequence.

        Each event is stored with: position, instance_id, aggregate_type (`user`), aggregate_id (the user's id), sequence, event_type,
        revision (2), created_at, creator, owner, payload, in_tx_order, command_id.

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
        f"`{answer.id}` | {refusal.text()} |"
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
        (400 code 3, without details). A body above 4 MiB is 429 code 8. A store that cannot be used is 503 code 14, a history that cannot
        be read is 500 code 15.
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
        maximum, not the sum.
        """,
    )


PAGES: dict[str, Callable[[], str]] = {
    "events.md": events,
    "refusals.md": refusals,
    "settings.md": settings,
    "api.md": api,
    "metrics.md": metrics,
}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")


def _page(before: str, rows: list[str], after: str) -> str:
    parts = (textwrap.dedent(before).strip(), "\n".join(rows), "", textwrap.dedent(after).strip())
    return "\n".join(parts) + "\n"


def _first_line(thing: type) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _names(labels: Sequence[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _default(value: object) -> str:
    return "" if value is None else f"`{value}`"


def _fields(kind: type[Message], path: str = "") -> str:
    return ", ".join(f"`{field.json_name}`" for field in kind.DESCRIPTOR.fields if f"{{{field.name}}}" not in path)


if __name__ == "__main__":
    main()
