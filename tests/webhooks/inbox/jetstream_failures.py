"""A cluster that loses servers while callbacks come, in a size of choice: `make soak` runs it long."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from nexmo_dispatch_webhooks import Event, InboxError, RawRequest, Router
from nexmo_dispatch_webhooks.inbox import JetStreamInbox
from nexmo_dispatch_webhooks.inbox.conformance import record
from nexmo_dispatch_webhooks.inbox.jetstream import JetStreamInboxStore
from tests.support.nats_server import NatsCluster, NatsServer

#: `kill`: the leader of the events dies and comes back; `suspend`: it sleeps for eight seconds; `holder`: the
#: process that handles events dies; `other`: what the caller does.
Fault = Literal["kill", "suspend", "holder", "other"]

_SECONDS = 300.0
#: Seconds that a suspended server sleeps, and that a killed one is away.
_AWAY = 8.0
_LANES = 20


@dataclass
class Figures:
    """What became of the events that the sender saw an answer for."""

    fault: Fault
    acknowledged: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    lost: int = 0
    twice: int = 0
    disordered: int = 0
    gap: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.fault}: {self.acknowledged} events acknowledged, {self.refused} refused and repeated; "
            f"{self.lost} lost, {self.twice} handled twice, {self.disordered} out of order; the longest wait "
            f"between two answers was {self.gap:.1f} s, all took {self.seconds:.1f} s"
        )


@dataclass
class Handled:
    """What handlers saw."""

    times: Counter[str] = field(default_factory=Counter[str])
    order: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def router(self) -> Router:
        """Return the handlers of one process."""
        made = Router()

        async def handle(event: Event) -> None:
            await asyncio.sleep(0)
            name, lane = str(event.raw["message_uuid"]), str(event.raw["_links"]["dispatch"]["dispatch_uuid"])
            self.times[name] += 1
            if self.times[name] == 1:
                self.order.setdefault(lane, []).append(int(name[-12:], 16))
            self.changed.set()

        made.add(handle)
        made.freeze()
        return made


async def survive(
    cluster: NatsCluster,
    fault: Fault,
    *,
    events: int,
    space: str,
    happen: Callable[[list[JetStreamInbox]], Awaitable[None]] | None = None,
    timeout: float = 15.0,  # noqa: ASYNC109 - of each call of the store
) -> Figures:
    """Send callbacks to two processes, let the fault happen in the middle, and count.

    Each lane has one sender, which repeats what was refused, as the service does (contract 5.10).

    Args:
        cluster: Running.
        fault: What happens.
        events: Number of callbacks.
        space: An empty one.
        happen: What happens where *fault* is `other`.
        timeout: Seconds until a call of the store has failed.
    """
    figures, handled = Figures(fault), Handled()
    async with asyncio.timeout(_SECONDS), _inboxes(cluster, space, handled, timeout) as inboxes:
        middle = asyncio.Event()
        begun = last = time.monotonic()

        async def send(lane: int) -> None:
            nonlocal last
            for number in range(lane, events, _LANES):
                new = record(number, f"w{lane}")
                while True:
                    inbox = inboxes[number // _LANES % len(inboxes)]
                    try:
                        await inbox.put(RawRequest({}, new.body, new.path), new.context, new.event)
                    except InboxError as error:
                        figures.refused += 1
                        figures.reasons[str(error)] += 1
                        await asyncio.sleep(0.05)
                        continue
                    break
                now = time.monotonic()
                figures.gap, last = max(figures.gap, now - last), now
                figures.acknowledged += 1
                if figures.acknowledged >= events // 3:
                    middle.set()

        async with asyncio.TaskGroup() as group:
            for lane in range(_LANES):
                group.create_task(send(lane))
            await middle.wait()
            await (_happen(fault, cluster, inboxes) if happen is None else happen(inboxes))
        while len(handled.times) < events:
            handled.changed.clear()
            await handled.changed.wait()
        figures.seconds = time.monotonic() - begun
    figures.lost = events - len(handled.times)
    figures.twice = sum(times > 1 for times in handled.times.values())
    figures.disordered = sum(order != sorted(order) for order in handled.order.values())
    return figures


@asynccontextmanager
async def _inboxes(
    cluster: NatsCluster, space: str, handled: Handled, seconds: float
) -> AsyncGenerator[list[JetStreamInbox]]:
    """Start the inboxes of two processes; the first one handles events."""
    made: list[JetStreamInbox] = []
    try:
        for number in range(2):
            url = cluster.url(space, cluster.servers[number])
            # while no process dies, no lease may end; where one dies, it ends soon
            lease = 3.0 if "holder" in space else 60.0
            made.append(JetStreamInbox(url, poll=0.2, lease=lease, timeout=seconds))
            await made[-1].start(handled.router())
        yield list(made)
    finally:
        for inbox in made:
            await inbox.aclose()


async def _happen(fault: Fault, cluster: NatsCluster, inboxes: list[JetStreamInbox]) -> None:
    if fault == "holder":
        dead = inboxes.pop(0)
        assert dead.health().state == "running"
        await crash(dead)
        return
    leader = await leader_of(cluster, inboxes[0])
    leader.send(signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
    await asyncio.sleep(_AWAY)  # the fault is that the server is away for so long
    if fault == "kill":
        await asyncio.to_thread(leader.restart)
    else:
        leader.send(signal.SIGCONT)


async def leader_of(cluster: NatsCluster, inbox: JetStreamInbox) -> NatsServer:
    """Return the server that leads the stream of events."""
    store: Any = inbox.store
    assert isinstance(store, JetStreamInboxStore)
    found = json.loads(await store._connection.request(f"$JS.API.STREAM.INFO.{store._names.events}"))
    assert found["config"]["num_replicas"] == 3
    return next(server for server in cluster.servers if server.name == found["cluster"]["leader"])


async def crash(inbox: JetStreamInbox) -> None:
    """End an inbox as the death of its process would: nothing is written or given up any more."""
    store: Any = inbox.store
    assert inbox._task is not None
    assert inbox._scopes is not None
    for scope in inbox._scopes:
        scope.cancel()
    await asyncio.wait({inbox._task})
    store._marks.clear()
    await store._connection.aclose()
