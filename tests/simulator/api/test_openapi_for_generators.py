"""The description is what generators of types read: values have types, and no default makes them required."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from nexmo_dispatch_async.simulator import Simulator
from tests.simulator.api.test_openapi import example, problems
from tests.simulator.control.test_description_steps import nodes, served

WORDS = ("anyOf", "oneOf", "allOf")
TYPED = {"const", "enum", "items", "prefixItems", "properties", "required", "additionalProperties"}


@pytest.fixture
async def document(sim: Simulator) -> dict[str, Any]:
    """The description that a simulator serves: the service and the control API."""
    return await served(sim.url)


def schemas(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each schema of bodies and responses, with the schemas inside of it."""

    def inside(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield schema
        children: list[Any] = list(schema.get("properties", {}).values())
        children += [schema.get("items"), schema.get("additionalProperties"), *schema.get("prefixItems", ())]
        for word in WORDS:
            children += schema.get(word, ())
        for child in children:
            if isinstance(child, dict):
                yield from inside(cast("dict[str, Any]", child))

    for schema in document["components"]["schemas"].values():
        yield from inside(schema)
    for node in nodes(document["paths"]):
        if isinstance(node.get("schema"), dict):
            yield from inside(node["schema"])


async def test_every_schema_and_every_alternative_names_its_type(document: dict[str, Any]) -> None:
    """A generator reads an alternative by itself: without a type it is `unknown`, and takes everything."""
    checked = 0
    for schema in schemas(document):
        alternatives = [alternative for word in WORDS for alternative in schema.get(word, ())]
        assert all({"type", "$ref"} & one.keys() for one in alternatives), schema
        assert "type" in schema or not TYPED & schema.keys(), schema
        checked += 1
    assert checked > 500


async def test_no_object_is_bare(document: dict[str, Any]) -> None:
    """Of an object without described members a generator makes one that can have none."""
    for schema in schemas(document):
        described = {"properties", "additionalProperties", "$ref"} & schema.keys()
        assert "object" not in schema.get("type", ()) or described, schema


async def test_a_member_with_a_default_stays_optional(document: dict[str, Any]) -> None:
    """Generators make a member required whose schema has a default; the default is told in words instead."""
    advance = document["components"]["schemas"]["Control.Advance"]

    assert advance["required"] == ["seconds"]
    assert advance["properties"]["settle"]["description"] == "`5.0` if it is omitted."
    assert advance["properties"]["settle"]["examples"] == [5.0]
    for schema in schemas(document):
        for name, member in schema.get("properties", {}).items():
            assert "default" not in member, (name, schema)


async def test_a_body_is_required_exactly_if_one_of_its_members_is(document: dict[str, Any]) -> None:
    required = {
        path: item["post"]["requestBody"]["required"]
        for path, item in document["paths"].items()
        if path.startswith("/control") and "requestBody" in item.get("post", {})
    }

    assert required["/control/advance"]
    assert required["/control/faults"]
    assert not required["/control/advance_until_idle"]
    assert not required["/control/clear"]


async def test_no_name_of_the_description_is_private(document: dict[str, Any]) -> None:
    names = set(document["components"]["schemas"])
    names |= {schema["title"] for schema in schemas(document) if "title" in schema}

    assert {"Advance", "Control.Advance"} <= names
    assert [name for name in names if re.search(r"(^|\.)_", name)] == []


@pytest.mark.parametrize("steps", range(1, 6))
def test_every_step_but_the_last_carries_failover(steps: int) -> None:
    """The description says so exactly, up to as many steps as there are channels."""
    last = {**example("sms_text")["workflow"][0], "failover": None}
    other = {**last, "failover": {"expiry_time": 600, "condition_status": "read"}}

    def accepted(*workflow: object) -> bool:
        body = {"template": "failover", "workflow": workflow}
        return problems({"$ref": "#/components/schemas/Workflow"}, body) == []

    assert accepted(*[other] * (steps - 1), last)
    assert not accepted(*[other] * steps)
    assert not accepted(*[other] * (steps - 1), last, last)
    assert not accepted(*[other] * (steps - 1), 1)
    assert not accepted()
    assert accepted(*[other] * (steps + 5), last)
