"""The gateway on a real port."""

import asyncio
import io
import json
from collections.abc import Callable
from operator import attrgetter
from urllib.parse import quote

import aiohttp
import pytest

from nexmo_dispatch_async.simulator import Simulator
from tests.simulator.conftest import Caller


async def raw(sim: Simulator, request: bytes) -> bytes:
    """Send bytes as they are and return the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sim.url.rsplit(":", 1)[1]))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("ask", [Simulator.client, attrgetter("base_url"), attrgetter("token_url")])
def test_a_simulator_that_was_not_started_has_no_address(ask: Callable[[Simulator], object]) -> None:
    """Its port is not known yet: it says so at once, as `advance` does."""
    with pytest.raises(RuntimeError, match=r"^the simulator is not running: use it with `async with`$"):
        ask(Simulator())


async def test_answers_carry_the_gateways_headers(caller: Caller) -> None:
    """Contract 1.4."""
    await caller.sign_in()

    async with caller.session.get(
        caller.sim.base_url + "/applications", headers={"Authorization": f"Bearer {caller.token}"}
    ) as response:
        assert response.status == 200
        assert response.headers["quota-used"] == "1"
        assert response.headers["Content-Type"] == "application/json"


async def test_a_deleted_application_answers_with_nothing(caller: Caller) -> None:
    """Contract 4.3: 204, empty."""
    await caller.sign_in()
    url = f"{caller.sim.base_url}/applications/{caller.application.id}"

    async with caller.session.delete(url, headers={"Authorization": f"Bearer {caller.token}"}) as response:
        assert (response.status, await response.read()) == (204, b"")


async def test_an_encoded_query_arrives_whole(caller: Caller) -> None:
    await caller.sign_in()
    url = f"{caller.sim.base_url}/applications/{caller.application.id}"
    wanted = "http://hooks.example.com/?a=1&b=2+3"

    async with caller.session.put(
        url,
        params={"name": "n", "type": "messages", "status_url": wanted},
        headers={"Authorization": f"Bearer {caller.token}"},
    ) as response:
        body = await response.json()

    assert body["messages"]["webhooks"][0]["endpoint"] == wanted


async def test_odd_bytes_in_the_path_are_an_unknown_path(sim: Simulator) -> None:
    for path in (b"/\xff", b"/" + quote("€\udcff", errors="surrogatepass").encode(), b"/%ff%00"):
        answer = await raw(sim, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert answer.split(b" ")[1] in (b"400", b"404")

    for line in sim.transcript().splitlines():
        json.loads(line)


async def test_a_body_over_the_limit_is_refused(caller: Caller) -> None:
    await caller.sign_in()

    async with caller.session.post(
        caller.sim.base_url + "/dispatch", data=io.BytesIO(b"x" * (2 << 20))
    ) as response:
        assert response.status == 413


async def test_requests_at_once_are_counted(caller: Caller) -> None:
    await caller.sign_in()
    caller.sim.settings.latency = 0.05

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(caller.send())

    assert caller.sim.peak_requests == 5
    assert caller.sim.counts["POST /dispatch"] == 5


async def test_it_listens_on_ipv6_too() -> None:
    try:
        async with Simulator(host="::1") as sim, aiohttp.ClientSession() as session:
            async with session.get(sim.url + "/nowhere") as response:
                assert response.status == 404
            assert sim.url.startswith("http://[::1]:")
    except OSError:  # a machine without IPv6
        return
