"""A service that closes idle connections gets no request in the instant of the closing."""

import asyncio
import gc
import socket
import ssl
import struct
import threading
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nexmo_dispatch_async.auth import BearerToken
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.transport import progress
from nexmo_dispatch_async.transport.keep_alive import KEEPALIVE_TIMEOUT
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of, kpn_client_of
from tests.support.clock import Time
from tests.support.misbehaving import ACCEPTED, Connection, RawServer, Received, reply
from tests.support.tls import client_context, server_context
from tests.support.tls_thread import TlsThread

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True


class Closing:
    """Closes a connection that was idle for as long as it announces, when the next request comes."""

    def __init__(self, time: Time, seconds: float) -> None:
        self.time = time
        self.seconds = seconds
        #: Each connection by its identity, with the time of its last answer.
        self.last: dict[int, tuple[Connection, float]] = {}
        self.together: asyncio.Barrier | None = None

    async def __call__(self, _request: Received, connection: Connection) -> None:
        _, answered = self.last.get(id(connection), (connection, self.time.now))
        if self.time.now - answered >= self.seconds:
            connection.reset()
            return
        if self.together is not None:
            await self.together.wait()
        self.last[id(connection)] = connection, self.time.now
        await connection.write(reply(202, ACCEPTED, {"Keep-Alive": f"timeout={self.seconds:g}"}))


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_connection_is_not_used_for_as_long_as_the_service_announces(
    workflow: Workflow, certificate: Path, *, tls: bool
) -> None:
    """`Keep-Alive: timeout=1`, and sends at the moment of closing: every one of them arrives."""
    time = Time()
    context, trust = (server_context(certificate), client_context(certificate)) if tls else (None, True)
    async with (
        RawServer(Closing(time, 1), ssl_context=context) as server,
        client_of(server, time, ssl=trust) as client,
    ):
        for idle in (0.0, 0.4, 0.5, 0.6, 0.9, 0.999, 1.0, 1.001):
            time.now += idle
            await client.send(workflow)

    assert len(server.received) == 8
    assert server.connections == 6, "what was idle for half a second or less was used again"
    assert client.statistics().attempts == 8


async def test_many_connections_that_are_over_cost_no_send(workflow: Workflow) -> None:
    """The next send finds all of them of no use, and makes a new one."""
    time = Time()
    closing = Closing(time, 5)
    async with RawServer(closing) as server, client_of(server, time) as client:
        closing.together = asyncio.Barrier(20)
        await asyncio.gather(*(client.send(workflow) for _ in range(20)))
        closing.together = None
        assert server.connections == 20

        time.now += 5
        await client.send(workflow)

    assert server.connections == 21
    assert client.statistics().attempts == 21


async def test_a_session_of_your_own_keeps_to_it_too(workflow: Workflow) -> None:
    time = Time()
    async with (
        RawServer(Closing(time, 5)) as server,
        aiohttp.ClientSession() as session,
        client_of(server, time, session=session) as client,
    ):
        await client.send(workflow)
        time.now += 5
        await client.send(workflow)

    assert server.connections == 2


async def test_the_token_endpoint_is_believed_too(workflow: Workflow) -> None:
    """Token and workflows share connections where they share a host."""
    time = Time()

    async def token(_request: Received, connection: Connection) -> None:
        body = {"access_token": "token1", "expires_in": "3599"}
        await connection.write(reply(200, body, {"Keep-Alive": "timeout=5"}))

    async with RawServer(Closing(time, 5), token) as server, kpn_client_of(server, time) as client:
        client._calls.open()
        await client._calls._tokens.renew()
        time.now += 5
        await client.send(workflow)

    assert server.connections == 2


@pytest.mark.parametrize(("limit", "connections"), [(0, 3), (30.0, 1)])
async def test_the_idle_limit_is_a_setting(workflow: Workflow, limit: float, connections: int) -> None:
    """0 makes a connection for each request."""
    async with RawServer() as server, client_of(server, keepalive_timeout=limit) as client:
        for _ in range(3):
            await client.send(workflow)
        session = client._calls._connections.session
        assert session is not None
        assert session.connector is not None
        assert session.connector._keepalive_timeout == limit

    assert server.connections == connections


@pytest.mark.parametrize("wrong", [-1, float("nan"), 86_401, float("inf")])
def test_a_wrong_idle_limit_is_refused(wrong: float) -> None:
    with pytest.raises(ConfigurationError, match=r"keepalive_timeout must be from 0 to 86400 seconds, not "):
        DispatchClient(auth=BearerToken("t"), keepalive_timeout=wrong)


async def test_the_idle_limit_of_your_session_is_yours() -> None:
    async with aiohttp.ClientSession() as session:
        DispatchClient(auth=BearerToken("t"), session=session, keepalive_timeout=KEEPALIVE_TIMEOUT)
        with pytest.raises(ConfigurationError, match="set them on yours"):
            DispatchClient(auth=BearerToken("t"), session=session, keepalive_timeout=3)


class ResettingThread(TlsThread):
    """Keeps its first connection, and resets it when it is told to."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context)
        self.reset = threading.Event()
        self.done = threading.Event()

    def _serve(self, connection: ssl.SSLSocket) -> None:
        if self.connections > 1:
            super()._serve(connection)
            return
        self.requests += 1
        connection.recv(65536)
        connection.sendall(reply(202, ACCEPTED))
        assert self.reset.wait(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        self.done.set()


async def test_a_write_that_the_system_refuses_is_seen_through_tls(
    workflow: Workflow, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reset between the last look and the write: nothing left, so another connection takes it."""
    with ResettingThread(server_context(certificate)) as server:
        async with DispatchClient(
            auth=BearerToken("t"),
            application_id="app",
            base_url=server.url,
            ssl=client_context(certificate),
        ) as client:
            await client.send(workflow)
            # The loop does not run from here to the write, so only the write can tell.
            monkeypatch.setattr(progress, "pending_input", lambda _transport: 0)
            server.reset.set()
            assert server.done.wait(10)
            await client.send(workflow)

    assert (server.requests, server.connections) == (2, 2)


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_connection_that_is_closed_is_forgotten(
    workflow: Workflow, certificate: Path, *, encrypted: bool
) -> None:
    """What is known of it, with its socket, stays in memory for as long as it is open."""
    settings: dict[str, Any] = {"ssl": client_context(certificate)} if encrypted else {}
    async with (
        RawServer(ssl_context=server_context(certificate) if encrypted else None) as server,
        client_of(server, **settings) as client,
    ):
        await client.send(workflow)
        known = client._calls._attempts._kept._known
        assert len(known) == 1
        await client._calls._connections.aclose()

        async with asyncio.timeout(10):
            while known:  # TLS says farewell first
                await asyncio.sleep(0)
                gc.collect()
