"""What is chained to an error holds no password, token or address, however deep it is looked for."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from nexmo_dispatch_async.exceptions import DispatchError
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.transport.causes import presentable
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of, kpn_client_of
from tests.support.misbehaving import (
    ACCEPTED,
    Connection,
    RawServer,
    Received,
    answering,
    close_after_body,
    hang,
    reply,
    reset_after_body,
)

PASSWORD = "proxy-password"
SECRETS = (PASSWORD, "cHJveHktcGFzc3dvcmQ", "secret-token", "client-secret", "44741", "9998887")


def everything(error: BaseException) -> str:
    """Return all that can be seen of an exception, its causes and contexts, and what they hold."""
    said: list[str] = []
    seen: set[int] = set()

    def look(held: Any) -> None:
        if id(held) in seen:
            return
        seen.add(id(held))
        said.append(f"{held!r} {held!s}")
        if isinstance(held, BaseException):
            said.extend(traceback.format_exception(held))
            for each in (held.__cause__, held.__context__, *held.args, *vars(held).values()):
                look(each)
        elif isinstance(held, tuple | list | set):
            for each in held:
                look(each)
        elif hasattr(held, "__dict__"):
            for each in vars(held).values():
                look(each)

    look(error)
    return "\n".join(said)


async def no_tunnel(_head: Received, connection: Connection) -> None:
    await connection.write(reply(407))
    connection.close()
    raise ConnectionError


async def tunnel_to_nowhere(_head: Received, connection: Connection) -> None:
    await connection.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    connection.reset()
    raise ConnectionError


async def tunnel_to_no_tls(_head: Received, connection: Connection) -> None:
    await connection.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await connection.reader.read(10)
    await connection.write(b"no handshake" * 10)
    connection.close()
    raise ConnectionError


async def closes(_head: Received, connection: Connection) -> None:
    connection.reset()
    raise ConnectionError


TUNNELS = [no_tunnel, tunnel_to_nowhere, tunnel_to_no_tls, closes]


async def failure(sending: Awaitable[object]) -> BaseException:
    with pytest.raises(DispatchError) as caught:
        await sending
    return caught.value


def clean(error: BaseException) -> None:
    said = everything(error)
    assert [secret for secret in SECRETS if secret in said] == []


def with_password(url: str) -> str:
    return url.replace("//", f"//user:{PASSWORD}@")


@asynccontextmanager
async def by_a_proxy(proxy: str, *, own: bool, **settings: Any) -> AsyncIterator[Any]:
    """Yield a client that has the proxy, or whose session has it."""
    server = RawServer()
    if own:
        async with client_of(server, proxy=proxy, **settings) as client:
            yield client
    else:
        async with (
            aiohttp.ClientSession(proxy=proxy) as session,
            client_of(server, session=session, **settings) as client,
        ):
            yield client


@pytest.mark.parametrize("own", [True, False], ids=["a proxy of the client", "a proxy of your session"])
@pytest.mark.parametrize("tunnel", TUNNELS, ids=lambda it: it.__name__)
async def test_no_failure_of_a_tunnel_shows_the_password(
    workflow: Workflow, tunnel: Callable[..., Any], *, own: bool
) -> None:
    once = RetryPolicy(attempts=1)
    settings: dict[str, Any] = {"own": own, "base_url": "https://service.example", "retry": once}
    async with (
        RawServer(head_handler=tunnel) as server,
        by_a_proxy(with_password(server.url), **settings) as client,
    ):
        clean(await failure(client.send(workflow)))


@pytest.mark.parametrize("own", [True, False], ids=["a proxy of the client", "a proxy of your session"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nowhere.invalid:3128"])
async def test_no_proxy_that_cannot_be_reached_shows_its_password(
    workflow: Workflow, url: str, *, own: bool
) -> None:
    once = RetryPolicy(attempts=1)
    async with by_a_proxy(with_password(url), own=own, base_url="https://service.example") as client:
        clean(await failure(client.send(workflow, retry=once)))


@pytest.mark.parametrize(
    "handler",
    [
        close_after_body,
        reset_after_body,
        hang,
        answering(b"no HTTP\r\n\r\n"),
        answering(reply(202, ACCEPTED)[:-5]),
    ],
    ids=["closes", "resets", "hangs", "no HTTP", "half an answer"],
)
async def test_no_failure_after_the_request_left_shows_anything(workflow: Workflow, handler: Any) -> None:
    """By way of a proxy without a tunnel, which sees the request as it is."""
    limits = Timeout(connect=5, total=0.2)
    async with RawServer(handler) as server:
        proxy = with_password(server.url)
        async with client_of(server, proxy=proxy, timeout=limits, base_url="http://127.0.0.1:81") as client:
            clean(await failure(client.send(workflow)))


@pytest.mark.parametrize("handler", [close_after_body, hang, answering(b"no HTTP\r\n\r\n")])
async def test_no_failure_of_the_token_shows_the_secret(workflow: Workflow, handler: Any) -> None:
    once = RetryPolicy(attempts=1)
    limits = Timeout(connect=5, total=0.2)
    async with (
        RawServer(token_handler=handler) as server,
        kpn_client_of(server, timeout=limits, retry=once) as client,
    ):
        clean(await failure(client.send(workflow)))


async def test_no_failed_call_of_an_id_shows_the_id() -> None:
    async with RawServer(close_after_body) as server, client_of(server) as client:
        clean(await failure(client.applications.get("9998887")))


async def test_a_closed_client_shows_nothing_either(workflow: Workflow) -> None:
    asked = asyncio.Event()

    async def never(_head: Received, _connection: Connection) -> None:
        asked.set()
        await asyncio.Event().wait()

    settings: dict[str, Any] = {
        "own": True,
        "base_url": "https://service.example",
        "timeout": Timeout(connect=0.5),  # aiohttp goes on to open a tunnel after its session was closed
    }
    async with (
        RawServer(head_handler=never) as server,
        by_a_proxy(with_password(server.url), **settings) as client,
    ):
        sending = asyncio.create_task(client.send(workflow))
        await asyncio.wait_for(asked.wait(), 10)
        await client.aclose()

        clean(await failure(sending))


def test_what_is_behind_an_exception_of_aiohttp_is_shown() -> None:
    """The operating system's own error says why, and holds no more than that."""
    refused = ConnectionRefusedError(111, "Connection refused")
    key: Any = ("host", with_password("http://proxy.example"))
    outer = aiohttp.ClientConnectorError(key, refused)
    outer.__cause__ = refused

    assert presentable(outer) is refused
    assert presentable(refused) is refused


def test_what_holds_something_anywhere_is_not_shown() -> None:
    info = aiohttp.RequestInfo(
        URL("https://service.example"),
        "POST",
        CIMultiDictProxy(CIMultiDict({"Authorization": "secret-token"})),
    )
    response = aiohttp.ClientResponseError(info, ())
    hidden = OSError(5, "broken")
    hidden.__context__ = response
    address = ValueError("https://user:secret@service.example")

    assert presentable(response) is None
    assert presentable(hidden) is None
    assert presentable(address) is None
    assert presentable(None) is None
