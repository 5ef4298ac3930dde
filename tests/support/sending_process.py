"""`python -m tests.support.sending_process URL COUNT TOTAL`: sends workflows and prints the outcomes."""

import asyncio
import sys
from collections import Counter

from nexmo_dispatch_async import DispatchClient, RetryPolicy, Timeout, Workflow, sms
from nexmo_dispatch_async.auth import BearerToken


async def main(url: str, count: int, total: float) -> None:
    workflow = Workflow.failover(sms.text("hello", from_="31647356950", to="999100000001"))
    client = DispatchClient(
        auth=BearerToken("secret-token"),
        application_id="app",
        base_url=url,
        timeout=Timeout(connect=10, total=total),
        retry=RetryPolicy(attempts=1),
    )
    outcomes: Counter[str] = Counter()
    async with client, client.send_many((workflow for _ in range(count)), limit=count) as results:
        async for result in results:
            outcomes[result.outcome] += 1
    print(dict(outcomes))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
