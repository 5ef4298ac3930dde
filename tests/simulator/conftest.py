"""What the simulator's tests share: a receiver on loopback, a running simulator, a way to talk to it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from nexmo_dispatch_async.simulator import Settings, SimulatedApplication, Simulator
from nexmo_dispatch_async.simulator.engine import Engine
from tests.simulator.support import Box, box, workflow


@dataclass
class Callback:
    """One request that a receiver got."""

    path: str
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any]


@dataclass
class Receiver:
    """A receiver that writes down what arrives and answers as told: `answers` first, then 200."""

    url: str = ""
    callbacks: list[Callback] = field(default_factory=list[Callback])
    answers: list[int] = field(default_factory=list[int])
    #: what to do before answering
    on_callback: Callable[[], Awaitable[None]] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        raw = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.callbacks.append(Callback(request.path, headers, raw, json.loads(raw)))
        if self.on_callback is not None:
            await self.on_callback()
        return web.Response(status=self.answers.pop(0) if self.answers else 200, text="noted")

    def statuses(self) -> list[tuple[str, str]]:
        """Channel and status of each message-status, `("report", status)` for a final report."""
        return [
            (c.body["to"]["type"], c.body["status"]) if "to" in c.body else ("report", c.body["status"])
            for c in self.callbacks
            if "status" in c.body
        ]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of callbacks on a free port."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A simulator whose clock stands still, and which takes free content at any time."""
    async with Simulator(settings=Settings(care_window=False)) as sim:
        yield sim


@dataclass
class Caller:
    """Talks to a simulator the way any HTTP client would, without the SDK."""

    sim: Simulator
    session: aiohttp.ClientSession
    application: SimulatedApplication
    token: str = ""

    async def sign_in(self) -> None:
        form = {"client_id": self.sim.client_id, "client_secret": self.sim.client_secret}
        url = self.sim.token_url + "?grant_type=client_credentials"
        async with self.session.post(url, data=form) as response:
            assert response.status == 200
            self.token = (await response.json())["access_token"]

    async def send(self, body: object = None, **headers: str) -> tuple[int, dict[str, Any]]:
        if not self.token:
            await self.sign_in()
        async with self.session.post(
            self.sim.base_url + "/dispatch",
            json=workflow() if body is None else body,
            headers={
                "Authorization": f"Bearer {self.token}",
                "ApplicationId": self.application.id,
                **headers,
            },
        ) as response:
            return response.status, json.loads(await response.read())


@pytest.fixture
async def caller(sim: Simulator, receiver: Receiver) -> AsyncIterator[Caller]:
    """A client with an application whose callbacks go to the receiver."""
    application = sim.create_application(
        status_url=receiver.url + "/status", inbound_url=receiver.url + "/inbound"
    )
    async with aiohttp.ClientSession() as session:
        yield Caller(sim, session, application)


@pytest.fixture
def parts() -> Box:
    """An engine with all its parts, without any network."""
    return box()


@pytest.fixture
def engine(parts: Box) -> Engine:
    """The engine of `parts`."""
    return parts.engine
