"""Recipients are added many at a time, and none is kept back for longer than that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from nexmo_dispatch_async import sms
from nexmo_dispatch_async.bulk import WorkflowTemplate
from nexmo_dispatch_async.bulk.ledger.conformance_claims import person
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import Added, Recipient
from nexmo_dispatch_async.bulk.rows.additions import TOGETHER, Additions
from nexmo_dispatch_async.bulk.rows.intake import Intake
from nexmo_dispatch_async.bulk.rows.readers import SourceError

TEMPLATE = WorkflowTemplate(sms.text("Hello {name}", from_="447700900000", to="{phone}"))


class CountingLedger:
    """A ledger that notes how many rows came together."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.sizes: list[int] = []

    async def add(self, rows: Sequence[Recipient]) -> Added:
        self.sizes.append(len(rows))
        return await self.ledger.add(rows)


def people(count: int) -> Iterator[dict[str, str]]:
    return ({"phone": f"4477009{number:05d}", "name": "Ada"} for number in range(count))


async def test_rows_are_added_many_at_a_time() -> None:
    """The number of transactions, and of pages that each of them writes, stays small."""
    ledger = CountingLedger()

    taken = await Intake(TEMPLATE).take(people(TOGETHER + 5), ledger)

    assert (taken.rows, taken.added, ledger.sizes) == (TOGETHER + 5, TOGETHER + 5, [TOGETHER, 5])


async def test_rows_of_a_program_are_not_kept_back() -> None:
    """What an async iterable yields over hours is in the ledger with the batch that it came in."""
    ledger = CountingLedger()

    async def slow() -> AsyncIterator[dict[str, str]]:
        for row in people(4500):
            yield row

    await Intake(TEMPLATE).take(slow(), ledger)

    assert ledger.sizes == [2000, 2000, 500]


async def test_rows_before_the_end_of_a_broken_source_are_added() -> None:
    """Who mends the source and adds it again finds them there."""
    ledger = CountingLedger()

    def broken() -> Iterator[dict[str, str]]:
        yield from people(2000)
        raise ZeroDivisionError

    with pytest.raises(SourceError, match="after row 2000"):
        await Intake(TEMPLATE).take(broken(), ledger)

    assert ledger.sizes == [2000]


async def test_numbers_are_those_of_the_ledger() -> None:
    """New rows, rows that were there, and rows that are kept back are counted as the ledger took them."""
    ledger = MemoryLedger()
    await ledger.add([person(1)])
    additions = Additions(ledger)

    await additions.take([person(1, skip="hold_out"), person(2), person(3, skip="hold_out")])
    assert repr(additions) == "<Additions added=0 waiting=3>"
    await additions.finish()
    await additions.finish()

    assert (additions.added, additions.already, additions.held_out) == (2, 1, 1)


async def test_a_pass_without_a_ledger_keeps_nothing() -> None:
    """To look at a source of any size takes no memory for its rows."""
    additions = Additions(None)

    await additions.take([person(1)])

    assert repr(additions) == "<Additions added=0 waiting=0>"
