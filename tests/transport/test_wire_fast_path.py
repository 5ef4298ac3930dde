"""The fast path: when it is used, what it writes, and what goes through the session instead."""

import gzip
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from aioresponses import aioresponses

from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import ConfigurationError, ProtocolError
from nexmo_dispatch_async.sansio import Request
from nexmo_dispatch_async.transport.session_wire import SessionWire
from nexmo_dispatch_async.transport.wire_fast_path import FastWire, is_supported
from nexmo_dispatch_async.workflow import Workflow
from tests.support.aioresponses_fix import patched
from tests.support.clients import client_of
from tests.support.misbehaving import ACCEPTED, Connection, RawServer, Received, answering, reply


def wire_of(client: DispatchClient) -> object:
    return client._calls._connections.open()


async def read(client: DispatchClient, request: Request) -> bytes:
    return await client.call(request, lambda response: response.body)


class Counted:
    """Counts what goes through a session."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests = 0
        exchange = SessionWire.exchange

        async def counted(wire: SessionWire, *args: Any) -> Any:
            self.requests += 1
            return await exchange(wire, *args)

        monkeypatch.setattr(SessionWire, "exchange", counted)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


async def test_the_clients_own_session_takes_the_fast_path(workflow: Workflow, counted: Counted) -> None:
    async with RawServer() as server, client_of(server) as client:
        await client.send(workflow)

        assert type(wire_of(client)) is FastWire
    assert counted.requests == 0
    assert server.posts == 1


async def test_a_session_of_the_callers_own_is_asked_itself(workflow: Workflow, counted: Counted) -> None:
    async with (
        RawServer() as server,
        aiohttp.ClientSession() as session,
        client_of(server, session=session) as client,
    ):
        await client.send(workflow)

    assert counted.requests == 1


async def test_tracing_tools_see_every_request(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    """They add a trace configuration to every session that is made."""
    seen: list[str] = []

    async def on_start(_session: object, _context: object, parameters: Any) -> None:
        seen.append(parameters.method)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(on_start)
    init: Callable[..., None] = aiohttp.ClientSession.__init__

    def traced(session: aiohttp.ClientSession, **settings: object) -> None:
        init(session, trace_configs=[trace], **settings)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", traced)
    async with RawServer() as server, client_of(server) as client:
        await client.send(workflow)

    assert seen == ["POST"]


async def test_a_mock_that_comes_later_is_asked(workflow: Workflow) -> None:
    """Tests of users replace `ClientSession._request`, perhaps after the first request of the client."""
    async with RawServer() as server, client_of(server) as client:
        await client.send(workflow)
        with patched(), aioresponses() as context:
            mock: Any = context  # aioresponses leaves types open
            mock.post(f"{server.base_url}/dispatch", status=202, payload=ACCEPTED)
            await client.send(workflow)

    assert server.posts == 1


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (aiohttp.TCPConnector, "connect"),
        (aiohttp.ClientRequest, "connection_key"),
        (aiohttp.ClientRequest, "update_proxy"),
        (ResponseHandler, "set_response_params"),
        (ResponseHandler, "should_close"),
        (aiohttp.connector.Connection, "release"),
    ],
)
async def test_an_aiohttp_that_lacks_a_piece_is_used_by_its_sessions(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    """The probe at opening uses each piece that is no public interface of aiohttp."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector()) as session:
        assert is_supported(session)

        holder = next(each for each in owner.__mro__ if name in vars(each))
        monkeypatch.delattr(holder, name)

        assert not is_supported(session)


async def test_an_aiohttp_whose_pieces_want_something_else_is_used_by_its_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def connect(self: object, request: object) -> None: ...

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector()) as session:
        monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect)

        assert not is_supported(session)


@pytest.mark.parametrize("name", ["Content-Length", "Transfer-Encoding", "Host", "connection"])
async def test_framing_by_the_caller_is_for_the_session(counted: Counted, name: str) -> None:
    value = {"Content-Length": "2", "Transfer-Encoding": "chunked"}.get(name, "keep-alive")
    async with RawServer(answering(reply(200, b"ok"))) as server, client_of(server) as client:
        request = Request("GET", f"{server.url}/x", {name: value}, b"{}", "/x")
        if name != "Transfer-Encoding":  # the server of the tests reads no chunks
            assert await read(client, request) == b"ok"

    assert counted.requests == (name != "Transfer-Encoding")


