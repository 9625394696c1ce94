"""The OpenAPI document, and a page to read it that loads nothing from anywhere."""

from __future__ import annotations

import html
import json
from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

from humanuser_adapters.api.messages import Message
from humanuser_adapters.api.methods import METHODS, Method

_REFERENCE = "#/components/schemas/{model}"

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


@cache
def _schemas() -> tuple[dict[type[Message], str], dict[str, Any]]:
    """The name of each message's schema, and the schemas."""
    models = {method.request for method in METHODS} | {method.response for method in METHODS}
    ordered = sorted(models, key=lambda model: model.__name__)
    inputs = [(model, "validation" if model.__name__.endswith("Request") else "serialization") for model in ordered]
    references, definitions = models_json_schema(inputs, ref_template=_REFERENCE)  # type: ignore[arg-type]  # a list of literals
    names = {model: references[model, mode]["$ref"] for model, mode in inputs}  # type: ignore[index]  # as above
    return names, definitions["$defs"]


def document(root_path: str = "") -> dict[str, Any]:
    """The OpenAPI document of the app that is mounted under *root_path*."""
    names, schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for method in METHODS:
        paths.setdefault(method.path, {})[method.verb.lower()] = _operation(method, names)
    return {
        "openapi": "3.1.0",
        "info": {"title": "humanuser", "version": "v1", "description": "The phone of a human user."},
        "servers": [{"url": root_path or "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {**schemas, "Status": _STATUS},
        },
    }


def _operation(method: Method, names: dict[type[Message], str]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": method.name,
        "summary": method.summary,
        "tags": [method.service],
        "parameters": _parameters(method),
        "responses": {
            "200": {"description": "OK", "content": _json(names[method.response])},
            "default": {"description": "Refused", "content": _json("#/components/schemas/Status")},
        },
    }
    if method.verb in ("POST", "PUT"):
        operation["requestBody"] = {"content": _json(names[method.request])}
    return operation


def _parameters(method: Method) -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1, "maxLength": 200}
    headers = [_ORGANIZATION] * (not method.on_oneself) + [_COMMAND_KEY] * (method.verb != "GET")
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "header", "description": why, "schema": text} for name, why in headers
    ]
    if "{user_id}" in method.path:
        parameters.insert(0, {"name": "user_id", "in": "path", "required": True, "schema": text})
    return parameters


def _json(reference: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": reference}}}


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
