"""A long-running worker: it takes orders from a queue on disk, sends each at most once, and ends at SIGTERM.

A row is committed as `sending` before its request leaves; one that a crash left so is for a person.
"""

import asyncio
import contextlib
import signal
import sqlite3
import tempfile
from pathlib import Path

from nexmo_dispatch_async import DispatchClient, NotSentError, OutcomeUnknownError, UnacceptableError, sms
from nexmo_dispatch_async.simulator import Record, Simulator, StepSent

SCHEMA = "CREATE TABLE orders (id INTEGER PRIMARY KEY, number TEXT, state TEXT DEFAULT 'waiting')"
FIRST = "SELECT min(id) FROM orders WHERE state = 'waiting'"
TAKE = f"UPDATE orders SET state = 'sending' WHERE id = ({FIRST}) RETURNING id, number"  # noqa: S608 - constants


class Queue:
    """Orders in an SQLite file; each call is one durable commit, off the event loop."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA synchronous = FULL")

    async def execute(self, sql: str, *values: str | int) -> list[tuple[int, str]]:
        return await asyncio.to_thread(lambda: self.db.execute(sql, values).fetchall())

    async def settle(self, order: int, state: str) -> None:
        await self.execute("UPDATE orders SET state = ? WHERE id = ?", state, order)


async def send(queue: Queue, client: DispatchClient, order: int, number: str) -> float:
    """Send one order, and return for how many seconds to wait before the next."""
    try:
        await client.send(sms.text("Your parcel is here", from_="31647356950", to=number))
    except NotSentError as error:  # nothing left: later, when the service says so
        await queue.settle(order, "waiting")
        return error.retry_after or 1.0
    except UnacceptableError:
        await queue.settle(order, "refused")
    except OutcomeUnknownError:
        await queue.settle(order, "unknown")  # perhaps sent: for a person as well
    else:
        await queue.settle(order, "sent")
    return 0.0


async def work(queue: Queue, client: DispatchClient, stop: asyncio.Event) -> None:
    """Send what waits until *stop* is set; the send that is under way ends first."""
    while not stop.is_set():
        taken = await queue.execute(TAKE)
        pause = await send(queue, client, *taken[0]) if taken else 0.05
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)


async def main(path: Path) -> None:
    queue, stop = Queue(path), asyncio.Event()
    await queue.execute(SCHEMA)
    for number in ("999000000001", "999000000002", "07700 900123", "999000000003", "999000000004"):
        await queue.execute("INSERT INTO orders (number) VALUES (?)", number)
    await queue.settle(1, "sending")  # as if the last process had died in the middle
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    def stop_the_service(record: Record) -> None:
        if isinstance(record, StepSent) and len(sim.sent_channels()) == 2:
            signal.raise_signal(signal.SIGTERM)  # as the system does, while a send is under way

    async with Simulator(observer=stop_the_service) as sim, sim.client() as client:
        await work(queue, client, stop)
    for order, state in await queue.execute("SELECT id, state FROM orders"):
        print(f"order {order}: {state}")
    queue.db.close()


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(Path(name) / "orders.db"))
