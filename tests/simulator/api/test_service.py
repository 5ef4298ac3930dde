"""The HTTP face, without HTTP: every answer a client can get (contract 1-4, 9)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from nexmo_dispatch_async.simulator.api.answers import Reply
from nexmo_dispatch_async.simulator.api.service import BASE_PATH, TOKEN_PATH, Service
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_async.simulator.world.tokens import Account, Tokens
from tests.simulator.support import EPOCH, Box, box, step, workflow

PAYLOADS = Path(__file__).parents[2] / "data" / "payloads"
FORM = "application/x-www-form-urlencoded"


class Caller:
    """Speaks to a gateway; the token is fetched once."""

    def __init__(self, parts: Box) -> None:
        random = SeededRandom(0)
        self.parts = parts
        self.settings = parts.settings
        self.account = Account(random)
        self.tokens = Tokens(random)
        self.service = Service(
            engine=parts.engine, account=self.account, tokens=self.tokens, random=random, epoch=EPOCH
        )
        self.authorization = "Bearer " + self.tokens.issue(0, 3599)

    def token(self, query: str = "grant_type=client_credentials", **form: str) -> Reply:
        form = {"client_id": self.account.client_id, "client_secret": self.account.client_secret, **form}
        headers = CIMultiDict({"Content-Type": FORM})
        return self.service.handle("POST", TOKEN_PATH, query, headers, urlencode(form).encode())

    def call(
        self,
        method: str,
        path: str,
        body: object = b"",
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        merged = CIMultiDict({"Authorization": self.authorization, "Content-Type": "application/json"})
        merged.update(headers or {})
        return self.service.handle(method, BASE_PATH + path, query, merged, raw)

    def send(self, body: object = None, **headers: str) -> Reply:
        merged = {"ApplicationId": self.parts.application.id, **headers}
        return self.call("POST", "/dispatch", workflow() if body is None else body, headers=merged)


@pytest.fixture
def caller(parts: Box) -> Caller:
    return Caller(parts)


def value(reply: Reply) -> Any:
    return json.loads(reply.body)


def example(path: str) -> Any:
    return json.loads((PAYLOADS / path).read_bytes())


# ---- the token endpoint


def test_a_token_is_given_in_text_throughout(caller: Caller) -> None:
    """Contract 2.1: every scalar is a JSON string."""
    reply = caller.token()

    wanted = example("auth/token_success.json")
    assert reply.status == 200
    assert list(value(reply)) == list(wanted["body"])
    assert {type(member) for member in value(reply).values()} == {str}
    assert value(reply)["expires_in"] == "3599"


def test_a_given_token_works(caller: Caller) -> None:
    caller.authorization = "Bearer " + value(caller.token())["access_token"]

    assert caller.send().status == 202


@pytest.mark.parametrize(
    ("form", "path"), [(401, "token_error_401_invalid_client"), (500, "token_error_500_invalid_client")]
)
def test_a_bad_client_is_refused_in_either_form(caller: Caller, form: Any, path: str) -> None:
    """Contract 2.2."""
    caller.settings.credential_error = form
    wanted = example(f"auth/{path}.json")

    reply = caller.token(client_secret="wrong")

    assert reply.status == wanted["status"]
    body = value(reply)
    if form == 500:
        assert len(body["error"].pop("transactionId")) == 36
        del wanted["body"]["error"]["transactionId"]
    assert body == wanted["body"]


def test_the_grant_type_belongs_into_the_query(caller: Caller) -> None:
    """Contract 2.1."""
    reply = caller.token(query="", grant_type="client_credentials")

    assert (reply.status, value(reply)["fault"]["faultstring"]) == (400, "Required param : grant_type")


@pytest.mark.parametrize("body", [b"\xff", b"a=b;" + b"&" * 10, b'{"client_id": "x"}'])
def test_credentials_that_cannot_be_read_are_bad_credentials(caller: Caller, body: bytes) -> None:
    headers = CIMultiDict({"Content-Type": FORM})

    reply = caller.service.handle("POST", TOKEN_PATH, "grant_type=client_credentials", headers, body)

    assert reply.status == 401


def test_neither_credentials_nor_tokens_are_taken_down(caller: Caller) -> None:
    token = value(caller.token())["access_token"]
    caller.authorization = f"Bearer {token}"
    caller.send()

    transcript = caller.parts.history.transcript().decode()

    assert token not in transcript
    assert caller.account.client_secret not in transcript
    assert TOKEN_PATH in transcript


# ---- the gateway's own refusals


@pytest.mark.parametrize("status", [401, 500])
@pytest.mark.parametrize("expired", [False, True])
def test_a_rejected_token(caller: Caller, status: Any, expired: bool) -> None:
    """Contract 2.3, 9.17."""
    caller.settings.token_fault = status
    if expired:
        caller.tokens.expire()
    else:
        caller.authorization = "Bearer x"
    wanted = example(f"errors/kpn_401_{'expired' if expired else 'invalid'}_token_fault.json")

    reply = caller.send()

    assert (reply.status, value(reply)) == (status, wanted["body"])
    assert caller.parts.engine.accepted == 0


@pytest.mark.parametrize("status", [429, 500])
def test_over_quota(caller: Caller, status: Any) -> None:
    """Contract 3.8, 9.18."""
    caller.settings.quota_limit = 1
    caller.settings.quota_fault = status
    wanted = example("errors/kpn_429_quota.json")
    first = caller.send()

    reply = caller.send()

    assert (first.status, reply.status) == (202, status)
    assert value(reply)["fault"]["detail"] == wanted["body"]["fault"]["detail"]
    assert reply.headers["quota-used"] == "2"
    assert reply.headers.keys() == {"Content-Type", *wanted["headers"]} - {"content-type"}


def test_the_quota_starts_again_with_the_next_day(caller: Caller) -> None:
    caller.settings.quota_limit = 1
    caller.settings.token_lifetime = 10**6
    caller.send()
    assert caller.send().headers["quota-reset-UTC"] == "2025-01-02 00:00:00"
    caller.parts.run(86_400)
    caller.authorization = "Bearer " + value(caller.token())["access_token"]

    reply = caller.send()

    assert reply.status == 202
    assert (reply.headers["quota-used"], reply.headers["quota-reset-UTC"]) == ("1", "2025-01-03 00:00:00")


def test_an_unknown_path_is_the_gateways_404(caller: Caller) -> None:
    """Contract 1.1."""
    wanted = example("errors/kpn_404_unknown_path.json")

    reply = caller.call("POST", "/dispatchh")

    assert (reply.status, value(reply)) == (404, wanted["body"])
    assert caller.service.handle("GET", "/", "", {}, b"").status == 404
    assert caller.call("GET", "/applications/a/b").status == 404
    assert caller.service.counts["unknown"] == 3


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/dispatch"), ("PUT", "/applications"), ("POST", "/applications/x")]
)
def test_a_wrong_verb(caller: Caller, method: str, path: str) -> None:
    reply = caller.call(method, path)

    assert reply.status == 405
    assert value(reply)["type"].endswith("#wrong-verb")


# ---- POST /dispatch


def test_a_workflow_is_accepted(caller: Caller) -> None:
    """Contract 3.7, and the gateway's headers of 1.4."""
    wanted = example("responses/dispatch_202.json")

    reply = caller.send()

    assert reply.status == wanted["status"]
    assert value(reply).keys() == wanted["body"].keys()
    assert {name.lower() for name in reply.headers} == {name.lower() for name in wanted["headers"]}
    assert caller.service.counts["POST /dispatch"] == 1
    assert caller.parts.engine.runs.keys() == {value(reply)["dispatch_uuid"]}


