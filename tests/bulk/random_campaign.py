"""A campaign whose rows met everything that can happen, by a seed: for reports and lists."""

from __future__ import annotations

import asyncio
import random

from nexmo_dispatch_async.bulk.callbacks import CampaignCallbacks
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Recipient, Result
from nexmo_dispatch_webhooks.events import Event
from tests.bulk.callbacks import BEGIN, report, status, uuid_of

FAILURES = (1300, 1190, 1210, 1180, 1050, None)


def now() -> float:
    return BEGIN


async def random_campaign(count: int, seed: int = 7) -> MemoryLedger:
    """Return a ledger of so many rows with results and callbacks, doubled and out of order."""
    ledger = MemoryLedger(clock=now)
    await fill(ledger, count, seed)
    return ledger


async def fill(ledger: Ledger, count: int, seed: int = 7) -> None:
    """Give an empty ledger so many rows with results and callbacks, doubled and out of order."""
    chance = random.Random(seed)
    await ledger.add([_recipient(number, chance) for number in range(count)])
    claimed = await ledger.claim(ClaimRequest(limit=count - count // 20, now=BEGIN))
    events: list[Event] = []
    results: list[Result] = []
    for row in claimed:
        word = chance.choices(("sent", "refused", "unknown", None), (90, 4, 3, 1))[0]
        if word == "sent":
            results.append(
                Result(id=row.id, state="sent", at=BEGIN + row.id / 50, dispatch_uuid=uuid_of(row.id))
            )
            events += _story(row.id, row.address, chance)
        elif word == "refused":
            code = chance.choice(("1020", "1420", ""))
            results.append(
                Result(
                    id=row.id,
                    state="refused",
                    at=BEGIN,
                    error=chance.choice(("BadRequestError", "RowError")),
                    code=code,
                )
            )
        elif word == "unknown":
            results.append(Result(id=row.id, state="unknown", at=BEGIN, error="OutcomeUnknownError"))
    await ledger.record(results)
    chance.shuffle(events)
    callbacks = CampaignCallbacks(ledger, clock=now)
    await asyncio.gather(*map(callbacks.receive, events))


def _recipient(number: int, chance: random.Random) -> Recipient:
    return Recipient(
        key=f"99900000{number:04d}",
        address=f"99900000{number:04d}",
        fields={"name": f"<b>Name {number}</b>"},
        bucket="whatsapp|447418342140",
        line=number + 2,
        variant=chance.choice(("a", "b")),
        language=chance.choice(("nl", "en", "")),
        skip="hold_out" if chance.random() < 0.05 else None,
    )


def _story(number: int, address: str, chance: random.Random) -> list[Event]:
    """Everything that is told of one workflow: WhatsApp until read, then SMS."""
    at = number / 50
    told: list[Event] = []
    if chance.random() < 0.02:
        return told
    told.append(status(number, 1, "submitted", at=at, to=address))
    first = chance.choices(("read", "delivered", "undeliverable", "silent"), (60, 15, 20, 5))[0]
    if first == "undeliverable":
        told.append(status(number, 1, "undeliverable", at=at + 3, to=address, code=chance.choice(FAILURES)))
    if first in {"read", "delivered"}:
        told.append(status(number, 1, "delivered", at=at + chance.uniform(1, 20), to=address, price="0.05"))
    if first == "read":
        later = at + chance.lognormvariate(5, 2)
        told.append(status(number, 1, "read", at=later, to=address, price="0.05"))
        told.append(report(number, "completed", ("whatsapp", "read", "0.05"), at=later + 0.1, price="0.052"))
    else:
        told += _second_step(number, address, at + 600, first, chance)
    return [event for event in told for _ in range(1 + (chance.random() < 0.1))]


def _second_step(number: int, address: str, at: float, first: str, chance: random.Random) -> list[Event]:
    told = [status(number, 2, "submitted", at=at, channel="sms", to=address)]
    last = chance.choices(("delivered", "rejected", "silent"), (80, 15, 5))[0]
    if last == "silent":
        return told
    fine = last == "delivered"
    end = at + chance.uniform(2, 4000)
    told.append(
        status(
            number,
            2,
            last,
            at=end,
            channel="sms",
            to=address,
            code=None if fine else chance.choice(FAILURES),
            price="0.07" if fine else "",
        )
    )
    entries: list[tuple[str, ...]] = [
        ("whatsapp", "delivered", "0.05")
        if first == "delivered"
        else ("whatsapp", first.replace("silent", "submitted"))
    ]
    entries.append(("sms", last, "0.07") if fine else ("sms", last))
    price = 0.002 + 0.07 * fine + 0.05 * (first == "delivered")
    told.append(
        report(number, "completed" if fine else "error", *entries, at=end + 0.1, price=f"{price:.3f}")
    )
    return told
