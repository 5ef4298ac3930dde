"""Test failover without an account: a Viber message that stays unread, then an SMS.

python examples/simulate.py
"""

import asyncio
import time

from nexmo_dispatch_async import Workflow, sms, viber
from nexmo_dispatch_async.simulator import Person, Simulator


async def test_unread_viber_fails_over() -> None:
    async with Simulator() as sim, sim.client() as client:
        sim.people["447700900123"] = Person(read_after=None)
        dispatch = await client.send(
            Workflow.failover(
                viber.text("Hi", from_="VSM-ID-40817", to="447700900123").until("read", within=600),
                sms.text("Hi", from_="31647356950", to="447700900123"),
            )
        )
        started = time.perf_counter()
        await sim.advance(600)
        took = time.perf_counter() - started
        assert sim.sent_channels(dispatch.dispatch_uuid) == ["viber_service_msg", "sms"]  # noqa: S101 - a test
        assert sim.outcome(dispatch.dispatch_uuid) == "completed"  # noqa: S101 - a test
        print(f"fell back to SMS; {sim.now:.1f} virtual seconds took {took * 1000:.1f} ms")


if __name__ == "__main__":
    asyncio.run(test_unread_viber_fails_over())
