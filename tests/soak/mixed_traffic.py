"""Mixed traffic in one process: a client, a receiver with an inbox, a tracker, and campaign after campaign.

The service is a simulator with faults in another process. The traffic is paced, and rests for each sample
until its operations have ended: the figures show what stays and not what is under way. Each sample is a line
of JSON on standard output, and the last line counts what happened.

    python -m tests.soak.mixed_traffic FOLDER SECONDS EVERY
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import aiohttp
import msgspec
from aiohttp import web

from nexmo_dispatch_async import (
    APIError,
    ClientClosedError,
    DispatchClient,
    InvalidWorkflowError,
    KpnOAuth,
    RetryPolicy,
    Timeout,
    WaitError,
    WaitTimeoutError,
    Workflow,
    new_client_ref,
    sms,
    whatsapp,
)
from nexmo_dispatch_async.bulk import Campaign, WorkflowTemplate
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_webhooks import (
    Context,
    Event,
    InboundMessage,
    MessageStatus,
    Router,
    parse_event,
    sign,
)
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, SqliteInbox, sqlite_file, sqlite_recent_keys
from nexmo_dispatch_webhooks.sansio import RawRequest
from tests.support.process_resources import take_sample
from tests.webhooks.payloads import encode, inbound_body, status_body

#: Operations begun per second: little enough for less than half of a core.
RATE = 100
#: Operations under way at most.
MOST = 256
#: Connections of a client: few, so that their number says something.
CONNECTIONS = 16
#: Bounds of the inbox, lowered so that they are reached before a sample counts: the bytes of the page cache,
#: otherwise 16 MiB, and the number of recent keys, otherwise 16,384, which come and go every two minutes.
CACHE, RECENT = 2 * 2**20, 1024
#: Callbacks before the run: their pages are more than the cache.
FILLED = 8_000
#: The largest number of records in one statement. The inbox keeps a compiled statement for each number, which
#: takes 4 MiB for all numbers; high numbers are so rare that memory rose by that for more than half an hour.
MOST_ROWS = 64
#: Strings that are interned and freed before the run, as the traffic does slowly. When the table of the
#: interpreter has no unused entry, after 43,690 strings at most, it is made anew, once 0.9 MiB larger.
INTERNED = 50_000
HELLO = {"type": "text", "text": "Hello"}
#: Rows of a campaign.
ROWS = 20
#: Seconds that an operation waits for news, and those after which a rest is none.
WAIT_S, REST_S = 3.0, 60.0
#: Seconds that the tracker keeps what it knows: less than the warm-up.
KEEP_S = 5.0
HANDLER_FAILS, SEED = 0.05, 1
PEOPLE = ("9990000000", "9991000000", "9992002000", "9993130000", "9994119000", "9995000000", "9997000000")
REMINDER = WorkflowTemplate(
    whatsapp.template("ns:parcel", ["{name}"], from_="447418342140", to="{phone}", locale="en-GB").until(
        "read", within=30
    ),
    sms.text("Hello {name}", from_="31647356950", to="{phone}"),
)


class MixedTraffic:
    """The traffic and what it needs.

    Args:
        folder: For the files of the inbox, of the tracker and of the campaigns.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dice = random.Random(SEED)
        self.counts: Counter[str] = Counter()
        # set by `start`
        self.account: dict[str, str] = {}
        self.stack = AsyncExitStack()
        self.inbox: SqliteInbox
        self.tracker: Tracker
        self.client: DispatchClient
        self.session: aiohttp.ClientSession
        self.url = ""
        #: takes the callbacks of the campaign that runs
        self.campaign_callbacks: Callable[[Event], Awaitable[None]] | None = None
        self.running: set[asyncio.Task[None]] = set()
        self.shares: dict[Callable[[], Awaitable[None]], int] = {
            self.follow_to_the_end: 200,
            self.wait_until_delivered: 50,
            self.wait_until_read: 50,
            self.cancel_a_wait: 120,
            self.cancel_a_send: 80,
            self.send_what_breaks_a_rule: 40,
            self.send_with_a_client_of_its_own: 20,
            self.reopen_the_client: 10,
            self.call_back: 430,
        }

    # ---- start and end

    async def __aenter__(self) -> Self:
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.url, campaigns = (f"http://127.0.0.1:{each.getsockname()[1]}/webhooks" for each in listeners)
        async with AsyncExitStack() as stack:
            self.account = await stack.enter_async_context(simulator(self.url, campaigns))
            tracker = Tracker(
                self.folder / "tracking.db", keep=KEEP_S, keep_open=KEEP_S, keep_unclaimed=KEEP_S
            )
            self.tracker = await stack.enter_async_context(tracker)
            policy = HandlerRetryPolicy(attempts=3, wait_initial=0.05, wait_max=0.2)
            self.inbox = SqliteInbox(self.folder / "inbox.db", retry=policy, poll=0.25)
            await stack.enter_async_context(self.served(self.router(), listeners[0], inbox=self.inbox))
            await stack.enter_async_context(self.served(self.campaign_router(), listeners[1]))
            self.client = await self.make_client("sends", tracker=self.tracker).__aenter__()
            stack.push_async_callback(lambda: self.client.aclose())
            connector = aiohttp.TCPConnector(limit=CONNECTIONS)
            self.session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            self.stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    def make_client(self, application: str, **settings: Any) -> DispatchClient:
        account = self.account
        return DispatchClient(
            auth=KpnOAuth(account["client_id"], account["client_secret"], token_url=account["token_url"]),
            application_id=account[application],
            base_url=account["base_url"],
            retry=RetryPolicy(attempts=3, wait_initial=0.01, wait_max=0.05, timeout=2),
            timeout=Timeout(connect=2, total=5),
            limit=CONNECTIONS,
            client_ref=new_client_ref,
            **settings,
        )

    @asynccontextmanager
    async def served(self, router: Router, listener: socket.socket, **settings: Any) -> AsyncIterator[None]:
        app = web.Application()
        secrets = {self.account["api_key"]: self.account["signature_secret"]}
        setup(app, router, secrets=secrets, **settings)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        try:
            yield
        finally:
            await runner.cleanup()

    def router(self) -> Router:
        """Return the handlers behind the inbox: the tracker, and one that fails now and then."""
        router = Router()
        self.tracker.attach(router)

        @router.message_status()
        async def on_status(event: MessageStatus) -> None:
            if self.dice.random() < HANDLER_FAILS:
                self.counts["handler failed"] += 1
                raise LookupError("on purpose")
            self.counts["status handled"] += 1

        @router.inbound_message()
        async def on_inbound(event: InboundMessage) -> None:
            self.counts["inbound handled"] += 1

        return router

    def campaign_router(self) -> Router:
        router = Router()

        @router.register(kind=("message-status", "final-report"))
        async def on_callback(event: Event) -> None:
            if self.campaign_callbacks is not None:
                await self.campaign_callbacks(event)

        return router

    async def fill(self) -> None:
        """Fill what has a bound: the pages and compiled statements of the inbox, and interned strings."""
        for number in range(INTERNED):
            sys.intern(f"filled {number}")
        for number in range(1, MOST_ROWS + 1):
            await self.put_together(number)
        for _ in range(FILLED // MOST_ROWS):
            await self.put_together(MOST_ROWS)
        await self.inbox.idle()
        await self.inbox.purge("handled")

    async def put_together(self, number: int) -> None:
        """Store a number of callbacks in one transaction."""
        async with asyncio.TaskGroup() as group:
            for _ in range(number):
                body = encode(inbound_body(HELLO, message_uuid=f"{self.dice.getrandbits(128):032x}"))
                request, context = RawRequest({}, body), Context(timestamp=time.time())
                group.create_task(self.inbox.put(request, context, parse_event(body)))

    # ---- operations

    def workflow(self) -> Workflow:
        """Return a failover to a person who reads, fails, is silent or replies."""
        person = f"{self.dice.choice(PEOPLE)}{self.dice.randrange(50):02}"
        return Workflow.failover(
            whatsapp.template("ns:parcel", ["today"], from_="447418342140", to=person, locale="en-GB").until(
                "read", within=60
            ),
            sms.text("Your parcel is here", from_="31647356950", to=person),
        )

    async def follow_to_the_end(self) -> None:
        dispatch = await self.client.send(self.workflow())
        result = await dispatch.wait(timeout=WAIT_S)
        self.counts[f"workflow {result.status}"] += 1

    async def wait_until_delivered(self) -> None:
        dispatch = await self.client.send(self.workflow())
        await dispatch.wait("delivered", timeout=WAIT_S)
        self.counts["workflow delivered"] += 1

    async def wait_until_read(self) -> None:
        dispatch = await self.client.send(self.workflow())
        await dispatch.wait("read", timeout=WAIT_S, late=True)
        self.counts["workflow read"] += 1

    async def cancel_a_wait(self) -> None:
        dispatch = await self.client.send(self.workflow())
        try:
            async with asyncio.timeout(self.dice.uniform(0, 0.3)):
                await dispatch.wait(timeout=None)
        except TimeoutError:
            self.counts["wait cancelled"] += 1

    async def cancel_a_send(self) -> None:
        try:
            async with asyncio.timeout(self.dice.uniform(0, 0.005)):
                await self.client.send(self.workflow())
        except TimeoutError:
            self.counts["send cancelled"] += 1

    async def send_what_breaks_a_rule(self) -> None:
        try:
            await self.client.send(sms.text("Hi", from_="31647356950", to="06-17 18 56 66"))
        except InvalidWorkflowError:
            self.counts["workflow refused by a rule"] += 1

    async def send_with_a_client_of_its_own(self) -> None:
        async with self.make_client("sends") as client:
            await client.send(self.workflow())
        self.counts["sent by a client of its own"] += 1

    async def reopen_the_client(self) -> None:
        """Replace the client; the calls of the closed one end with what is known of them."""
        closing = self.client
        self.client = await self.make_client("sends", tracker=self.tracker).__aenter__()
        await closing.aclose()
        self.counts["client reopened"] += 1

    async def call_back(self) -> None:
        """Post a callback of one of many kinds to the receiver."""
        kind = self.dice.choice(("good", "twice", "unsigned", "bad signature", "no JSON", "large"))
        body = encode(status_body(message_uuid=f"{self.dice.getrandbits(128):032x}"))
        if kind == "no JSON":
            body = b"no JSON " + body
        elif kind == "large":
            body = b" " * 2**21
        secret = self.account["signature_secret"] if kind != "bad signature" else "another-secret-" * 4
        signature = sign(body, secret=secret, api_key=self.account["api_key"], jti=new_client_ref())
        headers = {"Content-Type": "application/json", "Authorization": signature}
        if kind == "unsigned":
            del headers["Authorization"]
        for _ in range(2 if kind == "twice" else 1):
            async with self.session.post(self.url, data=body, headers=headers) as response:
                self.counts[f"callback {kind}: {response.status}"] += 1

    async def run_a_campaign(self) -> None:
        path = self.folder / "campaign.db"
        numbers = (f"9992002{n:05}" if n % 2 else f"9991000{n:05}" for n in range(ROWS))
        rows = [{"phone": number, "name": "Ann"} for number in numbers]
        async with (
            self.make_client("campaigns") as client,
            Campaign.open(path, client=client, template=REMINDER, limit=4) as campaign,
        ):
            self.campaign_callbacks = campaign.attach(Router()).receive
            try:
                await campaign.add(rows)
                async with asyncio.TaskGroup() as group:
                    watch = group.create_task(self.resume_what_pauses(campaign))
                    counts = await campaign.run()
                    watch.cancel()
                waited = await campaign.wait(timeout=WAIT_S)
            finally:
                self.campaign_callbacks = None
        for state, number in counts.states.items():
            self.counts[f"row {state}"] += number
        self.counts["row ended"] += waited.ended
        self.counts["campaign"] += 1
        for file in self.folder.glob("campaign.db*"):
            file.unlink()

    async def resume_what_pauses(self, campaign: Campaign) -> None:
        """Do what an operator does: a token that expires twice in a row looks like wrong credentials."""
        while True:
            await asyncio.sleep(0.5)
            if (await campaign.status()).state == "paused":
                self.counts["campaign resumed"] += 1
                await campaign.resume()

    # ---- pace and rest

    def draw(self) -> Callable[[], Awaitable[None]]:
        """Return the next operation, by its share of a thousand; one campaign runs at a time."""
        in_campaign = any(task.get_name() == "run_a_campaign" for task in self.running)
        if not in_campaign and self.dice.random() < 0.02:
            return self.run_a_campaign
        (chosen,) = self.dice.choices(list(self.shares), list(self.shares.values()))
        return chosen

    async def carry_out(self, operation: Callable[[], Awaitable[None]]) -> None:
        """Carry out an operation; count the failures that the faults cause. Any other ends the run."""
        try:
            await operation()
        except APIError as error:
            self.counts[f"send {error.outcome}"] += 1
        except WaitTimeoutError:
            self.counts["wait timed out"] += 1
        except WaitError:
            self.counts["status never reached"] += 1
        except ClientClosedError:
            self.counts["client closed"] += 1

    async def load(self, seconds: float) -> None:
        """Begin operations at the rate, for so long, and return when all have ended."""
        began, number = time.monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while (passed := time.monotonic() - began) < seconds:
                await asyncio.sleep(max(0.0, number / RATE - passed))
                number += 1
                while len(self.running) >= MOST:
                    await asyncio.wait(self.running, return_when=asyncio.FIRST_COMPLETED)
                operation = self.draw()
                task = group.create_task(self.carry_out(operation), name=operation.__name__)
                self.running.add(task)
                task.add_done_callback(self.running.discard)
            if self.running:
                await asyncio.wait(self.running, timeout=REST_S)
            if self.running:
                names = Counter(task.get_name() for task in self.running)
                raise TimeoutError(f"still under way after {REST_S} s: {dict(names)}")
        self.counts["operation"] += number

    async def rest(self) -> None:
        """Let the inbox handle what is there, forget what it handled or gave up, and open a new client."""
        await self.reopen_the_client()
        async with asyncio.timeout(REST_S):
            await self.inbox.idle()
            while self.inbox.health().pending:
                await self.inbox.retry("all")
                await self.inbox.idle()
        self.counts["event quarantined"] += await self.inbox.purge("quarantined")
        self.counts["event forgotten"] += await self.inbox.purge("handled")


@asynccontextmanager
async def simulator(*urls: str) -> AsyncIterator[dict[str, str]]:
    """Run the simulator in a process of its own; yield its account."""
    command = (sys.executable, "-m", "tests.support.simulator_process", *urls)
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.stdin.close()
        assert await process.wait() == 0


async def main(folder: Path, seconds: float, every: float) -> None:
    async with MixedTraffic(folder) as traffic:
        await traffic.fill()
        began, busy = time.monotonic(), time.process_time()
        while (passed := time.monotonic() - began) < seconds:
            await traffic.load(min(every, seconds - passed))
            await traffic.rest()
            sample = take_sample(time.monotonic() - began)
            print(msgspec.json.encode(sample).decode(), flush=True)
    print(json.dumps({**traffic.counts, "processor seconds": round(time.process_time() - busy)}), flush=True)


if __name__ == "__main__":
    logging.basicConfig(filename=Path(sys.argv[1]) / "log.txt", level=logging.ERROR)
    with (
        patch.object(sqlite_file, "_CACHE", CACHE),
        patch.object(sqlite_recent_keys, "_MANY", RECENT),
    ):
        asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
