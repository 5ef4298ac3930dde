"""Send a one-time password: over WhatsApp, and by SMS if it is not read within 30 seconds.

It runs against the simulator and needs no account; with one, `DispatchClient.from_env()` takes its place.
"""

import asyncio
import secrets

from nexmo_dispatch_async import (
    DispatchClient,
    DispatchError,
    NotSentError,
    OutcomeUnknownError,
    Workflow,
    sms,
    whatsapp,
)
from nexmo_dispatch_async.simulator import Simulator

BRAND, MINUTES = "Nexmo Verification", 10

# Recipients of the simulator: the first reads after 5 seconds, the second never does.
READS, NEVER_READS = "999200050001", "999100000001"


def password(number: str, code: str) -> Workflow:
    return Workflow.failover(
        whatsapp.template(
            "whatsapp:hsm:technology:nexmo:verify",
            [BRAND, code, str(MINUTES)],
            locale="en-GB",
            from_="447418342140",
            to=number,
        ).until("read", within=30),
        sms.text(f"{BRAND} code: {code}. Valid for {MINUTES} minutes.", from_="31647356950", to=number),
    )


async def send_password(client: DispatchClient, number: str) -> str:
    """Send a new code, and return what the login page says."""
    code = f"{secrets.randbelow(1_000_000):06}"  # stored by your login, as a hash, for ten minutes
    try:
        await client.send(password(number, code))
    except NotSentError:
        return "no code was sent: try again"
    except OutcomeUnknownError:
        return "a code may have been sent: wait for it before you ask for another"
    except DispatchError as error:
        return f"no code can be sent: {error}"
    return "a code was sent"


async def main() -> None:
    async with Simulator() as sim, sim.client() as client:
        for who, number in {"reads": READS, "never reads": NEVER_READS}.items():
            before = len(sim.sent_channels())
            answer = await send_password(client, number)
            await sim.advance(30)  # virtual seconds
            print(f"{who}: {answer}; sent on {', then '.join(sim.sent_channels()[before:])}")

        # The service takes the code, and its response is lost: a repetition could be a second code.
        sim.faults.add({"kind": "reset", "route": "POST /dispatch", "when": "after", "count": 1})
        print("lost response:", await send_password(client, READS))
        print("workflows accepted:", sim.accepted)


asyncio.run(main())
