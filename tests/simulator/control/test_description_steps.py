"""The description is what tools ask for: linters, and importers that make requests of its examples."""

import re
import runpy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import aiohttp
import jsonschema_rs
import pytest
from aiohttp import web

from nexmo_dispatch_async.simulator import Simulator
from tests.simulator.conftest import Caller
from tests.support.paths import ROOT
from tests.test_docs import fences

PAGE = ROOT / "docs" / "postman.md"
ROW = re.compile(r"^\| ([^|]+) \| `([A-Z]+) (/[^`]*)` \| ([^|]+) \| [^|]+ \| (\d{3}) \|$", re.MULTILINE)
TOKEN = "/oauth/client_credential/accesstoken"
DISPATCH = "/communication/nexmo/dispatch"
METHODS = {"get", "post", "put", "delete"}


async def served(url: str, **headers: str) -> dict[str, Any]:
    """Return the description that a simulator serves."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(url + "/openapi.json", headers=headers) as answer,
    ):
        return dict(await answer.json())


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], list[Any]]]:
    """Yield method, path, operation and parameters of each call."""
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            yield method, path, item[method], item.get("parameters", []) + item[method].get("parameters", [])


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object of the description."""
    if isinstance(node, dict):
        yield cast("dict[str, Any]", node)
        node = list(cast("dict[str, Any]", node).values())
    if isinstance(node, list):
        for value in cast("Sequence[Any]", node):
            yield from nodes(value)


def examples(document: dict[str, Any], media: dict[str, Any]) -> list[Any]:
    """Return the examples of a body."""
    named = [document["components"]["examples"][name]["value"] for name in media.get("examples", {})]
    return [media["example"]] if "example" in media else named


async def test_the_description_has_what_linters_ask_for(sim: Simulator, caller: Caller) -> None:
    """The recommended rules of Redocly's linter, which also reads what no schema can say."""
    document = await served(sim.url)
    calls = list(operations(document))
    tags = {tag["name"]: tag.get("description") for tag in document["tags"]}
    ids = [call.get("operationId", "") for _, _, call, _ in calls]

    assert document["info"]["license"]["identifier"]
    assert all(server["url"] == sim.url for server in document["servers"])
    assert all(tags.values())
    assert len(calls) > 30
    assert len(set(ids)) == len(ids)
    for method, path, call, parameters in calls:
        where = f"{method} {path}"
        named = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
        codes = {code[0] for code in call["responses"]}
        assert re.fullmatch(r"[a-z][A-Za-z0-9]+", call["operationId"]), where
        assert call["summary"], where
        assert "contract" not in call["summary"], where
        assert "security" in call, where
        assert set(call["tags"]) <= tags.keys(), where
        assert named == set(re.findall(r"\{(\w+)\}", path)), where
        assert {"2", "4"} <= codes, where
        assert not path.endswith("/"), where
        for schemes in call["security"]:
            assert schemes.keys() <= document["components"]["securitySchemes"].keys(), where
    for node in nodes(document):
        for word in ("anyOf", "oneOf", "allOf"):
            assert not isinstance(node.get(word), list) or len(node[word]) > 1, node


async def test_the_examples_of_the_description_are_valid(sim: Simulator, caller: Caller) -> None:
    """A parameter and a body with an example; every body of the service that is JSON has one."""
    document = await served(sim.url)
    checked: list[str] = []

    def check(schema: Any, value: Any, where: str) -> None:
        whole = {"components": document["components"], "allOf": [schema]}
        assert jsonschema_rs.Draft202012Validator(whole).is_valid(value), (where, value)
        checked.append(where)

    for method, path, call, parameters in operations(document):
        for parameter in parameters:
            if "example" in parameter:
                check(parameter["schema"], parameter["example"], f"{path} {parameter['name']}")
        for media in call.get("requestBody", {}).get("content", {}).values():
            for value in examples(document, media):
                check(media["schema"], value, f"{method} {path}")

    assert len(checked) >= 14
    assert checked.count("post /communication/nexmo/dispatch") == 4


