"""The ready-made 200: the same to a client as aiohttp's own, which takes over in every unusual case."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer, make_mocked_request

from nexmo_dispatch_webhooks import Router
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.aiohttp_answer_fast_path import _ACCEPTED, accept
from tests.webhooks.payloads import encode, status_body

BODY = encode(status_body())
JSON = {"Content-Type": "application/json"}
HEAD = f"POST /webhooks HTTP/1.1\r\nHost: h\r\nContent-Length: {len(BODY)}\r\n"
Serve = Callable[..., Awaitable[TestServer]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[TestServer] = []

    async def run(*middlewares: Any, signal: Any = None) -> TestServer:
        app = web.Application(middlewares=middlewares)
        setup(app, Router(), verification=None)
        if signal is not None:
            app.on_response_prepare.append(signal)
        servers.append(TestServer(app))
        await servers[-1].start_server()
        return servers[-1]

    yield run
    for server in servers:
        await server.close()


async def raw(server: TestServer, data: bytes, answers: int = 1) -> bytes:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(data)
    got = b"".join([await reader.readuntil(b"\r\n\r\n") for _ in range(answers)])
    writer.close()
    return got


async def test_it_is_an_ordinary_answer_on_a_connection_that_stays(serve: Serve) -> None:
    """RFC 9110 wants a date and a length; the next requests use the same connection, also pipelined."""
    server = await serve()

    got = await raw(server, ((HEAD + "\r\n").encode() + BODY) * 3, 3)
    async with ClientSession() as session:
        for _ in range(2):
            async with session.post(server.make_url("/webhooks"), data=BODY, headers=JSON) as answer:
                assert (answer.status, await answer.read()) == (200, b"")
                assert parsedate_to_datetime(answer.headers["Date"]).tzinfo is not None

    assert got.count(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n") == 3


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (HEAD.replace("HTTP/1.1", "HTTP/1.0"), b"HTTP/1.0 200 OK"),
        (HEAD + "Connection: close\r\n", b"Connection: close"),
    ],
)
async def test_old_and_closing_clients_get_what_they_asked_for(
    serve: Serve, head: str, expected: bytes
) -> None:
    got = await raw(await serve(), head.encode() + b"\r\n" + BODY)

    assert expected in got


async def test_what_middlewares_and_signals_add_is_sent(serve: Serve) -> None:
    """The application has its own idea of responses."""

    @web.middleware
    async def header(request: web.Request, handler: Any) -> Any:
        response = await handler(request)
        response.headers["X-Trace"] = "1"
        return response

    @web.middleware
    async def closing(request: web.Request, handler: Any) -> Any:
        response = await handler(request)
        response.force_close()
        return response

    async def signal(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Signal"] = "1"

    data = (HEAD + "\r\n").encode() + BODY

    assert b"X-Trace: 1" in await raw(await serve(header), data)
    assert b"X-Signal: 1" in await raw(await serve(signal=signal), data)
    assert b"Connection: close" in await raw(await serve(closing), data)


async def test_a_client_that_hung_up_gets_nothing() -> None:
    """Between the check and the writing the connection may go away."""
    gone = make_mocked_request("POST", "/webhooks")
    gone._protocol.transport = None

    answer = _ACCEPTED

    assert (answer.prepared, answer.keep_alive, answer.status) == (True, True, 200)
    assert await answer.prepare(gone) is None
    await answer.write_eof()
    assert isinstance(accept(gone, plain=True), web.Response)
