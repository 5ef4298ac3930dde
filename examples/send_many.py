"""Send many workflows, at most 64 at a time, with a progress bar; memory does not grow with their number.

It runs against the simulator and needs no account. `python examples/send_many.py --count 20000`
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nexmo_dispatch_async import Workflow, sms, whatsapp
from nexmo_dispatch_async.simulator import Simulator


def workflows(count: int) -> Iterator[Workflow]:
    """Yield the workflows one by one, so that none is built before it is needed."""
    for number in range(count):
        recipient = f"9990{number:08d}"
        yield Workflow.failover(
            whatsapp.template(
                "ns:parcel", ["today"], locale="en-GB", from_="447418342140", to=recipient
            ).until("read", within=600),
            sms.text("It is here", from_="31647356950", to=recipient),
        )


async def main(count: int, limit: int) -> None:
    outcomes: Counter[str] = Counter()
    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with Simulator(history=1000) as sim, sim.client() as client:
        with Progress(*columns) as progress:
            bar = progress.add_task("sending", total=count)
            async with client.send_many(workflows(count), limit=limit) as results:
                async for result in results:
                    outcomes[result.outcome] += 1
                    progress.advance(bar)
        print("accepted by the simulator:", sim.accepted)
    print(", ".join(f"{name}: {number}" for name, number in outcomes.most_common()) or "nothing to send")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--count", type=int, default=20_000, help="how many workflows to send")
parser.add_argument("--limit", type=int, default=64, help="how many at a time")
arguments = parser.parse_args()
asyncio.run(main(arguments.count, arguments.limit))
