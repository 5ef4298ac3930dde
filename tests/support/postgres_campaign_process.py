"""`python -m tests.support.postgres_campaign_process DATABASE URL TOKEN_URL ID SECRET APPLICATION [RATE]`.

It sends what is pending in the campaign `spring`, beside other processes that do, and prints the numbers.
"""

import asyncio
import json
import sys

from nexmo_dispatch_async import DispatchClient, KpnOAuth
from nexmo_dispatch_async.bulk import Campaign
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from tests.support.campaign_process import LIMIT, TEMPLATE

#: Seconds without a sign of life after which the others take it for dead.
LEASE = 3.0


async def main(database: str, service: list[str], rate: float | None) -> None:
    base_url, token_url, client_id, secret, application = service
    auth = KpnOAuth(client_id, secret, token_url=token_url)
    async with (
        DispatchClient(auth=auth, application_id=application, base_url=base_url) as client,
        await PostgresLedger.open(database, "spring", lease=LEASE, timeout=10.0) as ledger,
        Campaign.open(ledger, client=client, template=TEMPLATE, limit=LIMIT, rate=rate) as campaign,
    ):
        print("running", flush=True)
        await campaign.run()
        print(json.dumps((await ledger.counts()).states), flush=True)


if __name__ == "__main__":
    pace = float(sys.argv[7]) if sys.argv[7:] else None
    asyncio.run(main(sys.argv[1], sys.argv[2:7], pace))
