"""Remind each person of a CSV of an appointment, none twice, and report who was reached.

The service is the simulator on a virtual clock, so two hours take no time; it needs no account.
"""

import asyncio
import tempfile
from pathlib import Path
from socket import create_server

from aiohttp import web

from nexmo_dispatch_async import Tariff, sms, whatsapp
from nexmo_dispatch_async.bulk import Campaign, WorkflowTemplate
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import Router
from nexmo_dispatch_webhooks.aiohttp import setup

# A list as exported from a spreadsheet: a byte-order mark, semicolons, a number twice, one too short. The
# test numbers of the simulator determine the behaviour of their recipients.
PEOPLE = (
    "phone;name;time\n"
    + "".join(f"+999{'20020' if n % 3 else '10000'}{n:04d};Patient {n};{9 + n % 8}:30\n" for n in range(60))
    + "+999200200007;Patient 7 again;9:30\n06-12;Too short;9:30\n"
    + "".join(f"+9994119000{n:02d};Gone {n};9:30\n" for n in range(5))
)
REMINDER = WorkflowTemplate(
    whatsapp.template(
        "ns:appointment", ["{name}", "{time}"], from_="447418342140", to="{phone}", locale="en-GB"
    ).until("read", within=600),
    sms.text("Your appointment is tomorrow at {time}", from_="31647356950", to="{phone}"),
)


async def main(folder: Path) -> None:
    people = folder / "people.csv"
    people.write_text(PEOPLE, "utf-8-sig")
    listener = create_server(("127.0.0.1", 0))  # the URL for callbacks; your own receiver has a fixed one
    sim = Simulator(seed=1)
    sim.create_application(status_url=f"http://127.0.0.1:{listener.getsockname()[1]}/webhooks")
    path, tariff = folder / "reminders.db", Tariff({"whatsapp": "0.05", "sms": "0.07"})
    wall = sim.timestamp  # in production: no clock
    async with (
        sim,
        sim.client() as client,
        Campaign.open(path, client=client, template=REMINDER, tariff=tariff, wall_clock=wall) as campaign,
    ):
        # 1. The dry run, before anything is sent.
        plan = await campaign.plan(people)
        print(f"{plan.sends} to send, {plan.rejected} rejected")

        # 2. Callbacks report the outcome of each row, and STOP replies go to the opt-out list.
        router, app = Router(), web.Application()
        campaign.attach(router)
        setup(app, router, "/webhooks", secrets={sim.api_key: sim.signature_secret}, clock=sim.timestamp)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, listener).start()

        # 3. Each row is sent once. After a crash the same lines continue the campaign.
        taken = await campaign.add(people, plan=plan.hash)
        for reject in taken.rejects:
            print(f"line {reject.line} was not taken: {reject.field} {reject.advice}")
        await campaign.run()

        # 4. Two hours later.
        await sim.advance(7200)
        await campaign.wait(timeout=0)
        report = await campaign.report()
        print(f"{report.delivered} of {report.rows} people reached, for {report.cost['EUR']} EUR")
        for channel in report.channels:
            print(f"  {channel.channel}: {channel.delivered} of {channel.attempted} messages delivered")
        for reason in report.reasons:
            print(f"  not reached: {reason.rows}  {reason.why}")
        await runner.cleanup()


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(Path(name)))
