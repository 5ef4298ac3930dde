"""A simulator with an open page for each test, in the browser that all tests share."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from nexmo_dispatch_async.simulator import Simulator
from tests.simulator.conftest import Caller, Receiver
from tests.simulator.page.browser import Browser, Tab
from tests.simulator.support import step, workflow

SILENT = "999500000001"
FIRST, SECOND = ".step:nth-child(1)", ".step:nth-child(2)"


def whatsapp_then_sms(text: str = "Your table is ready", within: int = 600) -> dict[str, Any]:
    """Return a workflow whose recipient does nothing by itself."""
    message = {"content": {"type": "text", "text": text}}
    return workflow(
        step("whatsapp", SILENT, within=within, until="read", message=message),
        step("sms", SILENT, message=message),
    )


@pytest.fixture
async def browser(devtools: str) -> AsyncIterator[Browser]:
    """A connection to the browser, in the loop of the test."""
    async with Browser(devtools) as browser:
        yield browser


@dataclass
class Desk:
    """Everything on one desk: the service, a client, the receiver, and the page on the screen."""

    sim: Simulator
    caller: Caller
    receiver: Receiver
    page: Tab

    async def send(self, body: dict[str, Any]) -> str:
        """Send a workflow by the API and wait until the page shows it."""
        uuid = await self.send_unseen(body)
        await self.page.until(f"document.querySelector('[data-uuid=\"{uuid}\"]') !== null")
        return uuid

    async def send_unseen(self, body: dict[str, Any]) -> str:
        """Send a workflow by the API."""
        status, answer = await self.caller.send(body)
        assert status == 202, answer
        return str(answer["dispatch_uuid"])


@pytest.fixture
async def desk(browser: Browser, sim: Simulator, caller: Caller, receiver: Receiver) -> AsyncIterator[Desk]:
    """A simulator and its page, opened; afterwards the page has complained of nothing and stayed at home."""
    page = await browser.open(sim.url + "/")
    await page.until("document.querySelector('#link').dataset.state === 'live'")
    yield Desk(sim, caller, receiver, page)
    errors, elsewhere = page.errors, [url for url in page.requested if not url.startswith(sim.url)]
    await page.close()
    assert errors == []
    assert elsewhere == []