@pytest.mark.parametrize("wire", ["fast path", "session"], indirect=True)
@pytest.mark.parametrize("header", [{"X": "a\r\nY: b"}, {"X\r\nY": "b"}, {"X": "a\nb"}, {"X": "a\0b"}])
async def test_no_value_begins_another_header(header: dict[str, str], wire: str) -> None:
    """Such a request is refused, as the setting that it is, before there is a connection."""
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(ConfigurationError, match="control character"):
            await read(client, Request("GET", f"{server.url}/x", header, None, "/x"))

    assert server.connections == 0, wire


@pytest.mark.parametrize("wire", ["fast path", "session"], indirect=True)
async def test_both_wires_write_the_same(workflow: Workflow, wire: str) -> None:
    """Method, path, fields with their order, and body; also without a body, and without a content type."""
    async with RawServer(answering(reply(200, b"{}"))) as server, client_of(server) as client:
        url = f"{server.url}/x%20y?a=%2F"
        for method, body in (("GET", None), ("DELETE", None), ("PUT", b"{}"), ("POST", b"")):
            await read(client, Request(method, url, {"X-A": "b"}, body, "/x"))

    host = ("Host", f"127.0.0.1:{server.port}")
    seen = [
        (each.line, [field for field in each.headers if field[0] not in ("User-Agent", "Accept")], each.body)
        for each in server.received
    ]
    common = [("Accept-Encoding", "identity"), ("X-A", "b"), ("Authorization", "Bearer secret-token")]
    binary = ("Content-Type", "application/octet-stream")

    def sent(method: str, body: bytes, *content_type: tuple[str, str]) -> tuple[str, object, bytes]:
        fields = [host, *common, ("Content-Length", str(len(body))), *content_type]
        return f"{method} /x%20y?a=%2F HTTP/1.1", sorted(fields), body

    assert [(line, sorted(fields), body) for line, fields, body in seen] == [
        sent("GET", b""),
        sent("DELETE", b""),
        sent("PUT", b"{}", binary),
        sent("POST", b"", binary),
    ], wire


@pytest.mark.parametrize("wire", ["fast path", "session"], indirect=True)
async def test_what_comes_before_the_response_is_skipped(workflow: Workflow, wire: str) -> None:
    """Status 1xx; and a compressed response is read although none was asked for."""
    packed = reply(202, gzip.compress(b'{"dispatch_uuid": "u"}'), {"Content-Encoding": "gzip"})
    early = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    async with RawServer(answering(early + packed)) as server, client_of(server) as client:
        assert (await client.send(workflow)).dispatch_uuid == "u"
        assert (await client.send(workflow)).dispatch_uuid == "u"

    assert server.connections == 1, wire


@pytest.mark.parametrize("wire", ["fast path", "session"], indirect=True)
async def test_an_unusable_response_shows_nothing_of_it(workflow: Workflow, wire: str) -> None:
    async def nonsense(_request: Received, connection: Connection) -> None:
        await connection.write(b"SECRET-TEXT nonsense\r\n\r\n")

    async with RawServer(nonsense) as server, client_of(server) as client:
        with pytest.raises(ProtocolError) as caught:
            await client.send(workflow)

    assert "SECRET" not in str(caught.value), wire
    assert caught.value.outcome == "unknown"


async def test_a_service_that_answers_before_it_has_read_is_left(workflow: Workflow) -> None:
    """The rest of the request must not stand before the next one on the same connection."""

    async def head_only(_head: Received, connection: Connection) -> None:
        await connection.write(reply(413, {}))

    async with RawServer(head_handler=head_only) as server, client_of(server) as client:
        with pytest.raises(Exception, match="413"):
            await read(client, Request("PUT", f"{server.url}/x", {}, b"x" * (8 << 20), "/x"))
        server.head_handler = None
        await client.send(workflow)

    assert server.connections == 2
