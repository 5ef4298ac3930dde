"""What the tests of campaigns share: recipients, a template, a sender in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

from nexmo_dispatch_async import sms
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import Recipient
from nexmo_dispatch_async.bulk.sending.calendar import Calendar
from nexmo_dispatch_async.bulk.sending.governor import Governor
from nexmo_dispatch_async.bulk.sending.sender import Sender
from nexmo_dispatch_async.bulk.settings import Pace
from nexmo_dispatch_async.bulk.templates.template import WorkflowTemplate

EPOCH = 1_800_000_000.0
TEMPLATE = WorkflowTemplate(sms.text("Hello {name|there}", from_="31647356950", to="{phone}"))


def phone(number: int) -> str:
    """Return a number of a range that is assigned to no subscriber."""
    return f"999{number:09}"


def recipients(
    count: int, *, start: int = 0, bucket: str = "sms|31647356950", **more: Any
) -> list[Recipient]:
    return [
        Recipient(
            key=phone(number),
            address=phone(number),
            fields={"phone": phone(number), "name": "Ada"},
            bucket=bucket,
            line=number + 2,
            **more,
        )
        for number in range(start, start + count)
    ]


def wall() -> float:
    """Epoch seconds that go with the virtual loop."""
    return EPOCH + asyncio.get_running_loop().time() - 1000.0


async def filled(count: int, **more: Any) -> MemoryLedger:
    ledger = MemoryLedger(clock=wall)
    await ledger.add(recipients(count, **more))
    return ledger


def sender_of(ledger: Ledger, client: Any, **more: Any) -> Sender:
    settings: dict[str, Any] = {
        "governor": Governor(random=lambda: 0.5),
        "pace": Pace(limit=8),
        "calendar": Calendar(),
        "wall_clock": wall,
    }
    return Sender(ledger, client, TEMPLATE, **settings | more)


async def until(condition: Any, *, seconds: float = 60.0) -> None:
    """Wait until a condition holds, in steps of a hundredth of a second, at most so long."""
    for _ in range(int(seconds * 100)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition never held")
