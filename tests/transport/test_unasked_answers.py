"""What a kept connection says before anything was asked is the answer to nothing (contract 3.8, 3.13)."""

import asyncio
import select
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async import sms
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import APIConnectionError
from nexmo_dispatch_async.interruption import Interruption, interruption_of
from nexmo_dispatch_async.retry import RetryPolicy
from nexmo_dispatch_async.transport import progress
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of
from tests.support.misbehaving import Connection, RawServer, Received, reply
from tests.support.tls import client_context, server_context

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True

UNASKED = {
    "the answer before it again": reply(202, {"dispatch_uuid": "uuid-0"}),
    "408": reply(408, {}),
    "401": reply(401, {}),
    "429": reply(429, b"", {"Retry-After": "0"}),
    "500": reply(500, {}),
    "half an answer": reply(202, {"dispatch_uuid": "uuid-0"})[:-5],
    "no HTTP": b"SSH-2.0-nonsense\r\n\r\n",
}


def text(number: int) -> Workflow:
    return Workflow.failover(sms.text(f"text {number}", from_="31647356950", to="999100000001"))


class Scene:
    """A client and a server that answers each text with an id of its own."""

    def __init__(self) -> None:
        self.client: DispatchClient
        self.texts: list[str] = []
        self.connections: list[Connection] = []

    async def answer(self, request: Received, connection: Connection) -> None:
        self.connections.append(connection)
        if request.method == "GET":
            await connection.write(reply(200, {"id": "the right one"}))
            return
        self.texts.append(request.json["workflow"][0]["message"]["content"]["text"])
        await connection.write(reply(202, {"dispatch_uuid": f"uuid-{self.texts[-1].removeprefix('text ')}"}))

    def say(self, data: bytes) -> None:
        """Say something on the connection of the first request; the client had no time to read it yet."""
        self.connections[0].writer.write(data)

    async def until_read(self) -> None:
        """Return once the client's event loop has read what was said."""
        session: Any = self.client._calls._connections.session
        (kept,) = session.connector._conns.values()
        while not kept[0][0].should_close:  # noqa: ASYNC110 - aiohttp has no event for it
            await asyncio.sleep(0)


@asynccontextmanager
async def scene_of(certificate: Path | None) -> AsyncIterator[Scene]:
    scene = Scene()
    context = None if certificate is None else server_context(certificate)
    trusted: dict[str, Any] = {} if certificate is None else {"ssl": client_context(certificate)}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(RawServer(scene.answer, ssl_context=context))
        scene.client = await stack.enter_async_context(client_of(server, **trusted))
        yield scene


@pytest.fixture(params=["http", "https"])
async def scene(request: pytest.FixtureRequest, certificate: Path) -> AsyncIterator[Scene]:
    """Yield a client and a server, over plain HTTP and over TLS."""
    async with scene_of(certificate if request.param == "https" else None) as made:
        yield made


@pytest.mark.parametrize("said", UNASKED.values(), ids=UNASKED)
@pytest.mark.parametrize("read", [True, False], ids=["read by the loop", "still in the kernel"])
async def test_what_was_there_before_answers_no_send(scene: Scene, said: bytes, *, read: bool) -> None:
    """Every workflow arrives once and gets its own id, whatever was said on the idle connection."""
    ids = [(await scene.client.send(text(0))).dispatch_uuid]
    scene.say(said)
    if read:
        await scene.until_read()

    ids += [(await scene.client.send(text(number))).dispatch_uuid for number in (1, 2)]

    assert ids == ["uuid-0", "uuid-1", "uuid-2"]
    assert scene.texts == ["text 0", "text 1", "text 2"]
    assert scene.client.statistics().attempts == 3


@pytest.mark.parametrize("read", [True, False], ids=["read by the loop", "still in the kernel"])
async def test_a_connection_that_said_something_is_never_used_again(scene: Scene, *, read: bool) -> None:
    """Nor is the one that takes its place given up: it said nothing."""
    await scene.client.send(text(0))
    scene.say(UNASKED["408"])
    if read:
        await scene.until_read()

    for number in (1, 2, 3):
        await scene.client.send(text(number))

    first, *others = (id(connection) for connection in scene.connections)
    assert first not in others
    assert len(set(others)) == 1


async def test_what_was_there_before_answers_no_get(scene: Scene) -> None:
    """Otherwise the true answer would be left on the connection, for the next workflow."""
    await scene.client.send(text(0))
    scene.say(UNASKED["500"])
    await scene.until_read()

    application = await scene.client.applications.get("a")

    assert application.id == "the right one"
    assert scene.client.statistics().attempts == 2


async def test_two_answers_at_once_are_one_too_many() -> None:
    """The second one comes in the packet of the first."""
    scene = Scene()

    async def twice(request: Received, connection: Connection) -> None:
        scene.texts.append(request.json["workflow"][0]["message"]["content"]["text"])
        await connection.write(reply(202, {"dispatch_uuid": scene.texts[-1]}) * 2)

    async with RawServer(twice) as server, client_of(server) as client:
        ids = [(await client.send(text(number))).dispatch_uuid for number in range(3)]

    assert ids == scene.texts == ["text 0", "text 1", "text 2"]


async def test_a_session_ticket_is_no_answer(certificate: Path) -> None:
    """TLS has something to read on a new connection: it stays in use."""
    async with scene_of(certificate) as scene:
        for number in range(5):
            await scene.client.send(text(number))

    assert len({id(connection) for connection in scene.connections}) == 1


async def test_a_service_that_always_speaks_first_is_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection has an answer to nothing: the workflow was not sent, and the error says so."""
    monkeypatch.setattr(progress, "pending_input", lambda _transport: select.POLLIN)
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(APIConnectionError, match="a response was there before anything") as caught:
            await client.send(text(0), retry=RetryPolicy(attempts=1))

    assert caught.value.phase == "write"
    assert server.posts == 0


@pytest.mark.parametrize("rounds", range(1, 12))
async def test_a_send_that_is_cancelled_before_it_left_never_leaves(scene: Scene, rounds: int) -> None:
    """Also while the event loop reads what an encrypted connection had to say."""
    await scene.client.send(text(0))
    scene.say(UNASKED["408"])
    sending = asyncio.create_task(scene.client.send(text(1)))
    for _ in range(rounds):
        await asyncio.sleep(0)

    sending.cancel()
    known = Interruption("sent")
    try:
        await sending
    except asyncio.CancelledError as error:
        known = interruption_of(error) or known
    await scene.client.send(text(2))

    if known.outcome == "not_sent":
        assert scene.texts == ["text 0", "text 2"]
    else:
        assert sorted({*scene.texts, "text 1"}) == ["text 0", "text 1", "text 2"]
