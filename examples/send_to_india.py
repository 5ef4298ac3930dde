"""Send an SMS with members that the package does not know: India requires `content_id` and `entity_id`.

The simulator plays the service here, so it needs no account.
"""

import asyncio
import json

from nexmo_dispatch_async import Workflow, sms
from nexmo_dispatch_async.simulator import Simulator

# The ids of the sender and of the text, as registered with the carriers.
REGISTERED = {"entity_id": "1101456324675322134", "content_id": "1107457532145798767"}

workflow = Workflow.failover(
    sms.text(
        "Your code is 64873",
        from_="31647356950",
        to="999000000001",
        extra={"message": {"sms": REGISTERED}},
    )
)


async def main() -> None:
    for finding in workflow.lint():
        print("warning:", finding)
    print(json.dumps(json.loads(workflow.to_json()), indent=2))
    async with Simulator() as sim, sim.client() as client:
        dispatch = await client.send(workflow)
        await sim.advance(10)
        print("sent:", dispatch.dispatch_uuid, sim.sent_channels(dispatch.dispatch_uuid))


asyncio.run(main())
