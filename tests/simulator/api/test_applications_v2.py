"""`/applications/v2`: the same applications in the newer shape (contract 4.1, 4.3)."""

import json
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.simulator.api.answers import Reply
from nexmo_dispatch_async.simulator.api.service import BASE_PATH, Service
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_async.simulator.world.tokens import Account, Tokens
from tests.simulator.support import EPOCH, Box

PAYLOADS = Path(__file__).parents[2] / "data" / "payloads" / "applications"
V2 = "/applications/v2"


class Caller:
    def __init__(self, parts: Box) -> None:
        random = SeededRandom(0)
        tokens = Tokens(random)
        self.parts = parts
        self.service = Service(
            engine=parts.engine, account=Account(random), tokens=tokens, random=random, epoch=EPOCH
        )
        self.authorization = "Bearer " + tokens.issue(0, 3599)

    def call(self, method: str, path: str, body: object = None, query: str = "") -> Reply:
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        raw = b"" if body is None else json.dumps(body).encode()
        return self.service.handle(method, BASE_PATH + path, query, headers, raw)


@pytest.fixture
def caller(parts: Box) -> Caller:
    for application in list(parts.engine.applications):
        parts.engine.applications.delete(application)
    return Caller(parts)


def value(reply: Reply) -> Any:
    return json.loads(reply.body)


def example(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_bytes())


def test_create_answers_in_the_newer_shape(caller: Caller) -> None:
    """The example of contract 4.1 comes back as the example of 4.3 says, ids and the private key apart."""
    wanted = example("create_response_v2")

    reply = caller.call("POST", V2, example("create_request_v2"))

    body = value(reply)
    assert (reply.status, reply.headers["api-version"]) == (201, "v2")
    assert body["keys"].pop("private_key").startswith("SIMULATED")
    del wanted["body"]["keys"]["private_key"]
    assert body | {"id": "", "_links": ""} == wanted["body"] | {"id": "", "_links": ""}
    assert body["_links"]["self"]["href"] == f"/v2/applications/{body['id']}"


def test_create_takes_the_flat_fields_of_the_prose(caller: Caller) -> None:
    """Contract 4.1: the newer page's prose still names `name`, `status_url` and `inbound_url`."""
    flat = {"name": "flat", "status_url": "https://a.example/s", "inbound_url": "https://a.example/i"}

    body = value(caller.call("POST", V2, flat))

    assert body["capabilities"]["messages"]["webhooks"] == {
        "status_url": {"address": "https://a.example/s", "http_method": "POST"},
        "inbound_url": {"address": "https://a.example/i", "http_method": "POST"},
    }


@pytest.mark.parametrize("hooks", [{}, {"status_url": {"address": "https://a.example/s"}}])
def test_create_names_the_webhooks_that_are_missing(caller: Caller, hooks: Any) -> None:
    request = {"name": "half", "capabilities": {"messages": {"webhooks": hooks}}}

    reply = caller.call("POST", V2, request)

    missing = {entry["name"] for entry in value(reply)["invalid_parameters"]}
    assert reply.status == 400
    assert missing == {"status_url", "inbound_url"} - hooks.keys()


def test_one_is_read_in_both_shapes_and_deleted(caller: Caller) -> None:
    """They are the same applications under both paths; the private key is shown only once."""
    uuid = value(caller.call("POST", V2, example("create_request_v2")))["id"]

    newer, older = caller.call("GET", f"{V2}/{uuid}"), caller.call("GET", f"/applications/{uuid}")
    deleted, gone = caller.call("DELETE", f"{V2}/{uuid}"), caller.call("GET", f"/applications/{uuid}")

    assert [reply.status for reply in (newer, older, deleted, gone)] == [200, 200, 204, 404]
    assert value(newer)["keys"] == value(older)["keys"] == example("create_request_v2")["keys"]
    assert "capabilities" in value(newer)
    assert "messages" in value(older)


def test_the_list_counts_pages_from_one(caller: Caller) -> None:
    for number in range(5):
        caller.parts.engine.applications.add(f"application {number}", status="http://a.example/")

    body = value(caller.call("GET", V2, query="page=2&page_size=2"))

    assert {key: body[key] for key in ("page", "page_size", "total_items", "total_pages")} == {
        "page": 2,
        "page_size": 2,
        "total_items": 5,
        "total_pages": 3,
    }
    assert [one["name"] for one in body["_embedded"]["applications"]] == ["application 2", "application 3"]
    assert body["_links"].keys() == {"self", "first", "last", "next", "prev"}


def test_an_empty_list_is_one_page(caller: Caller) -> None:
    wanted = example("list_response_v2")["body"]

    body = value(caller.call("GET", V2))

    assert body.keys() == wanted.keys()
    assert (body["page"], body["total_items"], body["total_pages"]) == (1, 0, 1)


@pytest.mark.parametrize("query", ["page=0", "page=x", "page_size=0", "page_size=101", "page=-1"])
def test_pages_out_of_range_are_refused(caller: Caller, query: str) -> None:
    """Contract 4.4."""
    reply = caller.call("GET", V2, query=query)

    assert (reply.status, value(reply)["type"].rpartition("#")[2]) == (400, "list-validation")


@pytest.mark.parametrize("path", [f"{V2}/some-id", V2])
def test_there_is_no_put(caller: Caller, path: str) -> None:
    """Contract 1.1."""
    assert caller.call("PUT", path, {"name": "new"}).status == 405


def test_a_sandbox_account_may_not_list(caller: Caller) -> None:
    """Contract 1.5."""
    caller.parts.settings.sandbox = True

    assert caller.call("GET", V2).status == 403


def test_voice_webhooks_are_shown_under_their_own_capability(caller: Caller) -> None:
    fields = {
        "name": "v",
        "type": "voice",
        "answer_url": "http://a.example/",
        "event_url": "http://a.example/",
    }

    uuid = value(caller.call("POST", "/applications", fields))["id"]

    voice = value(caller.call("GET", f"{V2}/{uuid}"))["capabilities"]["voice"]
    assert voice.keys() == {"webhooks"}
    assert voice["webhooks"]["answer_url"]["http_method"] == "GET"
