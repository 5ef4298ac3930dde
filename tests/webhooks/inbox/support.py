"""What the tests of the inbox share: a clock moved by hand, requests, handlers, ready-made inboxes."""

import asyncio
import heapq
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from nexmo_dispatch_webhooks import Context, Event, InvalidBodyError, RawRequest, Router, parse_event
from nexmo_dispatch_webhooks.inbox import JetStreamInbox, MemoryInbox, PostgresInbox, SqliteInbox, StoreInbox
from nexmo_dispatch_webhooks.inbox.records import NewRecord, make_record
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from nexmo_dispatch_webhooks.signature import Claims
from tests.webhooks.payloads import encode, status_body

Make = Callable[..., StoreInbox]
Start = Callable[..., Awaitable[StoreInbox]]
Open = Callable[..., Awaitable[SqliteInboxStore]]

CLAIMS = Claims(iss="Vonage", iat=1.0, jti="j", api_key="k")


class ManualTime:
    """Clock and sleep that stand still until `advance`."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._asleep = asyncio.Event()
        self._number = 0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self._number += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, self._number, future))
        self._asleep.set()
        await future

    async def advance(self, seconds: float) -> None:
        """Advance the time; return when all tasks that woke up sleep again."""
        end = self.now + seconds
        for _ in range(10):  # what was started just now begins to sleep
            await asyncio.sleep(0)
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[2].done()]
        heapq.heapify(self._sleepers)
        while not self._sleepers:  # the one who will sleep has not come that far
            self._asleep.clear()
            await self._asleep.wait()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.now, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                self._asleep.clear()
                future.set_result(None)
                await self._asleep.wait()
        self.now = end


def request(body: bytes, path: str = "") -> RawRequest:
    return RawRequest({}, body, path)


def status_bytes(number: int, **changes: Any) -> bytes:
    return encode(status_body(message_uuid=f"m{number}", **changes))


def in_workflow(number: int, workflow: str, **changes: Any) -> bytes:
    """A status of a message that belongs to a workflow."""
    return status_bytes(number, _links={"dispatch": {"dispatch_uuid": workflow}}, **changes)


def new_record(body: bytes, at: float = 1_000_000.0, path: str = "") -> NewRecord:
    """What the receiver would store of a body."""
    event: Event | None
    try:
        event = parse_event(body)
    except InvalidBodyError:
        event = None
    return make_record(request(body, path), Context(path, at, CLAIMS), event)


async def put(inbox: StoreInbox, body: bytes, *, at: float | None = None, path: str = "") -> None:
    """What the receiver does with an authentic request."""
    event: Event | None
    try:
        event = parse_event(body)
    except InvalidBodyError:
        event = None
    now = inbox.settings.clock() if at is None else at
    await inbox.put(request(body, path), Context(path, now), event)


def make_inbox(kind: str, folder: Path, time: ManualTime, **settings: Any) -> StoreInbox:
    values: dict[str, Any] = {
        "clock": time,
        "monotonic": time,
        "sleep": time.sleep,
        "random": lambda: 0.0,
        **settings,
    }
    if kind.startswith("postgresql:"):
        # the monotonic time of a test jumps over leases, which in life it does not
        return PostgresInbox(kind, **{"lease": 1e9, **values})
    if kind.startswith("nats:"):
        return JetStreamInbox(kind, **{"lease": 1e9, **values})
    return MemoryInbox(**values) if kind == "memory" else SqliteInbox(folder / "inbox.db", **values)


def frozen(*handlers: Callable[..., Any], **named: Any) -> Router:
    """A router that is ready, with handlers for everything."""
    router = Router()
    for handler in handlers:
        router.add(handler)
    for name, handler in named.items():
        router.add(handler, name=name)
    router.freeze()
    return router


async def states(inbox: StoreInbox) -> list[str]:
    return [record.state for record in await inbox.list()]


class Recorder:
    """A handler that notes what it gets, and fails as long as it is told to."""

    def __init__(self, *, failing: bool = False) -> None:
        self.seen: list[tuple[str, int]] = []
        self.failing = failing

    async def __call__(self, event: Event, context: Context) -> None:
        self.seen.append((event.dedup_key[1], context.attempt))
        if self.failing:
            raise ValueError(event.raw)


def other_connection(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "inbox.db", isolation_level=None, timeout=0)
