"""The bytes of every request the client makes, once each, against the contract."""

import json
from typing import Any

import pytest

from nexmo_dispatch_async._version import __version__
from nexmo_dispatch_async.auth import KpnOAuth
from nexmo_dispatch_async.workflow import Workflow
from tests.conftest import payload
from tests.support.clients import APPLICATION, client_of
from tests.support.misbehaving import RawServer, Received, answering, reply
from tests.support.paths import PAYLOADS

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True

# What every request carries: how the client is called, and what answers it takes.
COMMON = [
    ("User-Agent", f"nexmo-dispatch-async/{__version__}"),
    ("Accept", "application/json"),
    ("Accept-Encoding", "identity"),
]


def host(server: RawServer) -> tuple[str, str]:
    return "Host", f"127.0.0.1:{server.port}"


async def test_the_token_request() -> None:
    """Contract 2.1: grant type in the query string, credentials in the form body, no Basic."""
    expected = payload("auth/token_request.json")
    auth = expected["form"]
    workflow = Workflow.from_json((PAYLOADS / "requests" / "single_step.json").read_bytes())
    async with RawServer() as server:
        oauth = KpnOAuth(auth["client_id"], auth["client_secret"], server.token_url)
        async with client_of(server, auth=oauth) as client:
            await client.send(workflow)

    assert server.token_requests == [
        Received(
            "POST /oauth/client_credential/accesstoken?grant_type=client_credentials HTTP/1.1",
            [
                host(server),
                *COMMON,
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Content-Length", str(len(expected["raw_body"]))),
            ],
            expected["raw_body"].encode(),
        )
    ]
    assert server.received[0].header("Authorization") == "Bearer token1"


# What a placeholder or a lenient form holds is refused before the network (contract 3.3, 9.4).
SENDABLE = sorted(
    path.name
    for path in (PAYLOADS / "requests").glob("*.json")
    if not path.name.startswith(("seed_", "lenient_"))
)


@pytest.mark.parametrize("name", [*SENDABLE, "seed_whatsapp_text_failover_sms.json"])
async def test_a_dispatch(name: str) -> None:
    """Contract 1.3, 3: these headers and no other; the JSON of the workflow and nothing more."""
    expected = payload(f"requests/{name}")
    workflow = Workflow.from_json((PAYLOADS / "requests" / name).read_bytes())
    async with RawServer() as server, client_of(server) as client:
        await client.send(workflow)

    (request,) = server.received
    assert request.line == "POST /communication/nexmo/dispatch HTTP/1.1"
    assert request.headers == [
        host(server),
        *COMMON,
        ("Content-Type", "application/json"),
        ("ApplicationId", APPLICATION),
        ("Authorization", "Bearer secret-token"),
        ("Content-Length", str(len(request.body))),
    ]
    assert request.json == expected
    assert b"null" not in request.body
    assert "failover" not in request.json["workflow"][-1]
    assert request.body == json.dumps(request.json, separators=(",", ":"), ensure_ascii=False).encode()


async def test_the_version_header_is_sent_when_set() -> None:
    """Contract 1.2."""
    workflow = Workflow.from_json((PAYLOADS / "requests" / "single_step.json").read_bytes())
    async with RawServer() as server, client_of(server, api_version="v1") as client:
        await client.send(workflow)

    assert server.received[0].header("api-version") == "v1"


APPLICATION_REPLY = reply(200, payload("applications/get_response_v1.json")["body"])
LIST_REPLY = reply(200, payload("applications/list_response_v1.json")["body"])
FLAT = payload("applications/create_request_flat.json")
SEED_UPDATE = payload("applications/update_request_seed_fields.json")
UPDATE = payload("applications/update_request_messages_fields.json")
V2 = payload("applications/create_request_v2.json")
FLAT_FORM = (
    b"name=Parcel+notices&type=messages&status_url=https%3A%2F%2Fhooks.example.com%2Fdispatch%2Fstatus"
    b"&inbound_url=https%3A%2F%2Fhooks.example.com%2Fdispatch%2Finbound"
)
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

