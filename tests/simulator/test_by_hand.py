"""Manual control of a simulator: the application that is meant, and a new start while time runs by itself."""

import aiohttp
import anyio
import pytest

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator import Simulator
from tests.simulator.conftest import Caller, Receiver
from tests.simulator.support import step, workflow


def test_the_default_application_is_the_one_created_last_by_hand() -> None:
    """Otherwise the newest one; an application that was deleted is not meant."""
    sim = Simulator()
    nothing = sim.default_application
    by_api = sim._engine.applications.add("created by the API")
    first = sim.default_application
    by_hand = sim.create_application(name="created by hand")
    sim._engine.applications.add("created by the API, later")
    second = sim.default_application
    sim._engine.applications.delete(by_hand)
    third = sim.default_application

    assert nothing is None
    assert (first, second) == (by_api, by_hand)
    assert third is not None
    assert third.name == "created by the API, later"


def test_an_inbound_message_needs_an_application() -> None:
    with pytest.raises(ConfigurationError, match="no application to receive the inbound message"):
        Simulator().inbound("Hi", channel="sms", from_="999500000001", to="31600000001")


async def test_clearing_leaves_a_running_simulator_usable(receiver: Receiver) -> None:
    """Statuses that were due are not delivered; those of what is sent next are."""
    arrived = anyio.Event()

    async def note() -> None:
        arrived.set()

    receiver.on_callback = note
    async with Simulator(speed=0) as sim, aiohttp.ClientSession() as session:
        application = sim.create_application(status_url=receiver.url)
        caller = Caller(sim, session, application)
        await caller.send(workflow(step("sms", "999500000001", client_ref="cleared")))

        sim.clear()
        await caller.send(workflow(step("sms", "999500000002", client_ref="kept")))
        await sim.advance(10)
        with anyio.fail_after(10):
            await arrived.wait()

        assert {callback.body["client_ref"] for callback in receiver.callbacks} == {"kept"}
        assert (sim.in_flight, sim.accepted) == (1, 2)
