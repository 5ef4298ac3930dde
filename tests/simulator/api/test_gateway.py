"""What a request meets before the service sees it: the token endpoint, the token check, the quota."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from multidict import CIMultiDict

from nexmo_dispatch_async.simulator import Settings, Simulator
from nexmo_dispatch_async.simulator.api.answers import Reply
from tests.simulator.support import workflow

TOKEN = "/oauth/client_credential/accesstoken"
DISPATCH = "/communication/nexmo/dispatch"
FORM = "application/x-www-form-urlencoded"


def ask(sim: Simulator, secret: str | None = None, query: str = "grant_type=client_credentials") -> Reply:
    body = f"client_id={sim.client_id}&client_secret={secret or sim.client_secret}".encode()
    return sim._service.handle("POST", TOKEN, query, CIMultiDict({"Content-Type": FORM}), body)


def send(sim: Simulator, **more: str) -> Reply:
    headers: Mapping[str, str] = CIMultiDict(
        {
            "Authorization": f"Bearer {token(sim)}",
            "ApplicationId": sim.create_application().id,
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in more.items()},
        }
    )
    return sim._service.handle("POST", DISPATCH, "", headers, json.dumps(workflow()).encode())


def token(sim: Simulator) -> str:
    return str(json.loads(ask(sim).body)["access_token"])


def simulator(**changes: Any) -> Simulator:
    return Simulator(settings=replace(Settings(), **changes))


def test_a_token_answer_has_texts_only() -> None:
    """Contract 2.1."""
    answer = json.loads(ask(simulator()).body)

    assert {type(value) for value in answer.values()} == {str}
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", "3599")


def test_older_pages_show_other_fields() -> None:
    answer = json.loads(ask(simulator(oauth_fields="older", token_type="BearerToken")).body)

    assert answer["api_product_list_json"] == ["Dispatch-Vonage", "Messages-Vonage"]
    assert "developer.email" in answer
    assert not answer.keys() & {"level", "refresh_token", "developer_email"}
    assert answer["token_type"] == "BearerToken"


def test_numbers_may_be_numbers() -> None:
    answer = json.loads(ask(simulator(oauth_fields="typed")).body)

    assert (answer["expires_in"], answer["refresh_count"]) == (3599, 0)
    assert answer["issued_at"] == 1735689600000


@pytest.mark.parametrize(
    ("changes", "status", "mark"),
    [
        ({}, 401, b"keymanagement.service.invalid_access_token"),
        ({"token_fault": 500}, 500, b'"faultstring":"Invalid Access Token"'),
        ({"fault_form": "kpn"}, 401, b'"message":"invalid_access_token"'),
        ({"fault_form": "xml"}, 401, b"<errorcode>keymanagement.service.invalid_access_token</errorcode>"),
    ],
)
def test_a_bad_token_in_each_form(changes: dict[str, Any], status: int, mark: bytes) -> None:
    """Contract 2.3."""
    reply = send(simulator(**changes), Authorization="Bearer nonsense")

    assert reply.status == status
    assert mark in reply.body
    assert ("xml" in reply.headers["Content-Type"]) == (b"<fault>" in reply.body)


@pytest.mark.parametrize(("status", "mark"), [(401, b"NoApiProductMatchFound"), (403, b'"name":"Forbidden"')])
def test_a_project_without_the_product_gets_a_token_and_no_further(status: int, mark: bytes) -> None:
    """Contract 1.5."""
    reply = send(simulator(not_entitled=status))

    assert reply.status == status
    assert mark in reply.body


def test_every_answer_behind_the_gateway_counts_the_quota() -> None:
    """Contract 1.4: refusals of the service as well."""
    sim = simulator(sunset="2030-01-01")

    replies = [send(sim), send(sim, ApplicationId="unknown"), send(sim, Content_Type="text/plain")]

    assert [reply.status for reply in replies] == [202, 404, 415]
    assert [reply.headers["quota-used"] for reply in replies] == ["1", "2", "3"]
    assert {reply.headers["sunset"] for reply in replies} == {"2030-01-01"}


@pytest.mark.parametrize(("asked", "served"), [(None, "v1"), ("v2", "v2"), ("v" * 50, "v" * 20)])
def test_the_version_that_is_served(asked: str | None, served: str) -> None:
    """Contract 1.2: an optional request header, and what was served in the answer."""
    reply = send(simulator()) if asked is None else send(simulator(), api_version=asked)

    assert reply.headers["api-version"] == served


def test_the_quota_begins_anew_with_the_day() -> None:
    sim = simulator(quota_limit=1)

    first, second = send(sim), send(sim)
    sim._engine.now_ms = 24 * 3600 * 1000
    third = send(sim)

    assert [first.status, second.status, third.status] == [202, 429, 202]
    assert third.headers["quota-reset-UTC"] == "2025-01-03 00:00:00"