CALLS: list[tuple[str, dict[str, Any], Any, bytes, str, str | None, Any]] = [
    # name of the call, settings of the client, the call, the answer; then line, content type and body
    (
        "create",
        {},
        lambda a: a.create(**FLAT),
        APPLICATION_REPLY,
        "POST /communication/nexmo/applications",
        JSON,
        FLAT,
    ),
    (
        "create as form",
        {},
        lambda a: a.create(**FLAT, encoding="form"),
        APPLICATION_REPLY,
        "POST /communication/nexmo/applications",
        FORM,
        FLAT_FORM,
    ),
    (
        "create v2",
        {"applications_path": "/applications/v2"},
        lambda a: a.create(
            name=V2["name"],
            public_key=V2["keys"]["public_key"],
            status_url=FLAT["status_url"],
            inbound_url=FLAT["inbound_url"],
        ),
        APPLICATION_REPLY,
        "POST /communication/nexmo/applications/v2",
        JSON,
        V2,
    ),
    (
        "update with the seed's fields",
        {},
        lambda a: a.update("a b", **SEED_UPDATE),
        APPLICATION_REPLY,
        "PUT /communication/nexmo/applications/a%20b",
        JSON,
        SEED_UPDATE,
    ),
    (
        "update with the fields of messages",
        {},
        lambda a: a.update("a", **UPDATE),
        APPLICATION_REPLY,
        "PUT /communication/nexmo/applications/a",
        JSON,
        UPDATE,
    ),
    (
        "update of one field",
        {},
        lambda a: a.update("a", name="n"),
        APPLICATION_REPLY,
        "PUT /communication/nexmo/applications/a",
        JSON,
        {"name": "n"},
    ),
    (
        "update in the query",
        {},
        lambda a: a.update("a", name="n n", status_url="https://h/?a=b", encoding="query"),
        APPLICATION_REPLY,
        "PUT /communication/nexmo/applications/a?name=n+n&status_url=https%3A%2F%2Fh%2F%3Fa%3Db",
        None,
        b"",
    ),
    (
        "get",
        {},
        lambda a: a.get(APPLICATION),
        APPLICATION_REPLY,
        f"GET /communication/nexmo/applications/{APPLICATION}",
        None,
        b"",
    ),
    (
        "delete",
        {},
        lambda a: a.delete(APPLICATION),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        f"DELETE /communication/nexmo/applications/{APPLICATION}",
        None,
        b"",
    ),
    (
        "list",
        {},
        lambda a: a.list(page_index=2, page_size=50),
        LIST_REPLY,
        "GET /communication/nexmo/applications?page_index=2&page_size=50",
        None,
        b"",
    ),
    (
        "list with the defaults of the service",
        {},
        lambda a: a.list(),
        LIST_REPLY,
        "GET /communication/nexmo/applications",
        None,
        b"",
    ),
    (
        "list v2",
        {"applications_path": "applications/v2/"},
        lambda a: a.list(page_index=1),
        LIST_REPLY,
        "GET /communication/nexmo/applications/v2?page=1",
        None,
        b"",
    ),
]


@pytest.mark.parametrize(
    ("settings", "call", "answer", "line", "content_type", "body"),
    [case[1:] for case in CALLS],
    ids=[case[0] for case in CALLS],
)
async def test_application_calls(
    settings: dict[str, Any], call: Any, answer: bytes, line: str, content_type: str | None, body: Any
) -> None:
    """Contract 4.1, 9.8; the `ApplicationId` header is not used on them (1.3)."""
    async with RawServer(answering(answer)) as server, client_of(server, **settings) as client:
        await call(client.applications)

    (request,) = server.received
    assert request.line == f"{line} HTTP/1.1"
    expected = [host(server), *COMMON]
    if content_type:
        expected.append(("Content-Type", content_type))
    expected.append(("Authorization", "Bearer secret-token"))
    assert [pair for pair in request.headers if pair[0] != "Content-Length"] == expected
    assert (request.json if content_type == JSON else request.body) == body
