"""What has to become of a workflow, told by brute force: a model that shares no code with the engine.

It asks of every step when what happens, in seconds, and reads the contract (3.6) word by word; no heap, no
table, no state machine. Where failover and behaviour are in whole seconds it is exact.
"""

from dataclasses import dataclass
from typing import Any

from nexmo_dispatch_async.simulator.world.people import Person

READING = {"whatsapp", "viber_service_msg", "messenger"}
FEE = "0.002"


@dataclass(frozen=True)
class Told:
    """A final report: None as status while there is none, and the statuses of the messages that were sent."""

    status: str | None
    messages: list[str]
    at: float | None
    #: when each message was sent
    sent: list[float]


def timeline(channel: str, person: Person, start: float) -> dict[str, float]:
    """Return when a message that was sent at `start` reaches which status."""
    moments: dict[str, float] = {}
    outcome_at = start + (person.outcome_after or 0)
    if person.outcome != "rejected" and person.submitted_after is not None:
        moments["submitted"] = start + person.submitted_after
    if person.outcome != "silent":
        moments[person.outcome] = outcome_at
    if person.outcome == "delivered" and channel in READING and person.read_after is not None:
        moments["read"] = max(start + person.read_after, outcome_at)
    return moments


def expected_report(steps: list[dict[str, Any]], people: list[Person]) -> Told:
    """Return the final report of a workflow."""
    start, told = 0.0, list[dict[str, float]]()
    sent: list[float] = []
    for raw, person in zip(steps, people, strict=True):
        moments = timeline(raw["to"]["type"], person, start)
        told.append(moments)
        sent.append(start)
        failover = raw.get("failover")
        good = {"delivered", "read"} if failover is None else {failover["condition_status"], "read"}
        met = min((at for status, at in moments.items() if status in good), default=None)
        failed = min((at for s, at in moments.items() if s in {"rejected", "undeliverable"}), default=None)
        if failover is None:
            if met is not None:
                return Told("completed", at_report(told, met), met, sent)
            if failed is not None:
                return Told("error", at_report(told, failed), failed, sent)
            return Told(None, [], None, sent)
        expires = start + failover["expiry_time"]
        if met is not None and met <= expires:
            return Told("completed", at_report(told, met), met, sent)
        start = failed if failed is not None and failed <= expires else expires
    raise AssertionError("the last step has no failover")


def at_report(told: list[dict[str, float]], end: float) -> list[str]:
    """Return the strongest status of each message when the report is made, 40-65 ms after the end."""
    order = ["submitted", "rejected", "undeliverable", "delivered", "read"]
    return [
        max((s for s, at in moments.items() if at <= end + 0.04), key=order.index, default="submitted")
        for moments in told
    ]
