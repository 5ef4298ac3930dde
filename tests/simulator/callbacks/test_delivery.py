"""Callbacks over real HTTP: every way a receiver can fail is an answer, never an exception."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from nexmo_dispatch_async.simulator.callbacks.bodies import Answer, Callback, Delivery
from nexmo_dispatch_async.simulator.callbacks.delivery import CallbackClient
from tests.simulator.conftest import Receiver

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def delivery(url: str) -> Delivery:
    callback = Callback(1, "message-status", url, b'{"status":"read"}', "app", 0, authorization="Bearer x")
    return Delivery(callback, 1, 0)


@asynccontextmanager
async def peer(handle: Peer) -> AsyncIterator[str]:
    """A server that does with a connection whatever it is told."""
    open_connections: set[asyncio.Task[object] | None] = set()

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.add(asyncio.current_task())
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(closing, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await asyncio.gather(*(task for task in open_connections if task is not None))


async def test_a_callback_arrives_byte_for_byte(receiver: Receiver) -> None:
    async with CallbackClient() as courier:
        answer = await courier.deliver(delivery(receiver.url + "/status"))

    (callback,) = receiver.callbacks
    assert answer == Answer(200, b"noted")
    assert callback.raw == b'{"status":"read"}'
    assert callback.path == "/status"
    assert callback.headers["content-type"] == "application/json"
    assert callback.headers["authorization"] == "Bearer x"


async def test_a_redirect_is_an_answer_and_not_followed(receiver: Receiver) -> None:
    receiver.answers.append(302)

    async with CallbackClient() as courier:
        assert (await courier.deliver(delivery(receiver.url))).status == 302

    assert len(receiver.callbacks) == 1


async def test_a_receiver_that_does_not_listen() -> None:
    async with CallbackClient() as courier:
        answer = await courier.deliver(delivery("http://127.0.0.1:1/"))

    assert answer == Answer(failure="connection refused")


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
async def test_a_broken_answer(said: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(said)
        await writer.drain()

    async with peer(handle) as url, CallbackClient() as courier:
        assert await courier.deliver(delivery(url)) == Answer(failure="connection lost")


async def test_an_answer_that_does_not_come_in_time() -> None:
    """Contract 5.10: 15 s, here a moment."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with peer(handle) as url, CallbackClient(answer_timeout=0.02) as courier:
        assert await courier.deliver(delivery(url)) == Answer(failure="timeout")


async def test_a_long_answer_is_cut() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
        await writer.drain()

    async with peer(handle) as url, CallbackClient() as courier:
        answer = await courier.deliver(delivery(url))

    assert answer.status == 200
    assert 0 < len(answer.body) <= 4096


@pytest.mark.parametrize("url", ["http://[", "nonsense", "http://a b/"])
async def test_a_url_that_leads_nowhere(url: str) -> None:
    async with CallbackClient() as courier:
        assert (await courier.deliver(delivery(url))).failure is not None


async def test_a_closed_courier_delivers_nothing() -> None:
    courier = CallbackClient()

    assert await courier.deliver(delivery("http://127.0.0.1:1/")) == Answer(failure="closed")
    await courier.__aexit__(None, None, None)
