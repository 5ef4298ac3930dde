"""By which clock callbacks are dated: that of the test, or that of the receivers in other processes."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import jwt
import pytest
from aiohttp import web
from anyio.lowlevel import checkpoint

from nexmo_dispatch_async import Workflow, sms, viber
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import Router
from nexmo_dispatch_webhooks.aiohttp import setup
from tests.simulator.conftest import Caller, Receiver

FALL_BACK = Workflow.failover(
    viber.text("Hi", from_="VSM-ID-40817", to="999100000001").until("read", within=600),
    sms.text("Hi", from_="31647356950", to="999000000001"),
)
DAYS = 3 * 24 * 3600.0


@asynccontextmanager
async def receiving(sim: Simulator, clock: Callable[[], float] = time.time) -> AsyncIterator[None]:
    """Serve a receiver that checks signatures, and let the callbacks of the simulator go there."""
    app = web.Application()
    setup(app, Router(), secrets={sim.api_key: sim.signature_secret}, clock=clock)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks"
    sim.create_application(status_url=url, inbound_url=url)
    try:
        yield
    finally:
        await runner.cleanup()


async def answers_after(sim: Simulator, seconds: float) -> set[int | None]:
    """Let virtual time pass, send a workflow, and return what its five callbacks were answered."""
    await sim.advance(seconds)
    async with sim.client() as client:
        await client.send(FALL_BACK)
    await sim.advance(610)
    with anyio.fail_after(5):
        while len(sim.deliveries) < 5:
            await checkpoint()
    return {delivery.status for delivery in sim.deliveries}


@pytest.mark.parametrize("speed", [None, 1.0, 60.0])
async def test_receivers_in_other_processes_accept_what_is_signed_by_real_time(speed: float | None) -> None:
    """However far virtual time has gone ahead; they know nothing of it."""
    async with Simulator(speed=speed, signing_clock=time.time) as sim, receiving(sim):
        assert await answers_after(sim, DAYS) == {200}


@pytest.mark.parametrize("speed", [None, 1.0, 60.0])
async def test_receivers_on_virtual_time_accept_what_is_signed_by_virtual_time(speed: float | None) -> None:
    """However far it has gone ahead; a token may be 25 hours old, and virtual days are milliseconds."""
    async with Simulator(speed=speed) as sim, receiving(sim, sim.timestamp):
        assert await answers_after(sim, DAYS) == {200}


async def test_a_test_signs_by_its_own_clock(caller: Caller, receiver: Receiver) -> None:
    """Nothing of real time enters a run whose clock is moved by hand: one seed, one transcript."""
    await caller.send()
    await caller.sim.advance(0)

    tokens = [callback.headers["authorization"].split()[1] for callback in receiver.callbacks]
    dates = [jwt.decode(token, options={"verify_signature": False})["iat"] for token in tokens]
    assert dates
    assert all(0 <= date - 1735689600 <= caller.sim.now for date in dates)
