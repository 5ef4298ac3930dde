"""A proxy on the way: real tunnels, and errors that say that it was the proxy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nexmo_dispatch_async.auth import KpnOAuth
from nexmo_dispatch_async.exceptions import APIConnectionError, CertificateError, ProxyError
from nexmo_dispatch_async.retry import RetryPolicy
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of, kpn_client_of
from tests.support.clock import Time
from tests.support.connect_proxy import ConnectProxy
from tests.support.misbehaving import RawServer, answering, reply
from tests.support.tls import client_context, server_context

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True

CREDENTIALS = "user:proxy-password"
REASON = "Some Reason"
ELSEWHERE: dict[str, Any] = {"base_url": "https://localhost:9/nexmo"}


async def test_a_tunnel_carries_token_and_workflow(workflow: Workflow, certificate: Path) -> None:
    async with (
        RawServer(ssl_context=server_context(certificate)) as server,
        ConnectProxy(server.port, credentials=CREDENTIALS) as proxy,
        kpn_client_of(server, ssl=client_context(certificate), proxy=proxy.url(CREDENTIALS)) as client,
    ):
        await client.send(workflow)
        await client.send(workflow)

    assert (server.posts, len(server.token_requests)) == (2, 1)
    assert set(proxy.asked) == {f"CONNECT localhost:{server.port}"}


async def test_the_proxy_of_the_environment_carries_if_it_is_trusted(
    workflow: Workflow, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other hosts are reached by it, loopback addresses are not; without `trust_env` none is."""
    monkeypatch.setenv("NO_PROXY", "")
    async with (
        RawServer(ssl_context=server_context(certificate)) as server,
        ConnectProxy(server.port) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url())
        trust = client_context(certificate)
        trust.check_hostname = False
        async with client_of(server, ssl=trust) as client:
            await client.send(workflow)
        async with client_of(server, ssl=trust, trust_env=True) as client:
            await client.send(workflow)
        assert proxy.asked == []
        away: dict[str, Any] = {"base_url": "https://service.example/nexmo"}
        async with client_of(server, ssl=trust, trust_env=True, **away) as client:
            await client.send(workflow)

    assert proxy.asked == ["CONNECT service.example:443"]
    assert server.posts == 3


@pytest.mark.parametrize("status", [401, 403, 407])
async def test_a_tunnel_that_is_forbidden_is_asked_for_once(workflow: Workflow, status: int) -> None:
    """It is a setting, of the proxy and not of the service."""
    async with ConnectProxy(status=status) as proxy:
        by = proxy.url("user:proxy-password")
        async with client_of(RawServer(), proxy=by, **ELSEWHERE) as client:
            with pytest.raises(ProxyError) as caught:
                await client.send(workflow)

    error = caught.value
    assert (
        error.message == f"POST /dispatch: the proxy {proxy.name} refuses the tunnel with {status}: {REASON}"
    )
    assert (error.outcome, error.error_class, error.phase) == ("not_sent", "configuration", "connect")
    assert (error.status, error.attempts, len(proxy.asked)) == (status, 1, 1)
    assert error.__cause__ is None, "it holds the headers of the request"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_proxy_that_cannot_reach_the_service_is_asked_again(workflow: Workflow, status: int) -> None:
    async with (
        ConnectProxy(status=status) as proxy,
        client_of(RawServer(), Time(), proxy=proxy.url(), **ELSEWHERE) as client,
    ):
        with pytest.raises(ProxyError) as caught:
            await client.send(workflow)

    assert (caught.value.error_class, caught.value.attempts, len(proxy.asked)) == ("temporary", 4, 4)


async def test_a_token_is_asked_for_once_too(workflow: Workflow) -> None:
    """Its request goes by the same proxy."""
    auth = KpnOAuth("id", "client-secret", "https://service.example/token")
    async with (
        ConnectProxy(status=407) as proxy,
        client_of(RawServer(), auth=auth, proxy=proxy.url(), **ELSEWHERE) as client,
    ):
        with pytest.raises(ProxyError, match=f"the proxy {proxy.name} refuses the tunnel") as caught:
            await client.send(workflow)

    assert caught.value.phase == "token"
    assert len(proxy.asked) == 1


async def test_a_407_without_a_tunnel_is_the_proxy_as_well(workflow: Workflow) -> None:
    """Plain HTTP: the proxy answers in the place of the service, and passed nothing on."""
    async with (
        RawServer(answering(reply(407))) as proxy,
        client_of(proxy, proxy=proxy.url, base_url="http://127.0.0.1:9") as client,
    ):
        with pytest.raises(ProxyError, match="POST /dispatch: 407") as caught:
            await client.send(workflow)

    assert (caught.value.outcome, caught.value.error_class) == ("not_sent", "configuration")
    assert (proxy.posts, caught.value.attempts) == (1, 1)


@pytest.mark.parametrize("own", [True, False], ids=["a proxy of the client", "a proxy of your session"])
async def test_a_connection_error_names_the_proxy(
    workflow: Workflow, hold_port: Callable[[], int], *, own: bool
) -> None:
    """Host and port, without the credentials."""
    port = hold_port()
    by, once = f"http://user:proxy-password@127.0.0.1:{port}", RetryPolicy(attempts=1)
    async with aiohttp.ClientSession(proxy=by) as session:
        settings: dict[str, Any] = {"proxy": by} if own else {"session": session}
        async with client_of(RawServer(), retry=once, **settings, **ELSEWHERE) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.send(workflow)

    said = f"POST /dispatch: no connection by way of the proxy 127.0.0.1:{port}: "
    assert str(caught.value).startswith(said)


async def test_a_certificate_error_by_way_of_a_proxy_names_it(workflow: Workflow, certificate: Path) -> None:
    """A proxy that opens TLS has a certificate of its own, which is the usual cause."""
    async with (
        RawServer(ssl_context=server_context(certificate)) as server,
        ConnectProxy(server.port) as proxy,
        client_of(server, proxy=proxy.url()) as client,
    ):
        with pytest.raises(CertificateError, match=f"by way of the proxy {proxy.name}: "):
            await client.send(workflow)