def documented() -> list[tuple[str, str, str, str, int]]:
    """Return the steps of the page: what they are called, method, path, name and status."""
    return [
        (step, method, path, name, int(status))
        for step, method, path, name, status in ROW.findall(PAGE.read_text("utf-8"))
    ]


async def send(
    session: aiohttp.ClientSession, document: dict[str, Any], method: str, path: str, token: str
) -> tuple[int, Any, str]:
    """Send a request as an importer makes it of the examples; return status, answer and name."""
    item = document["paths"][path]
    call = item[method.lower()]
    parameters = {p["name"]: p for p in item.get("parameters", []) + call.get("parameters", [])}
    filled = {name: p["example"] for name, p in parameters.items() if "example" in p}
    query = {name: value for name, value in filled.items() if parameters[name]["in"] == "query"}
    headers = {name: value for name, value in filled.items() if parameters[name]["in"] == "header"}
    if call["security"]:
        headers["Authorization"] = f"Bearer {token}"
    body: dict[str, Any] = {}
    for kind, media in call.get("requestBody", {}).get("content", {}).items():
        if values := examples(document, media):
            body = {"json": values[0]} if kind == "application/json" else {"data": values[0]}
    url = document["servers"][0]["url"] + path.format_map(filled)
    async with session.request(method, url, params=query, headers=headers, **body) as answer:
        return answer.status, await answer.json() if answer.status != 204 else None, call["summary"]


async def test_the_steps_of_the_documentation_work_as_imported(sim: Simulator, caller: Caller) -> None:
    """Every step of the page, by the requests that an importer makes of the description's examples."""
    document = await served(sim.url)
    steps, token = documented(), ""
    said: dict[str, tuple[int, str]] = {}

    for step, method, path, _, _ in steps:
        status, answer, name = await send(caller.session, document, method, path, token)
        token = token or answer["access_token"]
        said[step] = status, name

    assert said == {step: (status, name) for step, _, _, name, status in steps}
    assert [step for step, *_ in steps] == [
        "Authentication",
        "Create an application",
        "Check owned applications",
        "Check application details",
        "Update application configuration",
        "Send message with failover",
        "Delete an application",
    ]
    assert (sim.accepted, [a.name for a in sim.applications]) == (1, ["Acme notifications"])


@pytest.fixture
def program(tmp_path: Path) -> dict[str, Any]:
    """The program of the page, which serves Swagger UI."""
    (_, code), *others = fences(PAGE)
    assert others == []
    (tmp_path / "swagger_ui.py").write_text(code, "utf-8")
    return runpy.run_path(str(tmp_path / "swagger_ui.py"))


async def test_swagger_ui_sends_from_the_address_of_the_simulator(
    sim: Simulator, caller: Caller, program: dict[str, Any], tmp_path: Path
) -> None:
    """A browser's requests through the program have the simulator's own origin; others stay refused."""
    files = tmp_path / "package"
    files.mkdir()
    (files / "index.html").write_text("<title>Swagger UI</title>", "utf-8")
    runner = web.AppRunner(program["swagger_ui"](files, sim.url), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    here = f"http://127.0.0.1:{runner.addresses[0][1]}"
    browser = {"Origin": here, "Sec-Fetch-Site": "same-origin"}

    try:
        document = await served(here, **browser)
        async with aiohttp.ClientSession(headers=browser) as session:
            _, answer, _ = await send(session, document, "POST", TOKEN, "")
            sent, _, _ = await send(
                session, document, "POST", "/communication/nexmo/dispatch", answer["access_token"]
            )
            async with (
                session.get(here + "/ui/") as page,
                session.get(here + "/ui/swagger-initializer.js") as script,
            ):
                shown = await page.text(), await script.text()
            async with session.get(
                here + "/control/state", headers={"Origin": "http://evil.example"}
            ) as refused:
                status = refused.status
    finally:
        await runner.cleanup()

    assert document["servers"] == [{"url": here}]
    assert (sent, sim.accepted, status) == (202, 1, 403)
    assert "Swagger UI" in shown[0]
    assert 'url: "/openapi.json"' in shown[1]
