"""The description of the simulated service, held against its answers; `make soak` does it at length."""

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from nexmo_dispatch_async.simulator import Settings, Simulator
from nexmo_dispatch_async.simulator.api import openapi
from nexmo_dispatch_async.simulator.api.answers import Reply
from nexmo_dispatch_async.simulator.api.service import BASE_PATH, TOKEN_PATH, Service
from nexmo_dispatch_async.simulator.world.faults import FORMS
from nexmo_dispatch_async.workflow import Workflow

REQUESTS = Path(__file__).parents[2] / "data" / "payloads" / "requests"
FORM = "application/x-www-form-urlencoded"
DISPATCH = BASE_PATH + "/dispatch"
APPLICATIONS = BASE_PATH + "/applications"


# ---- the description as a judge


@cache
def description() -> dict[str, Any]:
    return openapi.description()


def resolved(node: Any) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        found: Any = description()
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


@cache
def validator(schema: str) -> Any:
    """Return a validator for a schema as JSON text, whose references lead into the description."""
    whole = {"components": description()["components"], "allOf": [json.loads(schema)]}
    return jsonschema_rs.Draft202012Validator(whole)


def problems(schema: Any, value: Any) -> list[str]:
    return [error.message for error in validator(json.dumps(schema)).iter_errors(value)]


def operation(method: str, path: str) -> Any:
    """Return what the description says of a call; a path with a variable counts only if no other fits."""
    for template in sorted(description()["paths"], key=lambda text: "{" in text):
        parts, wanted = path.split("/"), template.split("/")
        if len(parts) == len(wanted) and all(w in (p, "{id}") for p, w in zip(parts, wanted, strict=True)):
            return description()["paths"][template].get(method.lower())
    return None


def undocumented(method: str, path: str, reply: Reply) -> list[str]:
    """Return everything about an answer that the description does not say."""
    responses = operation(method, path)["responses"]
    response = resolved(responses.get(str(reply.status)) or responses.get(f"{reply.status // 100}XX"))
    if response is None:
        return [f"status {reply.status}"]
    found: list[str] = []
    headers = CIMultiDict(reply.headers)
    for name, raw in response.get("headers", {}).items():
        header = resolved(raw)
        if name in headers:
            found += [f"{name}: {why}" for why in problems(header["schema"], headers[name])]
        elif header["required"]:
            found.append(f"{name} is missing")
    content = response.get("content", {})
    kind = headers.get("Content-Type", "").partition(";")[0]
    if reply.status == 204:
        return found + ([f"a body: {reply.body!r}"] if reply.body or content else [])
    if kind not in content:
        return [*found, f"content type {kind!r}"]
    value = json.loads(reply.body) if kind.endswith("json") else reply.body.decode()
    return found + problems(content[kind]["schema"], value)


# ---- the service


