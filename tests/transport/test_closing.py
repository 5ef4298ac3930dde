"""Closing the client ends its pauses at once, with the error after which they pause."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import pytest

from nexmo_dispatch_async.auth import BearerToken, KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import ClientClosedError, RateLimitError
from nexmo_dispatch_async.interruption import interruption_of
from nexmo_dispatch_async.retry import Timeout
from nexmo_dispatch_async.workflow import Workflow
from tests.support.misbehaving import Connection, RawServer, Received, answering, reply

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True


async def test_closing_does_not_wait_for_a_pause(workflow: Workflow) -> None:
    """What is known of a call that pauses is the error after which it pauses."""
    pausing = asyncio.Event()

    async def for_a_minute(_seconds: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    async with RawServer(answering(reply(429, b"", {"Retry-After": "30"}))) as server:
        client = DispatchClient(
            auth=BearerToken("t"), application_id="a", base_url=server.base_url, sleep=for_a_minute
        )
        sending = asyncio.create_task(client.send(workflow))
        await pausing.wait()
        await client.aclose()
        with pytest.raises(RateLimitError) as caught:
            await sending

    assert (caught.value.retry_after, caught.value.attempts) == (30, 1)
    assert sending.cancelling() == 0
    now = client.statistics()
    assert (now.not_sent, now.interrupted, now.pausing) == (1, 0, 0)


async def test_closing_does_not_wait_for_a_pause_between_two_requests_for_a_token(workflow: Workflow) -> None:
    pausing = asyncio.Event()

    async def for_a_minute(_seconds: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    async with RawServer(token_handler=answering(reply(503))) as server:
        client = DispatchClient(
            auth=KpnOAuth("a", "b", server.token_url),
            application_id="a",
            base_url=server.base_url,
            sleep=for_a_minute,
        )
        sending = [asyncio.create_task(client.send(workflow)) for _ in range(2)]
        await pausing.wait()
        await client.aclose()
        results = await asyncio.gather(*sending, return_exceptions=True)

    assert [type(result) for result in results] == [ClientClosedError] * 2


async def test_no_pause_begins_once_the_client_is_closed(workflow: Workflow) -> None:
    """On a session of the caller's own an answer may still come then."""
    go_on = asyncio.Event()

    async def later(_request: Received, connection: Connection) -> None:
        await go_on.wait()
        await connection.write(reply(429))

    async def never(_seconds: float) -> None:
        raise AssertionError

    async with RawServer(later) as server, aiohttp.ClientSession() as session:
        client = DispatchClient(
            auth=BearerToken("t"),
            application_id="a",
            base_url=server.base_url,
            session=session,
            sleep=never,
        )
        sending = asyncio.create_task(client.send(workflow))
        await server.arrived.wait()
        await client.aclose()
        go_on.set()
        with pytest.raises(RateLimitError):
            await sending


async def test_a_pause_that_swallows_being_ended_leaves_no_cancellation(workflow: Workflow) -> None:
    pausing = asyncio.Event()

    async def stubborn(_seconds: float) -> None:
        pausing.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    async with RawServer(answering(reply(429))) as server:
        client = DispatchClient(
            auth=BearerToken("t"), application_id="a", base_url=server.base_url, sleep=stubborn
        )
        sending = asyncio.create_task(client.send(workflow))
        await pausing.wait()
        await client.aclose()
        with pytest.raises(RateLimitError):
            await sending

    assert sending.cancelling() == 0


async def test_who_is_cancelled_in_a_pause_when_the_client_closes_is_cancelled(workflow: Workflow) -> None:
    pausing = asyncio.Event()

    async def for_a_minute(_seconds: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    async with RawServer(answering(reply(429))) as server:
        client = DispatchClient(
            auth=BearerToken("t"), application_id="a", base_url=server.base_url, sleep=for_a_minute
        )
        sending = asyncio.create_task(client.send(workflow))
        await pausing.wait()
        sending.cancel()
        await client.aclose()
        with pytest.raises(asyncio.CancelledError):
            await sending


# --- before there is a connection ---------------------------------------------------------------------


class SilentProxy:
    """A proxy that takes connections and answers nothing."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read the CONNECT, then wait until the client hangs up."""
        await reader.readuntil(b"\r\n\r\n")
        self.asked.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        self.left.set()


@asynccontextmanager
async def silent_proxy() -> AsyncGenerator[SilentProxy]:
    proxy = SilentProxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
        # In every test: no tunnel that is half built stays open.
        async with asyncio.timeout(10):
            await proxy.left.wait()


def client_behind(silent: SilentProxy, **settings: Any) -> DispatchClient:
    """Return a client whose timeouts are longer than any test."""
    way: dict[str, Any] = {"proxy": silent.url, **settings}
    way.setdefault("auth", BearerToken("t"))
    return DispatchClient(
        application_id="a",
        base_url="https://service.example",
        timeout=Timeout(connect=3600, total=3600),
        **way,
    )


@pytest.mark.parametrize("cut_short", [False, True], ids=["closed", "closed in a cancelled scope"])
async def test_closing_does_not_wait_for_a_proxy(workflow: Workflow, *, cut_short: bool) -> None:
    """No byte of the request left: the send ends at once, and the proxy is left alone."""
    async with silent_proxy() as proxy:
        client = client_behind(proxy)
        sending = asyncio.create_task(client.send(workflow))
        await proxy.asked.wait()

        async with asyncio.timeout(10):
            with anyio.CancelScope() as limit:
                if cut_short:
                    limit.cancel()
                await client.aclose()
            with pytest.raises(ClientClosedError, match="the client was closed before the request was sent"):
                await sending
            assert not client._calls._attempts._deadlines._running

    assert sending.cancelling() == 0
    assert client.statistics().in_flight == 0


async def test_closing_ends_what_connects_on_a_session_of_the_callers_own(workflow: Workflow) -> None:
    """That session stays open; what waits for its connection has nothing to wait for any more."""
    async with silent_proxy() as proxy, aiohttp.ClientSession(proxy=proxy.url) as session:
        client = client_behind(proxy, session=session, proxy=None)
        sending = asyncio.create_task(client.send(workflow))
        await proxy.asked.wait()

        async with asyncio.timeout(10):
            await client.aclose()
            with pytest.raises(ClientClosedError, match="the client was closed before the request was sent"):
                await sending
        assert not session.closed


async def test_closing_ends_a_token_request_that_connects(workflow: Workflow) -> None:
    async with silent_proxy() as proxy:
        client = client_behind(proxy, auth=KpnOAuth("a", "b", "https://service.example/token"))
        sending = [asyncio.create_task(client.send(workflow)) for _ in range(3)]
        await proxy.asked.wait()

        async with asyncio.timeout(10):
            await client.aclose()
            results = await asyncio.gather(*sending, return_exceptions=True)

    assert [type(result) for result in results] == [ClientClosedError] * 3


async def test_who_is_cancelled_while_it_connects_and_the_client_closes_is_cancelled(
    workflow: Workflow,
) -> None:
    async with silent_proxy() as proxy:
        client = client_behind(proxy)
        sending = asyncio.create_task(client.send(workflow))
        await proxy.asked.wait()
        sending.cancel()
        await client.aclose()
        with pytest.raises(asyncio.CancelledError) as caught:
            await sending

    known = interruption_of(caught.value)
    assert known is not None
    assert known.outcome == "not_sent"
