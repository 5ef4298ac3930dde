"""Load on an inbox and a ledger whose server will lose power: what clients were told, and when.

Tests of the engines compare it with what a server has after its recovery.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from nexmo_dispatch_async.bulk.ledger.conformance_claims import request, result
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.records import Claimed, State
from nexmo_dispatch_async.exceptions import LedgerError
from nexmo_dispatch_webhooks import Context, InboxError, parse_event
from nexmo_dispatch_webhooks.inbox import InboxStore, NewRecord
from nexmo_dispatch_webhooks.inbox.records import make_record
from nexmo_dispatch_webhooks.sansio import RawRequest
from nexmo_dispatch_webhooks.testing import status_body

__all__ = ["Promised", "Promises", "keep_busy", "record", "uuid_of"]

#: How far a row is, by its state.
_FAR: Final[dict[State, int]] = {"pending": 0, "sending": 1, "unknown": 1, "sent": 2}


@dataclass(frozen=True)
class Promised:
    """What was promised up to a moment.

    Attributes:
        stored: The number of the event by the id of its record.
        states: The last state of each row.
    """

    stored: dict[int, int]
    states: dict[int, State]

    def assert_kept(self, stored: set[int], states: dict[int, State]) -> None:
        """Each event is there, and no row is in an earlier state than was told."""
        missing = set(self.stored) - stored
        assert not missing, f"events are missing: {sorted(missing)}"
        back = {
            f"{row_id} from {state} to {states.get(row_id)}"
            for row_id, state in self.states.items()
            if row_id not in states or _FAR[states[row_id]] < _FAR[state]
        }
        assert not back, f"rows went back: {sorted(back)}"

    def counted(self) -> Counter[str]:
        """Return how many promises there are of each kind."""
        return Counter(self.states.values()) + Counter(stored=len(self.stored))


@dataclass
class Promises:
    """What clients were told, each with the time at which it was.

    Attributes:
        stored: Time, id and number of each event.
        states: Time, id and state of rows.
        errors: Calls that told nothing, by the text of the error; they were repeated.
    """

    stored: list[tuple[float, int, int]] = field(default_factory=list[tuple[float, int, int]])
    states: list[tuple[float, int, State]] = field(default_factory=list[tuple[float, int, State]])
    errors: Counter[str] = field(default_factory=Counter[str])

    def until(self, moment: float) -> Promised:
        """Return what was told before a time."""
        return Promised(
            {record_id: number for at, record_id, number in self.stored if at < moment},
            {row_id: state for at, row_id, state in self.states if at < moment},
        )

    @property
    def times(self) -> list[float]:
        """When anything was told, in order."""
        return sorted({entry[0] for entry in (*self.stored, *self.states)})


def record(number: int) -> NewRecord:
    """Return a callback."""
    body = json.dumps(status_body(message_uuid=uuid_of(number))).encode()
    return make_record(RawRequest({}, body), Context(timestamp=1.0), parse_event(body))


def uuid_of(number: int) -> str:
    """Return the `message_uuid` of a callback."""
    return f"aaaaaaaa-bbbb-4ccc-8ddd-{number:012x}"


async def keep_busy(promises: Promises, store: InboxStore, ledger: Ledger, numbers: Iterator[int]) -> None:
    """Store all events and send all rows, eight and two at a time."""
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for worker in ("a", "b"):
            group.create_task(_send(ledger, promises, worker))
        for _ in range(8):
            group.create_task(_receive(store, promises, numbers))


async def _receive(store: InboxStore, promises: Promises, numbers: Iterator[int]) -> None:
    """Store events, and note each when it would be answered with 200."""
    for number in numbers:
        stored, record_id = False, None
        while not stored:
            try:
                record_id = await store.add(record(number))
                stored = True
            except InboxError as error:  # it would be answered with 503, and come again
                promises.errors[str(error)] += 1
        if record_id is not None:  # else it was stored by a call whose response was lost
            promises.stored.append((time.time(), record_id, number))


async def _send(ledger: Ledger, promises: Promises, worker: str) -> None:
    """Claim rows and record results, and note both when a sender would go by them."""
    done: list[Claimed] = []
    while True:
        try:
            rows = await ledger.claim(request(limit=5), [result(row) for row in done], worker=worker)
        except LedgerError as error:  # its results are recorded with the next call
            promises.errors[str(error)] += 1
            continue
        now = time.time()
        promises.states.extend((now, row.id, "sent") for row in done)
        promises.states.extend((now, row.id, "sending") for row in rows)
        if not rows:
            return
        done = rows
