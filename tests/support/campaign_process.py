"""`python -m tests.support.campaign_process FILE URL TOKEN_URL ID SECRET APPLICATION COUNT [RATE]`.

It adds COUNT rows, those that are new, sends what is pending, and prints the numbers as JSON. SIGTERM drains.
"""

import asyncio
import json
import sys

from nexmo_dispatch_async import DispatchClient, KpnOAuth, sms
from nexmo_dispatch_async.bulk import Campaign, WorkflowTemplate

TEMPLATE = WorkflowTemplate(sms.text("Hello {name}", from_="31647356950", to="{phone}"))
LIMIT = 32


def person(number: int) -> dict[str, str]:
    return {"phone": f"999{number:09}", "name": f"Person {number}"}


async def main(file: str, service: list[str], count: int, rate: float | None) -> None:
    base_url, token_url, client_id, secret, application = service
    auth = KpnOAuth(client_id, secret, token_url=token_url)
    async with (
        DispatchClient(auth=auth, application_id=application, base_url=base_url) as client,
        Campaign.open(file, client=client, template=TEMPLATE, limit=LIMIT, rate=rate) as campaign,
    ):
        before = await campaign.ledger.counts()
        if before.total < count:
            await campaign.add([person(number) for number in range(before.total, count)])
        print("running", flush=True)
        await campaign.run(signals=True)
        counts = await campaign.ledger.counts(verify=True)
        assert counts == await campaign.ledger.counts()
        print(json.dumps(counts.states), flush=True)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    pace = float(arguments[7]) if arguments[7:] else None
    asyncio.run(main(arguments[0], arguments[1:6], int(arguments[6]), pace))
