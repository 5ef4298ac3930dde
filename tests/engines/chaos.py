"""Two stories about Postgres in a size of choice: `make test-engines` runs them short, `make soak` long.

Processes are killed and suspended, the server is stopped at once and started again, and connections are cut,
all at random moments under load.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from aiohttp import ClientError, ClientSession, ClientTimeout

from nexmo_dispatch_async.bulk import Campaign
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.exceptions import LedgerError
from nexmo_dispatch_webhooks import sign
from tests.bulk.killing import sends, simulator
from tests.support import postgres_campaign_process, postgres_inbox_process
from tests.support.campaign_process import LIMIT, TEMPLATE, person
from tests.support.postgres_server import PostgresServer
from tests.webhooks.payloads import encode, status_body

__all__ = ["campaign_in_chaos", "inbox_in_chaos"]

SECRET = "example-signature-secret-for-tests-0123456789"
ROOT = Path(__file__).parents[2]
_LEASE = postgres_inbox_process.LEASE
# The chance of each trouble to be the loss of a primary that has a standby.
_FAILOVER = 0.15


class Member:
    """One process of several; it is started again when it ends otherwise than in order."""

    def __init__(self, command: list[str], *, fd: int | None = None) -> None:
        self._command = [sys.executable, *command]
        self._fds = () if fd is None else (fd,)
        self._process: Process
        self._life: asyncio.Task[str]
        #: How often it ended otherwise than in order or by a kill, by the last line that it printed.
        self.failures: Counter[str] = Counter()

    @property
    def ended(self) -> bool:
        """Whether it ended in order."""
        return self._life.done()

    async def start(self) -> None:
        self._process = await self._begin()
        self._life = asyncio.create_task(self._live())

    async def _begin(self) -> Process:
        return await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, stderr=PIPE, pass_fds=self._fds, cwd=ROOT
        )

    async def _live(self) -> str:
        """Start it again as often as it is needed; return the last line that it printed."""
        while True:
            assert self._process.stdout is not None
            assert self._process.stderr is not None
            output, errors = await asyncio.gather(self._process.stdout.read(), self._process.stderr.read())
            code = await self._process.wait()
            if code == 0:
                return output.decode().strip().rpartition("\n")[2]
            assert b"AssertionError" not in errors, errors.decode()
            if code != -signal.SIGKILL:
                self.failures[errors.decode().strip().rpartition("\n")[2]] += 1
            self._process = await self._begin()

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        if self._process.returncode is None:
            self._process.kill()

    async def suspend(self, seconds: float) -> None:
        """Let it sleep past its lease."""
        process = self._process
        if process.returncode is None:
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            with suppress(ProcessLookupError):  # it was killed before, and its end is noted only now
                process.send_signal(signal.SIGCONT)

    async def finish(self) -> str:
        """Ask for its orderly end, and return the last line that it printed."""
        while not self._life.done():
            assert self._process.stdin is not None
            self._process.stdin.close()
            await asyncio.wait({self._life}, timeout=0.5)
        return self._life.result()


async def _trouble(servers: list[PostgresServer], url: str, members: list[Member], dice: Random) -> str:
    """Do one of the bad things; return what it was.

    Args:
        servers: The primary, and perhaps a synchronous standby, which takes over when the primary is lost.
        url: Of the database, on all servers.
        members: The processes.
        dice: Says which.
    """
    if len(servers) > 1 and dice.random() < _FAILOVER:
        lost = servers.pop(0)
        await asyncio.to_thread(lost.stop, "immediate")
        await asyncio.to_thread(servers[0].promote)
        return "failover"
    server = servers[0]
    what = dice.choice(["kill", "kill", "suspend", "restart", "cut"])
    if what == "kill":
        dice.choice(members).kill()
    elif what == "suspend":
        await dice.choice(members).suspend(_LEASE + 1.5)
    elif what == "restart":
        await asyncio.to_thread(server.restart, "immediate")
    else:
        await asyncio.to_thread(server.cut, url)
    return what


def _failures(members: Sequence[Member]) -> str:
    """Return how often processes ended by themselves, for the figures: each was started again."""
    failures = sum((member.failures for member in members), Counter[str]())
    return f"; ended by themselves: {dict(failures)}" if failures else ""


def _url(servers: Sequence[PostgresServer], name: str) -> str:
    """Return the URL of a database on all servers."""
    return f"postgresql://postgres@/{name}?host={','.join(str(server.folder) for server in servers)}"


async def inbox_in_chaos(
    *servers: PostgresServer,
    workflows: int,
    statuses: int,
    troubles: int,
    receivers: int,
    handlers: int,
    seed: int,
) -> str:
    """Deliver callbacks with repetitions to several receivers, and check effects and order.

    Args:
        servers: Running; the first one is the primary, which is restarted now and then, and lost when there
            is a synchronous standby.
        workflows: Number of workflows.
        statuses: Callbacks of each, one after the other.
        troubles: Number of bad things.
        receivers: Number of processes that receive; they handle too.
        handlers: Number of processes that only handle.
        seed: For what is random.
    """
    dice, left = Random(seed), list(servers)
    servers[0].sql("CREATE DATABASE inbox_in_chaos")
    url = _url(servers, "inbox_in_chaos")
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=128) for _ in range(receivers)]
    command = [postgres_inbox_process.__file__, url, SECRET]
    members = [Member([*command, str(each.fileno())], fd=each.fileno()) for each in listeners]
    members += [Member(command) for _ in range(handlers)]
    for member in members:
        await member.start()
    ports = [listener.getsockname()[1] for listener in listeners]
    done: Counter[str] = Counter()
    happened: Counter[str] = Counter()

    async def deliver(session: ClientSession, body: bytes, name: str) -> None:
        headers = {"Authorization": sign(body, secret=SECRET, api_key="k", jti=name), **_JSON}
        while True:
            target = f"http://127.0.0.1:{dice.choice(ports)}/webhooks"
            try:
                async with session.post(target, data=body, headers=headers) as answer:
                    if answer.status == 200:
                        return
                    assert answer.status == 503
            except (ClientError, OSError, TimeoutError):
                continue  # the outcome is unknown, so the service delivers it again

    repeated = 0

    async def workflow(session: ClientSession, number: int) -> None:
        nonlocal repeated
        for status in range(statuses):
            name = f"m{number:05}-{status:03}"
            links = {"dispatch": {"dispatch_uuid": f"w{number:05}"}}
            body = encode(status_body(message_uuid=name, _links=links))
            await deliver(session, body, name)
            if dice.random() < 0.2:
                await deliver(session, body, f"{name} again")
                repeated += 1
            done[f"w{number}"] += 1

    async with (
        ClientSession(timeout=ClientTimeout(total=_LEASE + 5)) as session,
        asyncio.TaskGroup() as group,
    ):
        sending = [group.create_task(workflow(session, number)) for number in range(workflows)]
        for number in range(troubles):
            share = workflows * statuses * (number + 1) // (troubles + 2)
            while done.total() < share and not all(task.done() for task in sending):  # noqa: ASYNC110 - of others
                await asyncio.sleep(0.02)
            happened[await _trouble(left, url, members, dice)] += 1
    pending = "SELECT count(*) FROM nexmo_dispatch.inbox_events WHERE state = 0"
    while int(await asyncio.to_thread(left[0].sql, pending, "inbox_in_chaos")):  # noqa: ASYNC110 - of others
        await asyncio.sleep(0.2)
    for member in members:
        await member.finish()
    for listener in listeners:
        listener.close()
    effects = _check_effects(left[0], workflows * statuses)
    return f"{effects}; {repeated} repetitions; {dict(happened)}{_failures(members)}"


def _check_effects(server: PostgresServer, expected: int) -> str:
    def one(query: str) -> int:
        return int(server.sql(query, "inbox_in_chaos"))

    stored = one("SELECT count(*) FROM nexmo_dispatch.inbox_events WHERE state = 2")
    effects = one("SELECT count(*) FROM effects WHERE times = 1")
    others = one("SELECT count(*) FROM effects WHERE times <> 1")
    more = one("SELECT count(*) FROM more_effects WHERE times = 1")
    out_of_order = one(
        "SELECT count(*) FROM (SELECT message, lag(message) OVER (PARTITION BY workflow ORDER BY number)"
        " AS before FROM effects) AS pairs WHERE before > message"
    )
    figures = (
        f"{stored} of {expected} events handled, {effects} and {more} effects once, {others} otherwise, "
        f"{out_of_order} out of order"
    )
    assert (stored, effects, more, others, out_of_order) == (expected, expected, expected, 0, 0), figures
    return figures


async def campaign_in_chaos(
    *servers: PostgresServer, people: int, troubles: int, processes: int, seed: int
) -> str:
    """Send a campaign with several processes, and check that each recipient has one outcome.

    Args:
        servers: Running; see `inbox_in_chaos`.
        people: Number of recipients.
        troubles: Number of bad things.
        processes: Number of senders.
        seed: For what is random.
    """
    dice, left = Random(seed), list(servers)
    servers[0].sql("CREATE DATABASE campaign_in_chaos")
    url = _url(servers, "campaign_in_chaos")
    happened: Counter[str] = Counter()
    async with simulator() as sim:
        application = sim.create_application()
        service = [sim.base_url, sim.token_url, sim.client_id, sim.client_secret, application.id]
        async with (
            await PostgresLedger.open(url, "spring") as ledger,
            Campaign.open(ledger, template=TEMPLATE) as campaign,
        ):
            await campaign.add([person(number) for number in range(people)])
        module = postgres_campaign_process.__name__
        members = [Member(["-m", module, url, *service]) for _ in range(processes)]
        for member in members:
            await member.start()
        for number in range(troubles):
            share = people * (number + 1) // (troubles + 2)
            while sim.accepted < share and not all(member.ended for member in members):  # noqa: ASYNC110 - of others
                await asyncio.sleep(0.01)
            happened[await _trouble(left, url, members, dice)] += 1
        ends = [await member.finish() for member in members]
        counts = await _counted(url)
        reached = sends(sim)
    unknown = counts.get("unknown", 0)
    figures = (
        f"{counts}, {len(reached)} of {people} people were sent to, at most {max(reached.values())} times; "
        f"{dict(happened)}{_failures(members)}"
    )
    assert all(json.loads(end) for end in ends)
    assert sum(counts.values()) == people, figures
    assert set(counts) <= {"sent", "unknown"}, figures
    assert max(reached.values()) == 1, figures
    assert people - len(reached) <= unknown, figures  # no one is skipped in silence
    assert unknown <= LIMIT * processes * troubles, figures
    return figures


async def _counted(url: str) -> dict[str, int]:
    async with await PostgresLedger.open(url, "spring", observer=True) as ledger:
        counts = await ledger.counts(verify=True)
        if counts != await ledger.counts():
            raise LedgerError("the numbers are not those of a recount")
        return counts.states


_JSON = {"Content-Type": "application/json"}
