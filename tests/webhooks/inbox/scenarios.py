"""Two stories about the inbox in a size of choice: the normal suite runs them short, `make soak` long."""

import asyncio
import json
import random
import socket
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientError, ClientSession, web

from nexmo_dispatch_async import Workflow, sms
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import Event, Router, parse_event, sign
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, SqliteInbox
from tests.webhooks.inbox.support import ManualTime
from tests.webhooks.payloads import encode, status_body

SECRET = "example-signature-secret-for-tests-0123456789"
PROCESS = Path(__file__).parents[2] / "support" / "inbox_process.py"


# --- a receiver that is killed ---


@dataclass
class Figures:
    """What became of the events that the sender saw a 200 for."""

    kills: int
    sent: int
    acknowledged: int
    lost: int
    handled_twice: int
    exactly_once: int
    effects_wrong: int

    def __str__(self) -> str:
        return (
            f"{self.kills} kills; {self.acknowledged} of {self.sent} events acknowledged; {self.lost} lost; "
            f"without a transaction {self.handled_twice} handled more than once; with one "
            f"{self.exactly_once} exactly once, {self.effects_wrong} otherwise"
        )


async def kill_repeatedly(folder: Path, *, kills: int, seed: int, connections: int = 8) -> Figures:
    """Kill the receiver at random moments under load, and start it again each time.

    The sender repeats what it saw no 200 for, as the service does (contract 5.10).
    """
    dice = random.Random(seed)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    process = await _start(folder, listener)
    acknowledged: set[str] = set()
    killed = asyncio.Event()
    until_kill = dice.randrange(1, 150)
    sent, done = 0, 0

    async def sender(session: ClientSession) -> None:
        nonlocal sent, until_kill
        while done < kills:
            sent += 1
            name = f"m{sent}"
            links = {"dispatch": {"dispatch_uuid": f"w{sent % 50}"}}
            body = encode(status_body(message_uuid=name, _links=links))
            headers = {"Authorization": sign(body, secret=SECRET, api_key="k", jti=name), **JSON}
            while True:
                try:
                    async with session.post(f"{url}/webhooks", data=body, headers=headers) as answer:
                        assert answer.status == 200
                except (
                    ClientError,
                    OSError,
                ):  # killed in the middle: the outcome is unknown, so it is sent again
                    continue
                acknowledged.add(name)
                break
            until_kill -= 1
            if until_kill == 0:
                process.kill()  # SIGKILL: nothing is tidied up
                killed.set()

    async with ClientSession() as session, asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(sender(session))
        while done < kills:
            await killed.wait()
            await process.wait()
            killed.clear()
            done += 1
            until_kill = dice.randrange(1, 150) if done < kills else -1
            process = await _start(folder, listener)
    await _drained(url)
    assert process.stdin is not None
    process.stdin.close()
    assert await process.wait() == 0
    listener.close()
    return _count(folder, acknowledged, kills, sent)


async def _start(folder: Path, listener: socket.socket) -> Process:
    number = listener.fileno()
    command = (sys.executable, str(PROCESS), str(folder), str(number), SECRET)
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, pass_fds=(number,))


async def _drained(url: str) -> None:
    async with ClientSession() as session:
        while True:
            async with session.get(f"{url}/health") as answer:
                if not (await answer.json())["inbox"]["pending"]:
                    return


def _count(folder: Path, acknowledged: set[str], kills: int, sent: int) -> Figures:
    notes = Counter((folder / "notes.txt").read_text("ascii").split())
    db = sqlite3.connect(folder / "inbox.db")
    effects: dict[str, int] = dict(db.execute("SELECT message, times FROM effects").fetchall())
    states = dict(db.execute("SELECT state, count(*) FROM events GROUP BY state").fetchall())
    db.close()
    assert set(states) == {2}, "everything that was stored is handled"
    return Figures(
        kills=kills,
        sent=sent,
        acknowledged=len(acknowledged),
        lost=len(acknowledged - notes.keys()) + len(acknowledged - effects.keys()),
        handled_twice=sum(1 for times in notes.values() if times > 1),
        exactly_once=sum(1 for times in effects.values() if times == 1),
        effects_wrong=sum(1 for times in effects.values() if times != 1),
    )


JSON = {"Content-Type": "application/json"}


# --- two bad ones among many good ones ---


async def two_bad_among_many(folder: Path, *, events: int) -> str:
    """The simulator sends `events` callbacks; a handler always fails for one workflow, one body is broken."""
    handled: Counter[tuple[str, ...]] = Counter()
    broken = True
    time = ManualTime()
    router = Router()
    poisoned: set[str] = set()

    @router.register()
    async def good(event: Event) -> None:
        handled[event.dedup_key] += 1

    @router.register(when=lambda event: getattr(event, "dispatch_uuid", None) in poisoned)
    async def bad(event: Event) -> None:
        if broken:
            raise RuntimeError

    def read(body: bytes) -> Event:
        return parse_event(body.removeprefix(b"garbage ")) if not broken else parse_event(body)

    inbox = SqliteInbox(
        folder / "inbox.db",
        clock=time,
        monotonic=time,
        sleep=time.sleep,
        parse=read,
        retry=HandlerRetryPolicy(attempts=3, wait_initial=1),
    )
    async with Simulator() as sim:
        app = web.Application()
        secrets = {sim.api_key: sim.signature_secret}
        setup(app, router, secrets=secrets, inbox=inbox, clock=sim.timestamp)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks"
        sim.create_application(status_url=url, inbound_url=url)

        def workflow() -> Workflow:  # submitted, delivered, final report: three callbacks
            return Workflow.failover(sms.text("Hello", from_="31647356950", to="999000000001"))

        client = sim.client()
        poisoned.add((await client.send(workflow())).dispatch_uuid)
        body = b"garbage " + encode(status_body(message_uuid="garbled"))
        token = sign(
            body, secret=sim.signature_secret, api_key=sim.api_key, jti="j", iat=int(sim.timestamp())
        )
        async with (
            ClientSession() as session,
            session.post(url, data=body, headers={"Authorization": token, **JSON}) as answer,
        ):
            assert answer.status == 200
        for _ in range(events // 3 - 1):
            await client.send(workflow())
            await sim.advance(0)
        assert await sim.advance_until_idle()
        await inbox.idle()
        for _ in range(3):  # the three events of the poisoned workflow, one after the other, to quarantine
            for _ in range(2):
                await time.advance(10)
                await inbox.idle()

        expected = events // 3 * 3
        assert len(handled) == expected
        assert set(handled.values()) == {1}
        deliveries = sim.deliveries
        assert [(d.status, d.attempt, d.retry_at_ms) for d in deliveries] == [(200, 1, None)] * expected
        aside = await inbox.list("quarantined")
        assert sorted(record.kind for record in aside) == [
            "final-report",
            "message-status",
            "message-status",
            "unparsable",
        ]

        broken = False
        assert await inbox.retry("all") == 4
        await inbox.idle()
        assert await inbox.list("quarantined") == []
        assert len(handled) == expected + 1  # the body that can be read by now
        assert set(handled.values()) == {1}
        await client.aclose()
        await runner.cleanup()
    return (
        f"{expected} events, each handled once, {len(deliveries)} deliveries, no repetition; "
        f"{len(aside)} quarantined ({json.dumps(Counter(record.kind for record in aside))}), cleared by retry"
    )