def test_the_application_is_named_in_a_header_of_any_case(caller: Caller) -> None:
    """Contract 1.3."""
    headers = {"APPLICATIONID": caller.parts.application.id.upper()}

    assert caller.call("POST", "/dispatch", workflow(), headers=headers).status == 202


def test_without_an_application_it_is_a_400_in_the_nested_envelope(caller: Caller) -> None:
    """Contract 9.28."""
    reply = caller.call("POST", "/dispatch", workflow())

    assert reply.status == 400
    assert value(reply)["error"]["message"] == "Required header ApplicationId is missing"


def test_with_an_unknown_application_it_is_a_404_in_the_nested_envelope(caller: Caller) -> None:
    """Contract 9.28."""
    wanted = example("errors/kpn_404_nested.json")

    reply = caller.send(ApplicationId="unknown")

    assert reply.status == 404
    assert value(reply)["error"].keys() == wanted["body"]["error"].keys()
    assert value(reply)["error"]["status"] == wanted["body"]["error"]["status"]


@pytest.mark.parametrize("form", ["array", "object"])
def test_violations_are_a_vonage_problem(caller: Caller, form: Any) -> None:
    """Contract 3.8, 9.7."""
    caller.settings.invalid_parameters = form
    wanted = example(f"errors/vonage_400_invalid_params_{form}.json")
    body = workflow(step("sms", "+44", within=3), step("sms", "44"))

    reply = caller.send(body)

    assert reply.status == 400
    assert value(reply).keys() == wanted["body"].keys()
    found = value(reply)["invalid_parameters"]
    first = found[0] if form == "array" else found
    assert first == {"name": "workflow[0].failover.expiry_time", "reason": "must be between 15 and 86400"}
    assert form == "object" or len(found) == 2


