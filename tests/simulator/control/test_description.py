"""The control API says what it can do: in a list, in OpenAPI and in the documentation, all three alike."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jsonschema_rs
import pytest

from nexmo_dispatch_async.simulator import Simulator
from tests.simulator.conftest import Caller
from tests.simulator.control.test_routes import Panel, whatsapp_then_sms

PAGE = Path(__file__).parents[3] / "docs" / "control_api.md"
CALL = re.compile(r"^\| `(GET|POST|DELETE) (/control[^`?]*)[^`]*` \| (?:`([^`]*)`)?", re.MULTILINE)


@pytest.fixture
async def panel(sim: Simulator, caller: Caller) -> Panel:
    """The control panel of `sim`."""
    return Panel(sim, caller.session)


def documented(names: Mapping[str, str] = MappingProxyType({})) -> dict[tuple[str, str], str]:
    """Return the documented body of each call, by method and path; variables without a value are `{}`."""
    return {
        (method, re.sub(r"\{(\w+)\}", lambda variable: names.get(variable[1], "{}"), path)): body
        for method, path, body in CALL.findall(PAGE.read_text("utf-8"))
    }


def answer_of(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    """Return the described content of a response to a call."""
    (operations,) = [
        operations
        for template, operations in document["paths"].items()
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        and method.lower() in operations
        and (template == path or "{" in template)
    ]
    return dict(operations[method.lower()]["responses"]["200"]["content"])


def valid(description: dict[str, Any], schema: Any, value: object) -> bool:
    """Hold a value against a schema whose references lead into the description."""
    whole = {"components": description["components"], "allOf": [schema]}
    return bool(jsonschema_rs.Draft202012Validator(whole).is_valid(value))


async def described(panel: Panel) -> dict[str, Any]:
    """Return the description that is served."""
    _, answer = await panel.get("/openapi.json")
    return dict(answer)


@pytest.mark.parametrize("path", ["/control/", "/control"])
async def test_the_root_lists_every_call(panel: Panel, path: str) -> None:
    """A browser or curl gets the list of routes, and the place of their description."""
    status, answer = await panel.get(path)

    listed = {(route["method"], re.sub(r"\{\w+\}", "{}", route["path"])) for route in answer["routes"]}
    assert status == 200
    assert listed == documented().keys()
    assert all(route["summary"] for route in answer["routes"])
    assert answer["description"] == "/openapi.json"


async def test_openapi_describes_every_call(panel: Panel) -> None:
    document = await described(panel)

    calls = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, operations in document["paths"].items()
        if path.startswith("/control")
        for method in operations
    }
    assert calls == documented().keys()


async def test_the_bodies_of_the_documentation_are_as_described(panel: Panel) -> None:
    """Each is valid, and a misspelt member is not."""
    document = await described(panel)
    checked = 0
    for (method, path), body in documented().items():
        if not body or method != "POST":
            continue
        (template,) = [one for one in document["paths"] if re.sub(r"\{\w+\}", "{}", one) == path]
        content = document["paths"][template]["post"]["requestBody"]["content"]
        schema, value = content["application/json"]["schema"], json.loads(body)

        assert valid(document, schema, value), path
        assert not valid(document, schema, {**value, "mispelt": 1}), path
        checked += 1
    assert checked >= 12


async def test_answers_are_as_described(panel: Panel, caller: Caller) -> None:
    """The answer to every documented call with its documented body; and no schema takes just any object."""
    await caller.send(whatsapp_then_sms())
    names = {"dispatch_uuid": (await panel.only())["uuid"], "message_uuid": await panel.message(), "id": "1"}
    document = await described(panel)
    checked: list[str] = []

    async with Simulator(speed=60.0) as running:
        for (method, path), body in documented(names).items():
            content = answer_of(document, method, path)
            if "application/json" not in content:
                continue
            url = (
                running.url
                if path in {"/control/speed", "/control/pause", "/control/resume"}
                else panel.sim.url
            )
            headers = {"Content-Type": "application/json"}
            async with panel.session.request(method, url + path, data=body, headers=headers) as response:
                answer = await response.json()
            schema = content["application/json"]["schema"]

            assert response.status == 200, (path, answer)
            assert valid(document, schema, answer), (path, answer)
            assert answer == {} or not valid(document, schema, {"misspelt": []}), path
            checked.append(path)
    assert len(checked) == 24


async def test_every_reference_of_the_description_leads_somewhere(panel: Panel) -> None:
    """And no name of the service is taken by the control API."""
    document = await described(panel)

    references = set(re.findall(r'"#/components/([^"]+)"', json.dumps(document)))

    assert references
    for reference in references:
        kind, _, name = reference.partition("/")
        assert name in document["components"][kind], reference
    own = [name for name in document["components"]["schemas"] if name.startswith("Control.")]
    assert {"Control.Advance", "Control.Fault", "Control.Snapshot"} <= set(own)
