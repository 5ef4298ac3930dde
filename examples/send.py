"""Send the documentation's WhatsApp-then-SMS workflow and watch it fail over.

It runs against the simulator and needs no account; with one, `DispatchClient.from_env()` takes its place.
"""

import asyncio

from nexmo_dispatch_async import DispatchError, Workflow, sms, whatsapp
from nexmo_dispatch_async.simulator import Simulator, StatusReached, StepExpired, StepSent, WorkflowEnded

# Recipients of the simulator: the first never reads, the second is an ordinary one.
NEVER_READS, ORDINARY = "99910000001", "99900000001"

workflow = Workflow.failover(
    whatsapp.template(
        "whatsapp:hsm:technology:nexmo:verify",
        ["Nexmo Verification", "64873", "10"],
        from_="447418342140",
        to=NEVER_READS,
    ).until("read", within=600),
    sms.text("This is an SMS sent via the Dispatch API", from_="31647356950", to=ORDINARY),
)


async def main() -> None:
    async with Simulator() as sim, sim.client() as client:
        try:
            dispatch = await client.send(workflow)
        except DispatchError as error:
            raise SystemExit(f"not accepted: {error}") from error
        print("accepted:", dispatch.dispatch_uuid)

        await sim.advance(660)  # eleven virtual minutes

        for record in sim.records:
            match record:
                case StepSent():
                    print(f"step {record.step + 1} sent on {record.channel}")
                case StepExpired():
                    print(f"step {record.step + 1} was not read in time")
                case StatusReached():
                    print(f"step {record.step + 1} {record.status}")
                case WorkflowEnded():
                    print("the workflow ended:", sim.outcome(dispatch.dispatch_uuid))
                case _:
                    pass


asyncio.run(main())