def test_what_is_not_json_is_said_to_be(caller: Caller) -> None:
    reply = caller.send(b"{")

    assert reply.status == 400
    assert value(reply)["type"].endswith("#invalid-json")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [(FORM, 415), ("", 415), ("application/json; charset=utf-8", 202), ("application/vnd.api+json", 202)],
)
def test_the_body_is_declared_as_json(caller: Caller, content_type: str, status: int) -> None:
    assert caller.send(**{"Content-Type": content_type}).status == status


def test_a_bare_step_is_a_switch(caller: Caller) -> None:
    """Contract 9.1."""
    assert caller.send(step("sms", "447700900123")).status == 400
    caller.settings.accept_bare_step = True
    assert caller.send(step("sms", "447700900123")).status == 202


# ---- applications

FIELDS = {"name": "n", "type": "messages", "status_url": "http://s/", "inbound_url": "http://i/"}


@pytest.mark.parametrize("form", ["json", "form", "query", "v2"])
def test_an_application_is_created_from_json_form_or_query(caller: Caller, form: str) -> None:
    """Contract 4.3, 9.8."""
    if form == "json":
        reply = caller.call("POST", "/applications", FIELDS)
    elif form == "form":
        reply = caller.call(
            "POST", "/applications", urlencode(FIELDS).encode(), headers={"Content-Type": FORM}
        )
    elif form == "query":
        reply = caller.call("POST", "/applications/", query=urlencode(FIELDS))
    else:
        reply = caller.call("POST", "/applications", example("applications/create_request_v2.json"))

    assert reply.status == 201
    assert "private_key" in value(reply)["keys"]
    endpoints = {hook["endpoint_type"] for hook in value(reply)["messages"]["webhooks"]}
    assert endpoints == {"status_url", "inbound_url"}
    assert caller.service.counts["POST /applications"] == 1


def test_an_application_is_read_changed_listed_and_deleted(caller: Caller) -> None:
    """Contract 4.1."""
    uuid = value(caller.call("POST", "/applications", FIELDS))["id"]
    path = f"/applications/{uuid}"

    changed = caller.call("PUT", path, query="name=new&type=messages")
    listed = caller.call("GET", "/applications", query="page_size=1&page_index=1")
    deleted = caller.call("DELETE", path)

    assert value(changed)["name"] == "new"
    assert value(caller.call("GET", "/applications"))["count"] == 1
    assert [entry["id"] for entry in value(listed)["_embedded"]["applications"]] == [uuid]
    assert (deleted.status, deleted.body) == (204, b"")
    assert caller.call("GET", path).status == 404
    assert caller.service.counts["GET /applications/{id}"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "query", "fragment"),
    [
        ("POST", "/applications", {}, "", "payload-validation"),
        ("POST", "/applications", [], "", "invalid-json"),
        ("POST", "/applications", b"{", "", "invalid-json"),
        ("GET", "/applications", b"", "page_size=101", "list-validation"),
    ],
)
def test_a_wrong_request_about_applications(
    caller: Caller, method: str, path: str, body: object, query: str, fragment: str
) -> None:
    reply = caller.call(method, path, body, query)

    assert reply.status == 400
    assert value(reply)["type"].endswith(f"#{fragment}")


def test_a_sandbox_account_may_not_list(caller: Caller) -> None:
    """Contract 1.5."""
    caller.settings.sandbox = True
    wanted = example("applications/list_sandbox_refused.json")

    reply = caller.call("GET", "/applications")

    assert reply.status == wanted["status"]
    assert value(reply)["error"]["message"] == wanted["body"]["error"]["message"]


def test_applications_need_a_token(caller: Caller) -> None:
    caller.authorization = ""

    assert caller.call("GET", "/applications").status == 401


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    st.sampled_from(["/dispatch", "/applications", "/applications/x", "/x"]),
    st.text(max_size=30),
    st.sampled_from([FORM, "application/json", ""]),
    st.binary(max_size=60),
)
def test_any_request_gets_an_answer(
    method: str, path: str, query: str, content_type: str, body: bytes
) -> None:
    caller = Caller(box())
    headers = {"Content-Type": content_type, "ApplicationId": caller.parts.application.id}

    reply = caller.call(method, path, body, query, headers)

    assert 200 <= reply.status < 500
    assert not reply.body or json.loads(reply.body)
