"""`python -m tests.support.one_slot_process PLACE URL LEASE`: sends the campaign `spring` with a single slot.

What it has claimed beyond the one request that is under way waits in the process.
"""

import asyncio
import sys

from nexmo_dispatch_async import DispatchClient
from nexmo_dispatch_async.auth import BearerToken
from nexmo_dispatch_async.bulk import Campaign
from nexmo_dispatch_async.bulk.ledger.places import open_ledger
from tests.support.campaign_process import TEMPLATE


async def main(place: str, url: str, lease: float) -> None:
    client = DispatchClient(auth=BearerToken("secret-token"), application_id="app", base_url=url, limit=1)
    async with (
        client,
        await open_ledger(place, name="spring", lease=lease, accept_loss=True) as ledger,
        Campaign.open(ledger, client=client, template=TEMPLATE, limit=8) as campaign,
    ):
        await campaign.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
