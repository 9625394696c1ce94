"""The OpenAPI document, and a page to read it that loads nothing from anywhere."""

from __future__ import annotations

import html
import json
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from humanuser_adapters.api.methods import METHODS, Method
from humanuser_adapters.api.rules import Field, Kind, name_of, text_rule

_REFERENCE = "#/components/schemas/{}"

_STATUS: dict[str, Any] = {
    "type": "object",
    "description": "A google.rpc.Status.",
    "properties": {
        "code": {"type": "integer", "format": "int32"},
        "message": {"type": "string"},
        "details": {
            "type": "array",
            "items": {"type": "object", "properties": {"@type": {"type": "string"}}, "additionalProperties": True},
        },
    },
}

_ORGANIZATION = (
    "x-zitadel-orgid",
    "The organization of the user, if it is not the caller's. The caller needs permission there.",
)
_COMMAND_KEY = (
    "Idempotency-Key",
    "A text of the caller's choice. A request that is sent again with it is answered as the first one was.",
)


def _schemas() -> dict[str, Any]:
    """The schema of every message that a method takes or gives, by its name."""
    schemas: dict[str, Any] = {}
    waiting: list[Kind] = [kind.DESCRIPTOR for method in METHODS for kind in (method.request, method.response)]
    while waiting:
        kind = waiting.pop()
        if name_of(kind) not in schemas:
            schemas[name_of(kind)] = _schema(kind)
            waiting += [field.message_type for field in kind.fields if _is_object(field)]
    return dict(sorted(schemas.items()))


def _schema(kind: Kind) -> dict[str, Any]:
    return {"type": "object", "properties": {field.json_name: _field(field) for field in kind.fields}}


def _field(field: Field) -> dict[str, Any]:
    if _is_object(field):
        return {"$ref": _REFERENCE.format(name_of(field.message_type))}
    if field.message_type:
        return {"type": "string", "format": "date-time"}
    if field.enum_type:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"type": "boolean"}
    if field.type == FieldDescriptor.TYPE_UINT64:
        return {"type": "string", "format": "uint64"}
    rule = text_rule(field)
    limits = {"minLength": rule.shortest, "maxLength": rule.longest} if rule else {}
    examples = {"examples": [rule.example]} if rule and rule.example else {}
    return {"type": "string", **limits, **examples}


def _is_object(field: Field) -> bool:
    return bool(field.message_type) and field.message_type.full_name != Timestamp.DESCRIPTOR.full_name


def document(root_path: str = "") -> dict[str, Any]:
    """The OpenAPI document of the app that is mounted under *root_path*."""
    paths: dict[str, dict[str, Any]] = {}
    for method in METHODS:
        paths.setdefault(method.path, {})[method.verb.lower()] = _operation(method)
    return {
        "openapi": "3.1.0",
        "info": {"title": "humanuser", "version": "v1", "description": "The phone of a human user."},
        "servers": [{"url": root_path or "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**_schemas(), "Status": _STATUS},
        },
    }


def _operation(method: Method) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": method.name,
        "summary": method.summary,
        "tags": [method.service],
        "parameters": _parameters(method),
        "responses": {
            "200": {"description": "OK", "content": _json(name_of(method.response.DESCRIPTOR))},
            "default": {"description": "Refused", "content": _json("Status")},
        },
    }
    if method.verb in ("POST", "PUT"):
        operation["requestBody"] = {"content": _json(name_of(method.request.DESCRIPTOR))}
    return operation


def _parameters(method: Method) -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1, "maxLength": 200}
    headers = [_ORGANIZATION] * bool(method.permission) + [_COMMAND_KEY] * (method.verb != "GET")
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "header", "description": why, "schema": text} for name, why in headers
    ]
    if "{user_id}" in method.path:
        parameters.insert(0, {"name": "user_id", "in": "path", "required": True, "schema": text})
    return parameters


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(name)}}}


def page(openapi: dict[str, Any]) -> str:
    """*openapi* as a page to read."""
    operations = "".join(
        _section(verb, path, operation) for path, item in openapi["paths"].items() for verb, operation in item.items()
    )
    schemas = "".join(
        f"<h3 id='{html.escape(name)}'>{html.escape(name)}</h3>{_code(schema)}"
        for name, schema in openapi["components"]["schemas"].items()
    )
    return _PAGE.format(operations=operations, schemas=schemas)


def _section(verb: str, path: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<li><code>{html.escape(one['name'])}</code> ({one['in']}) {html.escape(one.get('description', ''))}"
        for one in operation["parameters"]
    )
    body = f"<p>Body: {_link(operation['requestBody']['content'])}" if "requestBody" in operation else ""
    answers = "".join(
        f"<li>{status}: {_link(response['content'])}" for status, response in operation["responses"].items()
    )
    return (
        f"<h3>{html.escape(operation['operationId'])}</h3><p>{html.escape(operation['summary'])}"
        f"<pre>{verb.upper()} {html.escape(path)}</pre><ul>{parameters}</ul>{body}<p>Answers:<ul>{answers}</ul>"
    )


def _link(content: dict[str, Any]) -> str:
    name = html.escape(content["application/json"]["schema"]["$ref"].rpartition("/")[2])
    return f"<a href='#{name}'>{name}</a>"


def _code(value: object) -> str:
    return f"<pre>{html.escape(json.dumps(value, indent=2))}</pre>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>humanuser API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }}
pre {{ background: #f4f4f4; padding: .75rem; overflow-x: auto; border-radius: 4px; }}
h3 {{ margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem; }}
</style></head><body>
<h1>humanuser API</h1>
<p>The phone of a human user. Each request carries <code>Authorization: Bearer …</code>.
The same as a document for programs: <a href="openapi.json">openapi.json</a>.
<h2>Methods</h2>{operations}
<h2>Messages</h2>{schemas}
</body></html>
"""