class Caller:
    """A service and the calls that reach it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.sim = Simulator(settings=settings)
        self.service: Service = self.sim._service
        self.application = self.sim.create_application(
            status_url="http://127.0.0.1:9/", inbound_url="http://127.0.0.1:9/"
        )
        self.token = self.service.gateway.tokens.issue(0, 3599)

    def call(
        self,
        method: str,
        path: str,
        body: object = b"",
        *,
        query: str = "",
        kind: str = "application/json",
        **headers: str,
    ) -> tuple[Reply, list[str]]:
        """Return the answer, and what the description does not say of it."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        sent |= {"ApplicationId": self.application.id}
        reply = self.service.handle(method, path, query, CIMultiDict(sent | headers), raw)
        return reply, undocumented(method, path, reply)

    def everything(self) -> Iterator[tuple[str, Reply, list[str]]]:
        """Make every call, right and wrong."""
        one = f"{APPLICATIONS}/{self.application.id}"
        newer = f"{APPLICATIONS}/v2/{self.sim.create_application().id}"
        flat = {"name": "n", "type": "messages", "status_url": "http://a/", "inbound_url": "http://a/"}
        credentials = {"client_id": self.sim.client_id, "client_secret": self.sim.client_secret}
        send = example("sms_text")
        calls: list[tuple[str, str, object, dict[str, str]]] = [
            ("POST", TOKEN_PATH, urlencode(credentials).encode(), {"query": "grant_type=client_credentials"}),
            ("POST", TOKEN_PATH, b"", {"query": "grant_type=client_credentials"}),
            ("POST", TOKEN_PATH, b"", {}),
            ("POST", DISPATCH, send, {}),
            ("POST", DISPATCH, send, {"Authorization": "Bearer wrong"}),
            ("POST", DISPATCH, send, {"ApplicationId": "unknown"}),
            ("POST", DISPATCH, send, {"ApplicationId": ""}),
            ("POST", DISPATCH, send, {"api-version": "v0.1"}),
            ("POST", DISPATCH, send, {"kind": "text/plain"}),
            ("POST", DISPATCH, send["workflow"][0], {}),
            ("POST", DISPATCH, {"template": "x", "workflow": [{}]}, {}),
            ("POST", DISPATCH, b"{", {}),
        ]
        for path, single in ((APPLICATIONS, one), (f"{APPLICATIONS}/v2", newer)):
            calls += [
                ("GET", path, b"", {}),
                ("GET", path, b"", {"query": "page_size=0"}),
                ("POST", path, flat, {}),
                ("POST", path, {}, {}),
                ("POST", path, b"[]", {}),
                ("POST", path, urlencode(flat).encode(), {"kind": FORM}),
                ("GET", single, b"", {}),
                ("GET", path + "/unknown", b"", {}),
                ("DELETE", path + "/unknown", b"", {}),
            ]
        calls += [
            ("PUT", one, {"name": "other", "type": "messages"}, {}),
            ("PUT", one, {"name": "other"}, {}),
            ("PUT", one, {"type": "voice"}, {}),
            ("PUT", APPLICATIONS + "/unknown", {}, {}),
            ("DELETE", one, b"", {}),
            ("DELETE", newer, b"", {}),
        ]
        for method, path, body, how in calls:
            kind = FORM if path == TOKEN_PATH else how.get("kind", "application/json")
            reply, wrong = self.call(method, path, body, **{**how, "kind": kind})
            yield f"{method} {path} {how}", reply, wrong


def example(name: str) -> Any:
    return json.loads((REQUESTS / f"{name}.json").read_bytes())


EXAMPLES = sorted(path.stem for path in REQUESTS.glob("*.json"))


# ---- answers


