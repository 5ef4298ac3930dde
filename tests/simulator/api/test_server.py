"""The gateway on a real port."""

import asyncio
import io
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from operator import attrgetter
from urllib.parse import quote

import aiohttp
import pytest

from nexmo_dispatch_async import RateLimitError, Response, Workflow, sms
from nexmo_dispatch_async.simulator import Settings, Simulator
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


WORKFLOW = Workflow.failover(sms.text("Hi", from_="31647356950", to="999000000001"))
DAY_S = 24 * 3600


def seconds_to_reset(headers: Mapping[str, str]) -> float:
    """Return the seconds from `Date` to the reset of the quota, as a client counts them."""
    reset = datetime.fromisoformat(headers["quota-reset-UTC"]).replace(tzinfo=UTC)
    return (reset - parsedate_to_datetime(headers["Date"])).total_seconds()


async def test_an_exhausted_quota_is_waited_for_by_the_clock_of_the_simulator() -> None:
    """The client is told the rest of the virtual day, and does not repeat a call that it would refuse."""
    async with Simulator(settings=Settings(quota_limit=1)) as sim, sim.client() as client:
        await client.send(WORKFLOW)
        await sim.advance(1800, settle=0)
        with pytest.raises(RateLimitError, match=r"is used up and resets in 23 h 30 min") as caught:
            await client.send(WORKFLOW)

        assert caught.value.retry_after == DAY_S - 1800
        assert sim.counts["POST /dispatch"] == 2


@pytest.mark.parametrize("speed", [None, 1.0, 50.0], ids=["by hand", "real", "fast"])
async def test_the_times_of_a_response_are_of_one_clock(speed: float | None) -> None:
    """`Date`, quota and token agree: on the virtual clock, or on the real one where time runs by itself."""
    seen: list[Response] = []
    async with Simulator(speed=speed) as sim, aiohttp.ClientSession() as session:
        await sim.advance(7200, settle=0)
        form = {"client_id": sim.client_id, "client_secret": sim.client_secret}
        url = f"{sim.token_url}?grant_type=client_credentials"
        async with session.post(url, data=form) as answer:
            date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
            issued = int((await answer.json())["issued_at"]) / 1000
        async with session.get(
            f"{sim.base_url}/applications", headers={"Origin": "http://a.example"}
        ) as answer:
            refused = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        async with sim.client() as client:
            await client.send(WORKFLOW, on_response=seen.append)
            await client.applications.using(on_response=seen.append).list()
        now = sim.timestamp() if speed is None else time.time()
        remaining = DAY_S - sim.now

    assert date <= issued < date + 2
    assert all(now - 10 < each <= now + 1 for each in (date, refused))
    for response in seen:
        assert now - 10 < parsedate_to_datetime(response.headers["Date"]).timestamp() <= now + 1
        assert remaining - 2 <= seconds_to_reset(response.headers) <= remaining + 10 * (speed or 1) + 2


async def test_the_reset_of_the_quota_is_utc_whatever_zone_the_epoch_has() -> None:
    """The header's name says so."""
    epoch = datetime.fromisoformat("2025-06-01T00:00:00+02:00")
    seen: list[Response] = []
    async with Simulator(epoch=epoch) as sim, sim.client() as client:
        await client.send(WORKFLOW, on_response=seen.append)

    assert seen[0].headers["quota-reset-UTC"] == "2025-06-01 22:00:00"
    assert seen[0].headers["Date"] == "Sat, 31 May 2025 22:00:00 GMT"
