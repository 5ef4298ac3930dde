"""A service with faults in a process of its own, which runs until its standard input ends.

It prints one line of JSON: the settings of its clients and of their receivers.

    python -m tests.support.simulator_process STATUS_URL CAMPAIGN_URL
"""

import asyncio
import json
import sys
import time

from nexmo_dispatch_async.simulator import Fault, Settings, Simulator

#: Virtual seconds per second: a failover after a minute takes a second.
SPEED = 60
#: Few enough that its memory is flat after seconds.
HISTORY = 2_000
#: Recipients whose sends fail at the gateway; those of campaigns are others, since a campaign then pauses.
OVER_QUOTA, BROKEN = "99900000004?", "99900000003?"
FAULTS = (
    Fault(kind="latency", route="POST /dispatch", probability=0.05, seconds=0.02),
    Fault(kind="reset", route="POST /dispatch", probability=0.005),
    Fault(kind="reset", route="POST /dispatch", probability=0.005, when="after"),
    Fault(kind="half_response", route="POST /dispatch", probability=0.005),
    Fault(kind="expire_tokens", route="POST /dispatch", probability=0.002),
    Fault(kind="error", route="POST /dispatch", recipient=BROKEN, status=500, form="html"),
    Fault(kind="quota", route="POST /dispatch", recipient=OVER_QUOTA),
    Fault(kind="receiver_down", probability=0.02),
    Fault(kind="unsigned", probability=0.03),
    Fault(kind="duplicate", probability=0.05),
    Fault(kind="reorder", probability=0.02, seconds=10),
    Fault(kind="late", probability=0.02, seconds=20),
    Fault(kind="lost", probability=0.01),
)


async def main(status_url: str, campaign_url: str) -> None:
    # The older policy repeats a callback that was refused for want of a signature as well.
    settings = Settings(care_window=False, retry_policy="older", most_replies=None)
    async with Simulator(speed=SPEED, settings=settings, history=HISTORY, signing_clock=time.time) as sim:
        for fault in FAULTS:
            sim.faults.add(fault)
        account = {
            "base_url": sim.base_url,
            "token_url": sim.token_url,
            "client_id": sim.client_id,
            "client_secret": sim.client_secret,
            "api_key": sim.api_key,
            "signature_secret": sim.signature_secret,
            "sends": sim.create_application(status_url=status_url, inbound_url=status_url).id,
            "campaigns": sim.create_application(status_url=campaign_url).id,
        }
        print(json.dumps(account), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
