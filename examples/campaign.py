"""Send a message to each customer of a CSV, none twice, and write a report of who was reached.

The service is the simulator on a virtual clock, so two hours take no time; it needs no account.
"""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from socket import create_server

from aiohttp import web

from nexmo_dispatch_async import Tariff, sms, whatsapp
from nexmo_dispatch_async.bulk import Campaign, Variants, WorkflowTemplate
from nexmo_dispatch_async.bulk.report.page import report_page
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import Router
from nexmo_dispatch_webhooks.aiohttp import setup

# A list as exported from a spreadsheet: a byte-order mark, semicolons, a number twice, one too short. The
# test numbers of the simulator determine the behaviour of their recipients.
PEOPLE = (
    "phone;name;language\n"
    + "".join(f"+9999000{n:05d};Customer {n};{'nl' if n % 3 else 'en'}\n" for n in range(60))
    + "+999900000007;Customer 7 again;nl\n06-12;Too short;nl\n"
    + "".join(f"+9994119000{n:02d};Gone {n};nl\n" for n in range(5))
)

TEMPLATE = WorkflowTemplate(
    whatsapp.template("ns:spring", ["{name}"], from_="447418342140", to="{phone}", locale="nl").until(
        "read", within=600
    ),
    {
        "nl": sms.text("Hallo {name|daar}, het is lente", from_="31647356950", to="{phone}"),
        "en": sms.text("Hello {name|there}, it is spring", from_="31647356950", to="{phone}"),
    },
    default_language="en",
)


async def main(folder: Path) -> None:
    customers = folder / "customers.csv"
    customers.write_text(PEOPLE, "utf-8-sig")
    # The URL for callbacks; your own receiver has a fixed one.
    socket = create_server(("127.0.0.1", 0))
    async with Simulator(seed=1) as sim, AsyncExitStack() as stack:
        sim.create_application(status_url=f"http://127.0.0.1:{socket.getsockname()[1]}/webhooks")
        client = await stack.enter_async_context(sim.client())
        campaign = await stack.enter_async_context(
            Campaign.open(
                folder / "spring.db",
                client=client,
                template=TEMPLATE,
                limit=32,
                tariff=Tariff({"whatsapp": "0.05", "sms": "0.07"}),
                variants=Variants(hold_out=0.05),
                wall_clock=sim.timestamp,
            )
        )
        # 1. The dry run, before anything is sent.
        plan = await campaign.plan(customers)
        print(f"{plan.sends} to send, {plan.rejected} rejected, plan {plan.hash[:8]}")
        if plan.cost is not None:
            print(f"cost {plan.cost.best} at best, {plan.cost.worst} at worst, {plan.cost.currency}")

        # 2. Callbacks report the outcome of each row, and STOP replies go to the opt-out list.
        router = Router()
        campaign.attach(router)
        app = web.Application()
        setup(app, router, "/webhooks", secrets={sim.api_key: sim.signature_secret}, clock=sim.timestamp)
        runner = web.AppRunner(app, access_log=None)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.SockSite(runner, socket).start()

        # 3. Rows are frozen when they are added; adding the file again would add nothing.
        taken = await campaign.add(customers, plan=plan.hash)
        for reject in taken.rejects:
            print(f"line {reject.line} was not taken: {reject.field} {reject.advice}")

        # 4. Each row is sent once. After a crash the same three lines continue the campaign.
        counts = await campaign.run()
        print(", ".join(f"{number} {state}" for state, number in counts.states.items()))

        # 5. Two hours later.
        await sim.advance(7200)
        await campaign.wait(timeout=0)
        report = await campaign.report()
        print(f"{report.delivered} of {report.rows} people reached, {report.read} read")
        print(f"cost {report.cost['EUR']} EUR, {report.cost_each['EUR']} for each person reached")
        for channel in report.channels:
            print(f"  {channel.channel}: {channel.delivered} of {channel.attempted} messages delivered")
        for reason in report.reasons:
            print(f"  not reached: {reason.rows}  {reason.why}")
        (folder / "report.html").write_text(report_page(report, zone="Europe/Amsterdam"), "utf-8")


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(Path(name)))
