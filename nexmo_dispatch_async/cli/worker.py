"""`nexmo-dispatch worker`: sends for the campaigns of a shared store, beside other workers.

A ledger there keeps the campaign file of its rows, so a worker needs only the store and the account.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from typing import Final, Protocol, Self

import msgspec

from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.campaign_file import parse, tariff_of, template_of
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.places import (
    STORES,
    engine_of,
    is_url,
    join_url,
    needs,
    open_ledger,
    split_url,
)
from nexmo_dispatch_async.bulk.opening import Frozen
from nexmo_dispatch_async.cli.bulk_files import DONE, FAILED, as_json, code_of
from nexmo_dispatch_async.cli.bulk_words import counts_in_words, line_of
from nexmo_dispatch_async.cli.screen import show
from nexmo_dispatch_async.cli.stores import STORE, Place
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import (
    ConfigurationError,
    DispatchError,
    LedgerCopiedError,
    LedgerError,
)

__all__ = ["WorkerOptions", "run"]

#: Seconds between two looks for campaigns.
_POLL: Final = 1.0


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command; see its help."""

    every: float = 10.0
    lease: float = 120.0
    once: bool = False
    json: bool = False


async def run(place: Place, options: WorkerOptions) -> int:
    """Work on the campaigns of a store until a signal, or until none has rows; return the exit code."""
    if not isinstance(place, str) or engine_of(place) is None:
        raise ConfigurationError(f"workers share a store on servers: --store {STORES}")
    url, name = split_url(place)
    only = name if "campaign=" in place.partition("?")[2] else None
    async with _open_campaigns(url) as campaigns, DispatchClient.from_env(trust_env=True) as client:
        worker = _Worker(url, client, options)
        with worker.ended_by_signals():
            telling = asyncio.create_task(worker.tell())
            try:
                while not worker.ending.is_set():
                    try:
                        names = await campaigns.names()
                    except LedgerError as error:
                        show(f"{error}; it is tried again", error=True)
                    else:
                        for each in names:
                            if only in (None, each):
                                worker.join(each)
                        if options.once and worker.is_idle:
                            break
                    await worker.pause(_POLL)
                await worker.leave()
            finally:
                telling.cancel()
                await asyncio.wait({telling})
        return await worker.exit_code()


class _OpenCampaigns(Protocol):
    """The campaigns of a store with rows to send."""

    async def __aenter__(self) -> Self:
        """Connect."""
        ...

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        ...

    async def names(self) -> list[str]:
        """Return their names."""
        ...


def _open_campaigns(url: str) -> _OpenCampaigns:
    engine = engine_of(url)
    try:
        if engine == "nats":
            from nexmo_dispatch_async.bulk.ledger import jetstream_campaigns

            return jetstream_campaigns.OpenCampaigns(url)
        from nexmo_dispatch_async.bulk.ledger import postgres_campaigns
    except ImportError:
        raise ConfigurationError(needs(engine or "postgres", "a campaign")) from None
    return postgres_campaigns.OpenCampaigns(url)


class _Worker:
    """The campaigns that this process sends for.

    Args:
        url: Of the store.
        client: Through which it sends.
        options: Of the command.
    """

    def __init__(self, url: str, client: DispatchClient, options: WorkerOptions) -> None:
        self.ending: asyncio.Event = asyncio.Event()
        self._url, self._client, self._options = url, client, options
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running: dict[str, Campaign] = {}
        self._joined: set[str] = set()
        self._refused: set[str] = set()

    @property
    def is_idle(self) -> bool:
        """Whether it sends for no campaign."""
        return not self._tasks

    def join(self, name: str) -> None:
        """Begin to send for a campaign, unless it does or cannot."""
        if name not in self._tasks and name not in self._refused:
            self._tasks[name] = asyncio.create_task(self._work(name), name=f"campaign {name}")

    async def pause(self, seconds: float) -> None:
        """Wait for the end of the worker, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self.ending.wait()
        except TimeoutError:
            return

    async def leave(self) -> None:
        """Claim nothing more, and wait for what is in flight."""
        self._stop()
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()))

    @contextmanager
    def ended_by_signals(self) -> Generator[None]:
        """Let SIGINT and SIGTERM end the worker: the first drains, a second gives up what is in flight."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        if self.ending.is_set():
            self._stop()
            return
        show("leaving: what is in flight is answered; a second signal gives it up", error=True)
        self.ending.set()

    def _stop(self) -> None:
        for name, task in self._tasks.items():
            campaign = self._running.get(name)
            if campaign is None or not campaign.is_running:
                task.cancel()  # nothing is in flight yet
            else:
                campaign.stop_here()

    async def _work(self, name: str) -> None:
        try:
            await self._send(name)
        except LedgerError as error:  # the next look joins again, unless an operator has to decide before
            if isinstance(error, LedgerCopiedError):
                self._refused.add(name)
            show(f"{name}: {error}", error=True)
        except DispatchError as error:
            self._refused.add(name)
            show(f"{name}: {error}", error=True, lines=True)
        finally:
            del self._tasks[name]
            self._running.pop(name, None)

    async def _send(self, name: str) -> None:
        """Send for a campaign until its rows are over, or this process leaves."""
        url = join_url(self._url, name)
        async with AsyncExitStack() as stack:
            looked = await open_ledger(url, observer=True, create=False)
            async with looked:
                stored = await looked.describe()
            text = msgspec.json.decode(stored, type=Frozen).file if stored else ""
            if not text:
                raise ConfigurationError(
                    "its rows were added without a campaign file: run it where its template is"
                )
            settings = parse(text, name=name, environ={STORE: url})
            opt_outs: OptOutList | None = None
            if is_url(settings.people.file):
                opt_outs = await stack.enter_async_context(OptOutList.open(settings.people.file))
            ledger = await open_ledger(url, opt_outs=opt_outs, create=False, lease=self._options.lease)
            stack.push_async_callback(ledger.aclose)
            campaign = Campaign(
                ledger,
                client=self._client,
                template=template_of(settings),
                settings=settings,
                tariff=tariff_of(settings),
                opt_outs=opt_outs,
            )
            self._joined.add(name)
            self._running[name] = campaign
            if not self._options.json:
                show(f"{name}: joined")
            counts = await campaign.run(joins=True)
            if self._options.json:
                show(as_json({"campaign": name, "left": counts}))
            else:
                show(f"{name}: left, {', '.join(counts_in_words(counts))}")

    async def tell(self) -> None:
        """Print a line for each campaign now and then."""
        while True:
            await asyncio.sleep(self._options.every)
            for name, campaign in list(self._running.items()):
                try:
                    status = await campaign.status()
                except LedgerError:  # the sender says so
                    continue
                if self._options.json:
                    show(as_json({"campaign": name, "status": status}))
                else:
                    show(line_of(name, status, campaign.settings.zone))

    async def exit_code(self) -> int:
        """Return how the campaigns stand that it sent for, as `bulk run` does."""
        codes = {DONE}
        for name in sorted(self._joined):
            ledger = await open_ledger(join_url(self._url, name), observer=True, create=False)
            async with ledger:
                codes.add(code_of(await ledger.counts()))
        return FAILED if self._refused else max(codes)
