"""Certificates, proxies and sessions of one's own."""

import asyncio
from typing import Any

import aiohttp
import pytest

from nexmo_dispatch_async.auth import BearerToken
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import APIConnectionError, ClientClosedError, ConfigurationError
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of
from tests.support.misbehaving import ACCEPTED, Connection, RawServer, Received, accept
from tests.support.tls import client_context, server_context

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True


async def test_a_tls_context_of_your_own(workflow: Workflow, certificate: Any) -> None:
    async with RawServer(ssl_context=server_context(certificate)) as server:
        async with client_of(server, ssl=client_context(certificate)) as client:
            await client.send(workflow)
        async with client_of(server, retry=RetryPolicy(attempts=1)) as client:
            with pytest.raises(APIConnectionError, match="certificate"):
                await client.send(workflow)

    assert len(server.received) == 1


@pytest.mark.filterwarnings("ignore::nexmo_dispatch_async.urls.PlainHTTPWarning")
async def test_a_proxy_gets_the_request(workflow: Workflow) -> None:
    """Plain HTTP: the proxy is asked for the whole address, and its credentials are for it alone."""
    async with RawServer() as proxy:
        address = proxy.url.replace("//", "//user:proxy-password@")
        async with client_of(proxy, base_url="http://service.example/nexmo", proxy=address) as client:
            await client.send(workflow)

    (request,) = proxy.received
    assert request.target == "http://service.example/nexmo/dispatch"
    assert request.header("Proxy-Authorization") == "Basic dXNlcjpwcm94eS1wYXNzd29yZA=="
    assert "proxy-password" not in repr(client)


async def test_a_send_on_your_session_goes_on_after_the_client_is_closed(workflow: Workflow) -> None:
    """The connection is yours, so what becomes of the send is still to be learnt."""
    go_on = asyncio.Event()

    async def later(request: Received, connection: Connection) -> None:
        await go_on.wait()
        await accept(request, connection)

    async with RawServer(later) as server, aiohttp.ClientSession() as session:
        client = client_of(server, session=session)
        sending = asyncio.create_task(client.send(workflow))
        await server.arrived.wait()
        await client.aclose()
        go_on.set()

        assert (await sending).dispatch_uuid == ACCEPTED["dispatch_uuid"]


async def test_settings_of_the_connection_belong_to_the_session() -> None:
    async with aiohttp.ClientSession() as session:
        for settings in ({"ssl": False}, {"proxy": "http://h"}, {"trust_env": True}):
            with pytest.raises(ConfigurationError, match="set them on yours"):
                DispatchClient(auth=BearerToken("t"), session=session, **settings)


@pytest.mark.parametrize("limits", [{"limit": 2}, {"limit": 0, "limit_per_host": 2}])
async def test_waiting_for_a_connection_of_your_own_session_is_no_network_time(
    workflow: Workflow, limits: Any
) -> None:
    """The session has two connections: the others wait here, and not inside of aiohttp until a time-out."""

    async def slow(request: Received, connection: Connection) -> None:
        await asyncio.sleep(0.03)
        await accept(request, connection)

    async with (
        RawServer(slow) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(**limits)) as session,
        client_of(server, session=session, timeout=Timeout(connect=0.1, total=0.2)) as client,
    ):
        await asyncio.gather(*(client.send(workflow) for _ in range(14)))

    assert server.most_active == 2


async def test_a_session_with_no_limit_leaves_ours() -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        client = DispatchClient(auth=BearerToken("t"), session=session, limit=7)

    assert client._calls._slots._value == 7
    with pytest.raises(ClientClosedError):
        await client.__aenter__()
