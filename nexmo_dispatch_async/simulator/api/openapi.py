"""The OpenAPI description of the simulator, which it serves at `/openapi.json`.

The service is described in `openapi.json`; the description of the control API is generated from its routes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

if TYPE_CHECKING:
    from nexmo_dispatch_async.simulator.control.http import Route

__all__ = ["PATH", "description", "filled", "whole"]

PATH: Final = "/openapi.json"
_FILE: Final = Path(__file__).with_suffix(".json")
#: what the examples of the file say instead of the credentials and the application of a simulator
_CLIENT_ID: Final = "CLIENT_ID"
_CLIENT_SECRET: Final = "CLIENT_SECRET"  # noqa: S105 - a placeholder
_APPLICATION_ID: Final = "00000000-0000-0000-0000-000000000000"
_TAG: Final = "control"
# The service also has schemas named `Template` and `Failover`: those of the control API get a prefix.
_PREFIX: Final = "Control."
_REFUSED: Final = {
    "description": "The reason for which the request was refused.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {"type": "string"}},
            }
        }
    },
}


def description() -> dict[str, Any]:
    """Return the description of the service alone: OpenAPI 3.1, paths from the root of the simulator."""
    return msgspec.json.decode(_FILE.read_bytes(), type=dict[str, Any])


def whole(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the description of the service and of the control API.

    Args:
        routes: The routes of the control API.
    """
    listed = list(routes)
    kinds = {kind for route in listed for kind in (route.body, route.answer) if kind is not None}
    order = sorted(kinds, key=lambda kind: kind.__name__)
    schemas, components = _schemas(order)
    schema_of = dict(zip(order, schemas, strict=True))
    document = description()
    document["tags"].append({"name": _TAG, "description": "The control API: state, virtual time, faults."})
    document["components"]["schemas"] |= {_PREFIX + name: schema for name, schema in components.items()}
    for route in listed:
        document["paths"].setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return document


def filled(
    document: dict[str, Any], *, server: str, client_id: str, client_secret: str, application_id: str | None
) -> dict[str, Any]:
    """Return a description whose examples a running simulator accepts as they stand.

    Args:
        document: The description.
        server: Scheme, host and port of the simulator.
        client_id: Its client id.
        client_secret: Its client secret.
        application_id: An application; None keeps the placeholder.
    """
    values = {_CLIENT_ID: client_id, _CLIENT_SECRET: client_secret}
    if application_id is not None:
        values[_APPLICATION_ID] = application_id

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: fill(value) for key, value in cast("dict[str, Any]", node).items()}
        if isinstance(node, list):
            return [fill(value) for value in cast("Sequence[Any]", node)]
        return values.get(node, node) if isinstance(node, str) else node

    return {**fill(document), "servers": [{"url": server}]}


def _schemas(kinds: list[type]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a schema for each kind, and their components under public names."""
    found = msgspec.json.schema_components(
        kinds,
        ref_template=f"#/components/schemas/{_PREFIX}{{name}}",
        schema_hook=lambda _: {"description": "Any JSON value."},
    )
    text = msgspec.json.encode(found).decode()
    text = text.replace(_PREFIX + "_", _PREFIX).replace('"title":"_', '"title":"')
    schemas, components = msgspec.json.decode(text, type=tuple[list[dict[str, Any]], dict[str, Any]])
    for schema in components.values():
        _prepare_for_generators(schema)
    return schemas, {name.removeprefix("_"): schema for name, schema in components.items()}


def _prepare_for_generators(schema: dict[str, Any]) -> None:
    """Change what generators of types misread: values without a type, and defaults, which they make required.

    The default of a body's member is told in its description, and as an example, which tools fill in.
    """
    is_body = schema.get("additionalProperties") is False
    for member in schema["properties"].values():
        for alternative in (member, *member.get("anyOf", ())):
            if "enum" in alternative:
                alternative["type"] = "integer" if isinstance(alternative["enum"][0], int) else "string"
        if "default" not in member:
            continue
        default = member.pop("default")
        if is_body:
            member["examples"] = [default]
        if is_body and default:
            member["description"] = f"`{default}` if it is omitted."


def _operation(route: Route, schema_of: dict[type, dict[str, Any]]) -> dict[str, Any]:
    names: list[str] = re.findall(r"\{(\w+)\}", route.path)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ] + [{"name": name, "in": "query", "schema": _parameter(most)} for name, most in route.query]
    answer = {"type": "string"} if route.answer is None else schema_of[route.answer]
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [_TAG],
        "summary": route.summary,
        "security": [],
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": {route.kind: {"schema": answer}}},
            "4XX": _REFUSED,
        },
    }
    if route.body is not None:
        content = {"application/json": {"schema": schema_of[route.body]}}
        required = any(field.required for field in msgspec.structs.fields(route.body))
        operation["requestBody"] = {"required": required, "content": content}
    return operation


def _parameter(most: int | None) -> dict[str, Any]:
    return {"type": "string"} if most is None else {"type": "integer", "minimum": 0, "maximum": most}


def _operation_id(route: Route) -> str:
    """Return a name such as `getControlWorkflowsByUuid`, which generators of clients need."""
    words = re.sub(r"\{(\w+)\}", r"by_\1", route.path).replace("/", "_").split("_")
    return route.method.lower() + "".join(word.capitalize() for word in words)
