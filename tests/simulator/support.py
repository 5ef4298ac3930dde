"""Builders for the simulator's tests: workflows as JSON values, and an engine without a network."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nexmo_dispatch_async.simulator.api.validation import parse_dispatch
from nexmo_dispatch_async.simulator.callbacks.bodies import Answer, Delivery, Signer
from nexmo_dispatch_async.simulator.engine import Engine, Run
from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication, SimulatedApplications
from nexmo_dispatch_async.simulator.world.faults import Faults
from nexmo_dispatch_async.simulator.world.history import History
from nexmo_dispatch_async.simulator.world.people import People
from nexmo_dispatch_async.simulator.world.seeded_random import SeededRandom
from nexmo_dispatch_async.simulator.world.settings import Settings

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)

_SENDERS = {
    "sms": {"number": "3197010299901"},
    "mms": {"number": "24273"},
    "whatsapp": {"number": "447700900800"},
    "viber_service_msg": {"id": "VSM-ID-40817"},
    "messenger": {"id": "118820033417905"},
}


def step(
    channel: str, to: str, *, within: object = None, until: str = "delivered", **more: Any
) -> dict[str, Any]:
    """Return a text step; `within` makes it one that is failed over from."""
    key = "id" if channel == "messenger" else "number"
    built: dict[str, Any] = {
        "from": {"type": channel, **_SENDERS[channel]},
        "to": {"type": channel, key: to},
        "message": {"content": {"type": "text", "text": "Hello"}},
        **more,
    }
    if within is not None:
        built["failover"] = {"expiry_time": within, "condition_status": until}
    return built


def workflow(*steps: dict[str, Any]) -> dict[str, Any]:
    """Return a workflow; without steps a single SMS to the default person."""
    return {"template": "failover", "workflow": list(steps) or [step("sms", "999000000001")]}


@dataclass
class Box:
    """An engine and the parts it works with."""

    engine: Engine
    application: SimulatedApplication
    people: People
    settings: Settings
    history: History
    faults: Faults

    def accept(self, *steps: dict[str, Any]) -> Run:
        return self.engine.accept(self.application, parse_dispatch(json.dumps(workflow(*steps)).encode()))

    def run(self, seconds: float, answer: Answer | None = None) -> list[Delivery]:
        """Let time pass; every delivery is answered alike, with 200 unless told otherwise."""
        until = self.engine.now_ms + round(seconds * 1000)
        deliveries: list[Delivery] = []
        while (delivery := self.engine.next_delivery(until)) is not None:
            deliveries.append(delivery)
            self.engine.answered(delivery, delivery.verdict or answer or Answer(200))
        return deliveries

    def story(self, seconds: float) -> list[tuple[float, str]]:
        """Let time pass and tell it: seconds and "channel status" or "report status"."""
        told: list[tuple[float, str]] = []
        for delivery in self.run(seconds):
            body = json.loads(delivery.body)
            what = body["to"]["type"] if "to" in body else "report"
            said = body.get("status") or body["message"]["content"]["text"]
            told.append((delivery.at_ms / 1000, f"{what} {said}"))
        return told


def box(seed: int | str = 0, *, keep: int = 1000, urls: bool = True) -> Box:
    """Build an engine whose callbacks go nowhere but to the test; it takes free content at any time."""
    random, people, history = SeededRandom(seed), People(), History(10_000)
    settings = Settings(care_window=False)
    faults = Faults(random)
    applications = SimulatedApplications(random)
    where = {"status": "http://receiver/status", "inbound": "http://receiver/inbound"} if urls else {}
    application = applications.add("test", **where)
    signer = Signer(api_key="a1b2c3d4", secret="s" * 64, epoch=EPOCH, random=random)
    engine = Engine(
        settings=settings,
        people=people,
        applications=applications,
        random=random,
        signer=signer,
        history=history,
        epoch=EPOCH,
        keep=keep,
        faults=faults,
    )
    return Box(engine, application, people, settings, history, faults)
