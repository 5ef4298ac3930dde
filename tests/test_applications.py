"""Promises of the application calls: one model from every shape, and pages that end."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import (
    APIError,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
)
from nexmo_dispatch_async.models.responses import Application, ApplicationPage
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.sansio import Response
from tests.conftest import payload
from tests.support.clients import client_of
from tests.support.misbehaving import (
    Connection,
    RawServer,
    Received,
    answering,
    close_after_body,
    hang,
    reply,
)

ID = "7d1c2f6a-0b0e-4b57-9a2e-3f1f0a9f6c11"
FIELDS = {"name": "n", "status_url": "https://h/s", "inbound_url": "https://h/i"}


def example(name: str) -> bytes:
    recorded = payload(f"applications/{name}.json")
    body = b"" if recorded["body"] is None else recorded["body"]
    return reply(recorded["status"], body, recorded["headers"])


@pytest.mark.parametrize(
    "name",
    [
        "create_response_v1",
        "create_response_v2",
        "get_response_v1",
        "get_response_v1_misspelt",
        "get_one_as_list",
    ],
)
async def test_every_shape_gives_the_same_application(name: str) -> None:
    """Contract 4.3."""
    async with RawServer(answering(example(name))) as server, client_of(server) as client:
        application = await client.applications.get(ID)

    assert application.id == ID
    assert application.name == "Parcel notices"
    assert application.type == "messages"
    assert application.status_url == "https://hooks.example.com/dispatch/status"
    assert application.inbound_url == "https://hooks.example.com/dispatch/inbound"
    assert (application.status_method, application.inbound_method) == ("POST", "POST")
    assert application.public_key == "EXAMPLE PUBLIC KEY (PEM text)"
    assert list(application.links) == ["self"]
    assert application.raw["id"] == ID


@pytest.mark.parametrize("name", ["create_response_v1", "create_response_v2"])
async def test_the_private_key_comes_once_and_is_not_shown(name: str) -> None:
    async with RawServer(answering(example(name))) as server, client_of(server) as client:
        application = await client.applications.create(name="n")

    assert application.private_key.startswith("EXAMPLE PRIVATE KEY")
    assert repr(application) == f"Application(id='{ID}', name='Parcel notices', type='messages')"


async def test_a_flat_answer_is_read_too() -> None:
    body: dict[str, Any] = {
        "id": ID,
        **FIELDS,
        "type": "messages",
        "status_method": "GET",
        "_links": None,
        "voice": [],
    }
    async with RawServer(answering(reply(200, body))) as server, client_of(server) as client:
        application = await client.applications.update(ID, name="n")

    assert (application.status_url, application.status_method) == (FIELDS["status_url"], "GET")
    assert application.inbound_method == ""


async def test_the_singular_type_is_read_as_the_plural() -> None:
    """Contract 4.1: K-voice writes `message`."""
    handler = answering(reply(200, {"id": ID, "type": "message"}))
    async with RawServer(handler) as server, client_of(server) as client:
        application = await client.applications.get(ID)

    assert (application.type, application.raw["type"]) == ("messages", "message")


async def test_a_call_can_have_its_own_policy_and_time_out() -> None:
    policy = RetryPolicy(attempts=2)
    async with RawServer(answering(reply(429))) as server, client_of(server) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.applications.using(retry=policy).get(ID)
        server.handler = hang
        with pytest.raises(OutcomeUnknownError, match="no response in time"):
            await client.applications.using(retry=RetryPolicy(attempts=1), timeout=Timeout(total=0.1)).get(ID)

    assert caught.value.attempts == 2


async def test_settings_of_calls_add_up() -> None:
    answers: list[Response] = []
    async with RawServer(answering(reply(429))) as server, client_of(server) as client:
        calls = client.applications.using(retry=RetryPolicy(attempts=2), on_response=answers.append)
        with pytest.raises(RateLimitError) as caught:
            await calls.using(timeout=Timeout(total=1)).get(ID)
        server.handler = answering(reply(200, {"id": ID}, {"quota-used": "7"}))
        application = await calls.using(timeout=Timeout(total=1)).get(ID)
        server.handler = hang
        with pytest.raises(OutcomeUnknownError, match="no response in time"):
            await calls.using(timeout=Timeout(total=0.1)).using(retry=RetryPolicy(attempts=1)).get(ID)

    assert caught.value.attempts == 2
    assert [(answer.status, answer.headers["quota-used"]) for answer in answers] == [(200, "7")]
    assert json.loads(answers[0].body) == application.raw


async def test_a_key_of_your_own_can_be_changed() -> None:
    async with RawServer(answering(reply(200, {"id": ID}))) as server, client_of(server) as client:
        await client.applications.update(ID, public_key="PEM")

    assert server.received[0].json == {"public_key": "PEM"}


async def test_a_deletion_has_no_body() -> None:
    async with RawServer(answering(example("delete_response"))) as server, client_of(server) as client:
        await client.applications.delete(ID)

    assert server.received[0].method == "DELETE"


@pytest.mark.parametrize(
    ("name", "index", "total", "count"),
    [
        ("list_response_v1", 0, 2, 2),
        ("list_response_v2", 1, 1, 1),
        ("list_response_record_index", 0, 1, 1),
        ("get_one_as_list", 0, 1, 1),
    ],
)
async def test_every_list_gives_a_page(name: str, index: int, total: int, count: int) -> None:
    async with RawServer(answering(example(name))) as server, client_of(server) as client:
        page = await client.applications.list()

    assert (page.index, page.total, len(page)) == (index, total, count)
    assert next(iter(page)).id == ID
    assert repr(page) == f"ApplicationPage({count} applications, index={index}, total={total})"


async def test_a_voice_application_shows_its_type() -> None:
    """Dispatch does not use its URLs, which are in `raw`."""
    async with RawServer(answering(example("list_response_v1"))) as server, client_of(server) as client:
        _, voice = (await client.applications.list()).applications

    assert voice.type == "voice"
    assert voice.status_url == voice.inbound_url == ""
    assert "https://hooks.example.com/voice/answer" in str(voice.raw)


async def test_an_empty_list_is_a_page() -> None:
    async with RawServer(answering(reply(200, {"count": 0}))) as server, client_of(server) as client:
        page = await client.applications.list()

    assert page == ApplicationPage((), total=0, raw={"count": 0})


@pytest.mark.parametrize("body", [b"", b"[]", {"name": "no id"}, b"<html>"])
async def test_an_answer_without_application_is_a_protocol_error(body: object) -> None:
    async with RawServer(answering(reply(200, body))) as server, client_of(server) as client:
        with pytest.raises(ProtocolError, match="without an application"):
            await client.applications.get(ID)
        with pytest.raises(ProtocolError, match="without a list of applications"):
            await client.applications.list()


async def test_sandbox_accounts_may_not_list() -> None:
    """Contract 1.5."""
    async with RawServer(answering(example("list_sandbox_refused"))) as server, client_of(server) as client:
        with pytest.raises(PermissionDeniedError, match="not available for sandbox accounts"):
            await client.applications.list()


async def test_an_unknown_id_is_not_found() -> None:
    async with RawServer(answering(reply(404))) as server, client_of(server) as client:
        with pytest.raises(NotFoundError, match=r"^GET /applications/\{id\}: 404; check the id"):
            await client.applications.get("x")


# --- what may be repeated -------------------------------------------------------------------------

CALLS: list[tuple[Callable[[DispatchClient], Awaitable[object]], int]] = [
    (lambda client: client.applications.get(ID), 4),
    (lambda client: client.applications.list(), 4),
    (lambda client: client.applications.create(name="n"), 1),
    (lambda client: client.applications.update(ID, name="n"), 1),
    (lambda client: client.applications.delete(ID), 1),
]


@pytest.mark.parametrize(("call", "tries"), CALLS)
@pytest.mark.parametrize("handler", [close_after_body, answering(reply(503))])
async def test_only_reading_is_repeated_after_bytes_left(
    call: Callable[[DispatchClient], Awaitable[object]], tries: int, handler: Any
) -> None:
    async with RawServer(handler) as server, client_of(server) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await call(client)

    # aiohttp itself repeats a GET once when a kept connection broke.
    assert tries <= len(server.received) <= (1 if tries == 1 else 2 * tries)
    assert caught.value.attempts == tries


# --- pages ----------------------------------------------------------------------------------------


def service(total: int, form: str, *, size: int = 2) -> Callable[[Received, Connection], Awaitable[None]]:
    """Serve `total` applications in one of the forms of contract 4.3."""

    async def handler(request: Received, connection: Connection) -> None:
        query = parse_qs(urlsplit(request.target).query)
        asked = int(query.get("page_index", query.get("page", ["0"]))[0])
        if asked < 1 and form in ("strict from 1", "404 before 1"):
            problem = {"type": "x#list-validation", "title": "t"}
            await connection.write(reply(400 if form == "strict from 1" else 404, problem))
            return
        from_1 = ("page", "silent from 1", "strict from 1", "404 before 1", "empty before 1")
        index = max(asked - 1, 0) if form in from_1 else asked
        if form == "stuck":
            index = 0
        items = [{"id": f"id{n}", "name": "n"} for n in range(total)[index * size : (index + 1) * size]]
        if form == "empty before 1" and asked < 1:
            items = []
        body: dict[str, Any] = {"_embedded": {"applications": items}}
        if form == "page_index":
            body |= {"page_index": index, "page_size": size, "count": total}
        elif form == "record_index":
            body |= {"record_index": index * size, "page_size": size, "count": len(items)}
        elif form == "empty before 1":
            body |= {"page_index": asked, "page_size": size, "count": total}
        elif form == "page":
            body |= {"page": index + 1, "page_size": size, "total_items": total}
        elif form == "short":
            body |= {"page_index": index, "page_size": 10, "count": total}
        await connection.write(reply(200, body))

    return handler


@pytest.mark.parametrize(
    "form",
    [
        *("page_index", "record_index", "page", "silent", "stuck", "short"),
        *("silent from 1", "strict from 1", "404 before 1", "empty before 1"),
    ],
)
@pytest.mark.parametrize("total", [0, 1, 2, 3, 4, 7])
async def test_iterating_finds_each_application_once(form: str, total: int) -> None:
    """Contract 4.3, 9.8: counted from 0 or from 1, named in three ways or not at all."""
    async with RawServer(service(total, form)) as server, client_of(server) as client:
        found = [application.id async for application in client.applications.iterate()]

    expected = min(total, 2) if form == "stuck" else total
    assert found == [f"id{n}" for n in range(expected)]
    assert len(server.received) <= total // 2 + 4


async def test_a_complete_page_needs_no_second_request() -> None:
    async with RawServer(service(1, "page_index")) as server, client_of(server) as client:
        assert [application async for application in client.applications.iterate()]

    assert len(server.received) == 1


async def test_the_v2_path_counts_from_1() -> None:
    path = "/applications/v2"
    async with RawServer(service(3, "page")) as server, client_of(server, applications_path=path) as client:
        found = [application.id async for application in client.applications.iterate()]

    assert found == ["id0", "id1", "id2"]
    assert server.received[0].target.endswith("/applications/v2?page=1&page_size=100")


async def test_a_path_that_is_not_there_is_not_found() -> None:
    async with RawServer(answering(reply(404))) as server, client_of(server) as client:
        with pytest.raises(NotFoundError):
            [application async for application in client.applications.iterate()]

    assert len(server.received) == 2


async def test_a_bad_request_on_a_later_page_is_an_error() -> None:
    handler = answering(reply(200, {"_embedded": {"applications": [{"id": "a"}]}}), reply(400))
    async with RawServer(handler) as server, client_of(server) as client:
        with pytest.raises(BadRequestError):
            [application async for application in client.applications.iterate()]


# --- what is refused here -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: a.list(page_size=0), "page_size must be from 1 to 100, not 0"),
        (lambda a: a.list(page_size=101), "page_size must be from 1 to 100, not 101"),
        (lambda a: a.update(ID), "nothing to change"),
        (lambda a: a.get("  "), "application_id is missing"),
        (lambda a: a.get(None), "application_id is missing"),
        (lambda a: a.get(5), "application_id must be text, not int"),
        (lambda a: a.get("."), "application_id is no id"),
        (lambda a: a.delete(" .. "), "application_id is no id"),
        (lambda a: a.create(name="n", status_url=None), "status_url=None: omit it"),
        (lambda a: a.update(ID, name=None), "name=None: omit it"),
        (lambda a: a.update(ID, name=None, encoding="query"), "name=None: omit it"),
    ],
)
async def test_nonsense_is_refused_before_the_network(call: Any, message: str) -> None:
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(ConfigurationError, match=message):
            await call(client.applications)

    assert server.received == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: a.update(ID, status_method="POST"), "status_method has no place of its own.*status_url"),
        (lambda a: a.update(ID, name="n", inbound_method="POST"), "inbound_method has no place of its own"),
        (lambda a: a.update(ID, type="messages"), "nothing to change"),
        (lambda a: a.create(name="n", type="voice"), "has no type"),
        (
            lambda a: a.update(ID, name="n", answer_url="https://a"),
            "answer_url has no place of its own.*leave it out",
        ),
        (lambda a: a.update(ID, event_method="GET"), "event_method has no place of its own.*leave it out"),
    ],
)
async def test_nothing_is_dropped_in_silence_on_the_v2_path(call: Any, message: str) -> None:
    """Contract 4.1: the nested form has no place for it."""
    async with RawServer() as server, client_of(server, applications_path="/applications/v2") as client:
        with pytest.raises(ConfigurationError, match=message):
            await call(client.applications)

    assert server.received == []


async def test_the_nested_form_holds_what_is_given() -> None:
    handler = answering(reply(200, {"id": ID}))
    async with (
        RawServer(handler) as server,
        client_of(server, applications_path="/applications/v2") as client,
    ):
        await client.applications.update(
            ID, name="n", type="messages", status_url="https://h/s", status_method="GET", public_key="PEM"
        )

    assert server.received[0].json == {
        "name": "n",
        "keys": {"public_key": "PEM"},
        "capabilities": {
            "messages": {
                "version": "v0.1",
                "webhooks": {"status_url": {"address": "https://h/s", "http_method": "GET"}},
            }
        },
    }


async def test_an_id_may_be_a_uuid() -> None:
    async with RawServer(answering(reply(200, {"id": ID}))) as server, client_of(server) as client:
        await client.applications.get(UUID(ID))

    assert server.received[0].target.endswith(f"/applications/{ID}")


async def test_the_nested_form_only_travels_as_json() -> None:
    async with RawServer() as server, client_of(server, applications_path="/applications/v2") as client:
        with pytest.raises(ConfigurationError, match="JSON"):
            await client.applications.create(name="n", encoding="form")


def test_errors_are_ours() -> None:
    assert issubclass(NotFoundError, APIError)
    assert Application("a").id == "a"
