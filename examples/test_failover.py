"""Test a failover without an account: a Viber message that stays unread becomes an SMS after ten minutes.

`pytest test_failover.py` runs it with pytest-asyncio, which warns unless a pytest.ini has
`asyncio_default_fixture_loop_scope = function` below `[pytest]`; `python test_failover.py` runs it without.
"""

import asyncio

import pytest

from nexmo_dispatch_async import Dispatch, DispatchClient, Workflow, sms, viber
from nexmo_dispatch_async.pytest_plugin import ServeRouter
from nexmo_dispatch_async.simulator import Person, Simulator
from nexmo_dispatch_async.simulator.assertions import assert_outcome, assert_sent, timeline
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_webhooks import Router

ANN = "447700900123"


async def welcome(client: DispatchClient, number: str) -> Dispatch:
    """The code under test: Viber until read within ten minutes, else SMS."""
    message = viber.text("Welcome", from_="VSM-ID-40817", to=number).until("read", within=600)
    return await client.send(Workflow.failover(message, sms.text("Welcome", from_="31647356950", to=number)))


@pytest.mark.asyncio
async def test_a_message_that_is_read_needs_no_sms(
    dispatch_simulator: Simulator, dispatch_client: DispatchClient
) -> None:
    dispatch_simulator.people[ANN] = Person(read_after=599)
    await welcome(dispatch_client, ANN)
    await dispatch_simulator.advance(600)

    assert_sent(dispatch_simulator, ["viber_service_msg"])
    assert_outcome(dispatch_simulator, "completed")


@pytest.mark.asyncio
async def test_an_unread_message_becomes_an_sms(
    dispatch_simulator: Simulator, dispatch_client: DispatchClient
) -> None:
    dispatch_simulator.people[ANN] = Person(read_after=None)
    await welcome(dispatch_client, ANN)
    await dispatch_simulator.advance(599)
    assert_sent(dispatch_simulator, ["viber_service_msg"])
    await dispatch_simulator.advance(1)

    assert_sent(dispatch_simulator, ["viber_service_msg", "sms"])
    assert_outcome(dispatch_simulator, "completed")


@pytest.mark.asyncio
async def test_the_program_learns_that_the_sms_arrived(
    dispatch_simulator: Simulator, dispatch_receiver: ServeRouter
) -> None:
    router, tracker = Router(), Tracker()
    tracker.attach(router)  # callbacks tell the tracker what happened
    await dispatch_receiver(router)
    dispatch_simulator.people[ANN] = Person(read_after=None)

    async with dispatch_simulator.client(tracker=tracker) as client:
        dispatch = await welcome(client, ANN)
        await dispatch_simulator.advance(600)
        result = await dispatch.wait(timeout=0)  # real seconds: all callbacks have arrived

    assert (result.status, result.channel) == ("completed", "sms")


async def main() -> None:
    """Do by hand what the fixtures of the first two tests do, and show what happened."""
    for test in (test_a_message_that_is_read_needs_no_sms, test_an_unread_message_becomes_an_sms):
        async with Simulator() as sim, sim.client() as client:
            await test(sim, client)
            print(f"{test.__name__}: passed\n{timeline(sim)}")


if __name__ == "__main__":
    asyncio.run(main())