SWITCHES: list[dict[str, Any]] = [
    {},
    {"accept_bare_step": True},
    {"invalid_parameters": "object"},
    {"credential_error": 500},
    {"token_fault": 500},
    {"quota_limit": 0},
    {"quota_limit": 0, "quota_fault": 500},
    {"fault_form": "kpn", "quota_limit": 5},
    {"fault_form": "xml", "quota_limit": 5},
    {"not_entitled": 401},
    {"not_entitled": 403},
    {"token_type": "BearerToken", "oauth_fields": "older", "sunset": "2030-01-01"},
    {"oauth_fields": "typed", "sandbox": True},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_every_answer_under_every_switch_is_described(switches: dict[str, Any]) -> None:
    service = Caller(Settings(**switches))

    wrong = {call: found for call, _, found in service.everything() if found}

    assert wrong == {}


def test_the_calls_get_every_status_that_is_described_for_them() -> None:
    """Nothing is described that never comes; 405 and 413 are for methods and bodies that no operation has."""
    seen: set[tuple[str, str]] = set()
    for switches in SWITCHES:
        for call, reply, _ in Caller(Settings(**switches)).everything():
            method, path, _ = call.split(" ", 2)
            status = str(reply.status) if reply.status < 500 else "5XX"
            seen.add((operation(method, path)["operationId"], status))
    described = {
        (call["operationId"], status)
        for methods in description()["paths"].values()
        for method, call in methods.items()
        if method != "parameters"
        for status in call["responses"]
    }

    never = {(name, status) for name, status in described - seen if status not in {"405", "413", "5XX"}}
    assert never == set()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", [DISPATCH, TOKEN_PATH])
def test_errors_on_demand_are_described(form: str, path: str) -> None:
    service = Caller()
    service.sim.faults.add({"kind": "error", "form": form, "status": 503, "retry_after": 3})

    reply, wrong = service.call("POST", path, example("sms_text"))

    assert (reply.status, wrong) == (503, [])


@pytest.mark.parametrize(
    ("method", "path"), [("GET", DISPATCH), ("PUT", APPLICATIONS + "/v2"), ("PATCH", TOKEN_PATH)]
)
def test_a_method_that_is_not_described_is_refused_with_those_that_are(method: str, path: str) -> None:
    service = Caller()

    reply = service.service.handle(method, path, "", CIMultiDict({}), b"")

    described = {name.upper() for name in description()["paths"][path] if name != "parameters"}
    assert operation(method, path) is None
    assert reply.status == 405
    assert set(reply.headers["Allow"].split(", ")) == described
    assert problems({"$ref": "#/components/schemas/Problem"}, json.loads(reply.body)) == []


# ---- requests


def accepted_by_description(body: Any) -> bool:
    return not problems({"$ref": "#/components/schemas/Workflow"}, body)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_accepted_exactly_if_the_description_says_so(name: str) -> None:
    """Bare steps and placeholders instead of numbers are refused by both (contract 9.1)."""
    body = example(name)

    reply, wrong = Caller().call("POST", DISPATCH, body)

    assert wrong == []
    assert (reply.status == 202) == accepted_by_description(body)


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", "+44", " ", 0, -1, 15, 86401, 1.5, 400.0, True, [], {}, "600", "sms", "x" * 51]
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """An example with one to three of its members replaced or taken out."""
    body = deepcopy(example(draw(st.sampled_from(EXAMPLES))))
    for _ in range(draw(st.integers(1, 3))):
        node: Any = body
        parent: Any = None
        key: Any = None
        while isinstance(node, dict | list) and node and (parent is None or draw(st.integers(0, 9)) > 0):
            parent = node
            key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            node = parent[key]
        if parent is not None:
            if isinstance(parent, dict) and draw(st.booleans()):
                del parent[key]
            else:
                parent[key] = draw(ODD)
    return body


SERVICE = Caller()


@given(body=mutated())
def test_what_the_description_accepts_is_accepted(body: Any) -> None:
    """And every other answer is described as well."""
    reply, wrong = SERVICE.call("POST", DISPATCH, body)

    assert wrong == []
    if accepted_by_description(body) and len(body["workflow"]) < 6:
        assert reply.status == 202, reply.body


# ---- what comes back: the callbacks


CALLBACKS = Path(__file__).parents[2] / "data" / "payloads" / "webhooks"


@pytest.mark.parametrize("file", sorted(CALLBACKS.glob("*/*.json")), ids=lambda file: file.stem)
def test_every_callback_is_described(file: Path) -> None:
    """A client in any language gets its types for callbacks from the description as well."""
    hook = description()["webhooks"][file.parent.name.replace("_", "-")]["post"]

    schema = hook["requestBody"]["content"]["application/json"]["schema"]

    assert problems(schema, json.loads(file.read_bytes())) == []
    assert problems(schema, {}) != []


@pytest.mark.parametrize("name", sorted(openapi.description()["components"]["examples"]))
def test_no_example_breaks_a_rule(name: str) -> None:
    """What is copied first must not teach a mistake, not even one that the service lets pass."""
    body = json.dumps(description()["components"]["examples"][name]["value"])
    workflow = Workflow.from_json(body)

    # Examples show a single step, and free text outside of the care window, on purpose.
    assert {finding.rule for finding in workflow.lint()} <= {"single-step", "care-window"}


# ---- where it is


async def test_a_running_simulator_serves_it(sim: Simulator) -> None:
    async with aiohttp.ClientSession() as session, session.get(sim.url + "/openapi.json") as answer:
        served = await answer.json()
        assert answer.status == 200
    alone = openapi.filled(
        description(),
        server=sim.url,
        client_id=sim.client_id,
        client_secret=sim.client_secret,
        application_id=None,
    )
    assert served["servers"] == [{"url": sim.url}]
    assert {path: served["paths"][path] for path in alone["paths"]} == alone["paths"]
    assert {name: served["components"][name] for name in alone["components"] if name != "schemas"} == {
        name: part for name, part in alone["components"].items() if name != "schemas"
    }
    assert alone["components"]["schemas"].items() <= served["components"]["schemas"].items()


async def test_a_body_that_is_too_large_is_refused_as_described(sim: Simulator) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(sim.url + DISPATCH, data=BytesIO(b" " * (2 << 20))) as answer,
    ):
        reply = Reply(answer.status, await answer.read(), dict(answer.headers))

    assert (reply.status, undocumented("POST", DISPATCH, reply)) == (413, [])


def test_every_reference_leads_somewhere() -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    used = set(references(description()))

    assert all(resolved({"$ref": reference}) is not None for reference in used)
    defined = {
        f"#/components/{kind}/{name}"
        for kind, members in description()["components"].items()
        if kind != "securitySchemes"
        for name in members
    }
    assert defined - used == set()
