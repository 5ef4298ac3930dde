"""A program of a user: it sends, receives and follows with the installed package, outside of the repository.

`check_installed.py` runs it on each Python; it imports nothing of the tests.
"""

import asyncio
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

from aiohttp import web

import nexmo_dispatch_async
import nexmo_dispatch_core
import nexmo_dispatch_webhooks
from nexmo_dispatch_async import Workflow, sms, whatsapp
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_webhooks import FinalReport, Router
from nexmo_dispatch_webhooks.aiohttp import setup

NUMBER = "999100000001"  # never reads


def check_origin() -> None:
    """Fail if a package comes from anywhere but the environment of this interpreter."""
    for package in (nexmo_dispatch_async, nexmo_dispatch_core, nexmo_dispatch_webhooks):
        path = Path(str(package.__file__)).resolve()
        assert path.is_relative_to(Path(sys.prefix).resolve()), f"{path} is not the installed package"
    assert nexmo_dispatch_async.__version__ == version("nexmo-dispatch-async")
    assert [each.name for each in entry_points(group="pytest11") if each.name == "nexmo-dispatch"]


async def main() -> None:
    router, tracker, reports = Router(), Tracker(), list[str | None]()
    tracker.attach(router)

    @router.final_report()
    async def on_report(event: FinalReport) -> None:
        reports.append(event.status)

    async with Simulator() as sim, tracker:
        app = web.Application()
        secrets = {sim.api_key: sim.signature_secret}
        setup(app, router, "/webhooks", secrets=secrets, inbox="inbox.db", clock=sim.timestamp)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks"
        sim.create_application(status_url=url, inbound_url=url)
        async with sim.client(tracker=tracker) as client:
            message = whatsapp.template("ns:parcel", ["today"], locale="en", from_="447418342140", to=NUMBER)
            fallback = sms.text("Your parcel is here", from_="31647356950", to=NUMBER)
            dispatch = await client.send(Workflow.failover(message.until("read", within=600), fallback))
            await sim.advance(660)
            result = await dispatch.wait(timeout=20)
        await runner.cleanup()

    assert (result.reached, result.channel, reports) == (True, "sms", ["completed"]), (result, reports)
    sys.stdout.write("sent, failed over, received")


check_origin()
asyncio.run(main())
