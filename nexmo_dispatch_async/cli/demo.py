"""`nexmo-dispatch demo`: the documented workflows, end to end, over real HTTP and on a virtual clock."""

import io
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import anyio
import msgspec
from aiohttp import web
from rich.console import Console

from nexmo_dispatch_async.cli.scenarios import SCENARIOS, Scenario
from nexmo_dispatch_async.cli.screen import Screen, show, show_json
from nexmo_dispatch_async.cli.timeline import Timeline
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import FinalReport, InboundMessage, MessageStatus, Router
from nexmo_dispatch_webhooks.aiohttp import setup

HOST = "127.0.0.1"
#: Seconds between two steps of the virtual clock when it does not jump.
_TICK: Final = 0.1


class DemoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command; see its help."""

    speed: float | None = None
    json: bool = False


@dataclass(slots=True)
class Callbacks:
    """The callbacks of the current scenario, as its handlers received them."""

    timeline: Timeline | None = None
    statuses: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    inbound: int = 0
    reports: list[FinalReport] = field(default_factory=list[FinalReport])

    def start(self, timeline: Timeline) -> None:
        """Clear the callbacks of the previous scenario and print to a new timeline."""
        self.timeline = timeline
        self.statuses.clear()
        self.inbound = 0
        self.reports.clear()

    def router(self) -> Router:
        """Return a router whose handlers count and print."""
        router = Router()

        @router.message_status()
        async def on_status(event: MessageStatus) -> None:
            self.statuses[event.channel, event.status] += 1
            if self.timeline:
                self.timeline.status(event)

        @router.inbound_message()
        async def on_inbound(event: InboundMessage) -> None:
            self.inbound += 1
            if self.timeline:
                self.timeline.inbound(event)

        @router.final_report()
        async def on_report(event: FinalReport) -> None:
            self.reports.append(event)
            if self.timeline:
                self.timeline.report(event)

        return router

    def problems(self, scenario: Scenario) -> list[str]:
        """Return the differences between the callbacks received and those expected."""
        expected = Counter(scenario.statuses)
        found = [f"missing: {channel} {status}" for channel, status in (expected - self.statuses).elements()]
        found += [
            f"unexpected: {channel} {status}" for channel, status in (self.statuses - expected).elements()
        ]
        inbound = scenario.replies + scenario.writes_first
        if self.inbound != inbound:
            found.append(f"{self.inbound} inbound messages instead of {inbound}")
        if [report.status for report in self.reports] != [scenario.report]:
            found.append(
                f"final reports {[report.status for report in self.reports]} instead of {scenario.report}"
            )
        return found


@asynccontextmanager
async def receiver(router: Router, sim: Simulator) -> AsyncGenerator[str]:
    """Serve a router on a free loopback port and yield its URL.

    Unsigned callbacks are refused; the age of a signature is measured by the simulator's clock.
    """
    application = web.Application()
    secrets = {sim.api_key: sim.signature_secret}
    setup(application, router, path="/webhooks", secrets=secrets, clock=sim.timestamp)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        port: int = runner.addresses[0][1]
        yield f"http://{HOST}:{port}/webhooks"
    finally:
        await runner.cleanup()


async def run(
    console: Console | None = None,
    options: DemoOptions = DemoOptions(),  # noqa: B008 - frozen
    scenarios: tuple[Scenario, ...] = SCENARIOS,
) -> int:
    """Run all scenarios; return 0 only if all callbacks arrived and all outcomes were as expected."""
    target = console or Screen()
    # the narrative has no place where JSON is wanted
    console = Console(file=io.StringIO()) if options.json else target
    callbacks = Callbacks()
    failures = 0
    total = Decimal(0)
    async with Simulator() as sim, receiver(callbacks.router(), sim) as url:
        show(f"simulator at {sim.url}, on a virtual clock", to=console)
        show(f"receiver at {url}, refusing what is not signed", to=console)
        async with sim.client() as client:
            application = await client.applications.create(
                name="demo", status_url=f"{url}/status", inbound_url=f"{url}/inbound"
            )
        show(f"created application {application.id}", to=console)
        async with sim.client(application_id=application.id) as client:
            for number, scenario in enumerate(scenarios, start=1):
                show(to=console)
                show((f"{number}. {scenario.title}", "bold"), to=console)
                dispatch = await _play(scenario, sim, client, callbacks, console, options.speed)
                problems = callbacks.problems(scenario)
                if options.json:
                    show_json(_as_object(scenario, dispatch, callbacks, problems), to=target)
                for problem in problems:
                    show("  ", (f"✗ {problem}", "bold red"), to=console)
                failures += bool(problems)
                if not problems:
                    count = callbacks.statuses.total() + callbacks.inbound + len(callbacks.reports)
                    show(
                        "  ",
                        (f"✓ {count} callbacks arrived, each verified; as expected", "green"),
                        to=console,
                    )
                total += sum(
                    (r.usage.price for r in callbacks.reports if r.usage and r.usage.price), Decimal(0)
                )
    verdict = "every outcome as expected" if not failures else f"{failures} not as expected"
    show(to=console)
    show(f"{len(scenarios)} workflows, EUR {total} in all, {verdict}", to=console)
    return 1 if failures else 0


async def _play(
    scenario: Scenario,
    sim: Simulator,
    client: DispatchClient,
    callbacks: Callbacks,
    console: Console,
    speed: float | None,
) -> Dispatch:
    timeline = Timeline(console, sim.time, scenario.workflow)
    callbacks.start(timeline)
    if scenario.writes_first:
        await _write_first(scenario, sim)
    dispatch = await client.send(scenario.workflow)
    timeline.sent(dispatch)
    await _elapse(sim, scenario.advance, speed)
    return dispatch


async def _elapse(sim: Simulator, seconds: float, speed: float | None) -> None:
    """Let virtual seconds pass: at once, or at a speed that a person can follow."""
    passed, step = 0.0, seconds if speed is None else speed * _TICK
    while passed < seconds:
        part = min(step, seconds - passed)
        if speed is not None:
            await anyio.sleep(part / speed)
        await sim.advance(part)
        passed += part


def _as_object(
    scenario: Scenario, dispatch: Dispatch, callbacks: Callbacks, problems: list[str]
) -> dict[str, object]:
    prices = [report.usage.price for report in callbacks.reports if report.usage]
    return {
        "workflow": scenario.title,
        "dispatch_uuid": dispatch.dispatch_uuid,
        "statuses": [
            {"channel": channel, "status": status} for channel, status in callbacks.statuses.elements()
        ],
        "inbound": callbacks.inbound,
        "reports": [report.status for report in callbacks.reports],
        "price": next((price for price in prices if price is not None), None),
        "problems": problems,
    }


async def _write_first(scenario: Scenario, sim: Simulator) -> None:
    """Send a message from the recipient of the first step, which opens the Customer Care Window for a day."""
    first = scenario.workflow.steps[0]
    channel, customer, business = first.to.type, first.to.number or first.to.id, first.from_
    sim.inbound(
        "Hello",
        channel=channel,
        from_=str(customer),
        to=str(business.number or business.id),
        application=sim.applications[-1],
    )
    await sim.advance(0)
