"""`Campaign`: sends to each recipient of a list at most once, through crashes, pauses and quotas.

The class only combines the parts: `rows.intake` makes rows, `ledger` stores them, `sending.sender` sends
them, `callbacks` receives their callbacks.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Self, cast

import msgspec

from nexmo_dispatch_async.bulk.callbacks import CampaignCallbacks, Waited
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger, rows_of
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.records import (
    Change,
    Control,
    Counts,
    Droppable,
    Resendable,
    Row,
    State,
)
from nexmo_dispatch_async.bulk.opening import (
    Expiring,
    Frozen,
    LastCounts,
    WorstCost,
    opened,
    pace_changes,
    resting,
    settings_of,
    silent_rows,
    state_of,
    stopped_by_signals,
)
from nexmo_dispatch_async.bulk.plan import Plan, make_plan
from nexmo_dispatch_async.bulk.progress import Status
from nexmo_dispatch_async.bulk.rejects import RejectsFile
from nexmo_dispatch_async.bulk.report.figures import Report
from nexmo_dispatch_async.bulk.report.report import report_of
from nexmo_dispatch_async.bulk.rows.exclusions import excluding
from nexmo_dispatch_async.bulk.rows.intake import Intake, Taken
from nexmo_dispatch_async.bulk.rows.readers import Rows
from nexmo_dispatch_async.bulk.sending.calendar import Calendar
from nexmo_dispatch_async.bulk.sending.governor import Governor
from nexmo_dispatch_async.bulk.sending.safety import AbortWatch, Budget, CanaryWatch
from nexmo_dispatch_async.bulk.sending.sender import Sender
from nexmo_dispatch_async.bulk.settings import CampaignSettings, Source
from nexmo_dispatch_async.bulk.templates.rendering import Renderer
from nexmo_dispatch_async.bulk.trial import send_trial
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.event_loop import running_loop
from nexmo_dispatch_async.exceptions import ConfigurationError, PlanChangedError
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.retry import Timeout
from nexmo_dispatch_async.tariff import Tariff
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Campaign", "shared_governor"]

_SHARED = Governor()


def shared_governor() -> Governor:
    """Return the governor of this process: all campaigns share it that are not given another."""
    return _SHARED


class Campaign:
    """A campaign; `Campaign.open` creates one.

    Args:
        ledger: The ledger of the rows.
        client: The client that sends; `None` to inspect or control the campaign, or to add rows.
        template: Makes the workflow of each row; `None` to inspect or control the campaign.
        settings: Pace, times, safety.
        tariff: Prices, for `max_spend` and plans.
        opt_outs: Opt-out list; by default that of the ledger.
        governor: Governor of the rates; by default that of the process, shared by all campaigns.
        timeout: Timeout of one attempt; that of the client if omitted.
        wall_clock: Returns epoch seconds.

    Raises:
        ConfigurationError: A setting is wrong, or later a text that no store takes, such as the reason of a
            pause: one with half a surrogate pair or a NUL character.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        client: DispatchClient | None = None,
        template: Renderer | None = None,
        settings: CampaignSettings,
        tariff: Tariff | None = None,
        opt_outs: OptOutList | None = None,
        governor: Governor | None = None,
        timeout: Timeout | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.ledger = ledger
        self.settings = settings
        self._client, self._template, self._tariff = client, template, tariff
        self._opt_outs: OptOutList | None = (
            opt_outs if opt_outs is not None else getattr(ledger, "opt_outs", None)
        )
        self._governor = governor if governor is not None else shared_governor()
        self._timeout = timeout
        self._wall = wall_clock
        self._calendar = Calendar(
            settings.zone, settings.quiet, start_at=settings.start_at, send_until=settings.send_until
        )
        self._canary = CanaryWatch(settings.canary) if settings.canary is not None else None
        if settings.max_spend is not None and tariff is None:
            raise ConfigurationError("max_spend needs prices: give the campaign a tariff")
        checks.count("limit", settings.pace.limit)
        self._last = LastCounts(ledger)
        self._callbacks: CampaignCallbacks | None = None
        self._sender: Sender | None = None
        self._over = asyncio.Event()

    @property
    def is_running(self) -> bool:
        """Whether this process runs the campaign now."""
        return self._sender is not None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        ledger: str | os.PathLike[str] | Ledger,
        *,
        client: DispatchClient | None = None,
        template: Renderer | None = None,
        rate: object = None,
        over: object = None,
        limit: int = 64,
        tariff: Tariff | None = None,
        opt_outs: OptOutList | None = None,
        governor: Governor | None = None,
        timeout: Timeout | None = None,  # noqa: ASYNC109 - of one attempt of each send
        observer: bool = False,
        restored: bool = False,
        accept_loss: bool = False,
        wall_clock: Callable[[], float] = time.time,
        **settings: Any,
    ) -> AsyncGenerator[Self]:
        """Open a campaign, for `async with`; the exit drains the sends in flight.

        Args:
            ledger: Path of the file, `postgresql://…?campaign=name` or `nats://…`, `":memory:"`, or a ledger,
                which the campaign does not close.
            client: The client that sends; the campaign does not close it.
            template: Makes the workflow of each row.
            rate: Sends per second, a text such as `"500/h"`, or the stages of a ramp:
                `["50/h for 2h", "200/h for 2h", "1000/h"]`. By default as fast as the service allows.
            over: Time over which all rows are spread evenly, in seconds or as a text such as `"6h"`.
            limit: Maximum number of sends in flight.
            tariff: Prices, for `max_spend` and plans.
            opt_outs: Opt-out list in a separate file, shared by campaigns.
            governor: Governor of the rates; that of the process if omitted.
            timeout: Timeout of one attempt; that of the client if omitted.
            observer: Whether to only inspect and control a campaign that another process runs.
            restored: Whether to continue with a ledger that was copied or restored from a backup.
            accept_loss: Whether to use a store that may lose what it acknowledged, and then messages twice.
            wall_clock: Returns epoch seconds.
            **settings: Fields of `CampaignSettings`, such as `country`, `quiet`, `canary`, `max_spend`.

        Raises:
            LedgerInUseError: Another process uses the file.
            LedgerCopiedError: The ledger was copied or restored.
            LedgerError: The file cannot be used.
            ConfigurationError: A setting is wrong.
        """
        chosen = settings_of(ledger, rate, over, limit, settings)
        keeper = await opened(
            ledger,
            chosen.name,
            opt_outs=opt_outs,
            observer=observer,
            restored=restored,
            accept_loss=accept_loss,
            sends=client is not None,
            clock=wall_clock,
        )
        try:
            campaign = cls(
                keeper if keeper is not None else cast("Ledger", ledger),
                client=client,
                template=template,
                settings=chosen,
                tariff=tariff,
                opt_outs=opt_outs,
                governor=governor,
                timeout=timeout,
                wall_clock=wall_clock,
            )
            try:
                yield campaign
            finally:
                await campaign._drain()
        finally:
            if keeper is not None:
                await keeper.aclose()

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Campaign {self.settings.name!r}{', running' if self._sender is not None else ''}>"

    # --- rows ---

    async def plan(self, rows: Rows) -> Plan:
        """Return the plan of a list: results, cost and duration; nothing is added.

        Args:
            rows: A file, or an (async) iterable of mappings.
        """
        intake, now = self._intake(), self._wall()
        return await make_plan(
            rows, intake, self.settings, tariff=self._tariff, opt_outs=self._opt_outs, now=now
        )

    async def add(self, rows: Rows, *, plan: str = "", rejects: RejectsFile | None = None) -> Taken:
        """Add rows; a row with a known key stays as first added.

        Args:
            rows: A file, or an (async) iterable of mappings.
            plan: Hash of the approved plan: other rows, texts, limits or prices are refused. The
                rows are read twice then, so they must be a file or a list.
            rejects: File for the rejected rows.

        Raises:
            PlanChangedError: The plan has another hash, or earlier rows were added for another template.
            RejectedRowsError: The campaign is `strict`, or refuses duplicates, and rows are rejected.
            SourceError: The source cannot be read any further.
            LedgerError: The ledger failed.
            OptOutError: The opt-out list failed.
        """
        intake = self._intake()
        if plan:
            if not isinstance(rows, str | Path | Source | list | tuple):
                raise ConfigurationError("a plan reads the rows before they are added: give a file or a list")
            found = (await self.plan(rows)).hash
            if found != plan:
                raise PlanChangedError(
                    f"the plan is {found} and not {plan}: a row, a text, a limit or a price is another one"
                )
        await self._freeze(plan)
        expiring = Expiring(self.ledger, self.settings.send_until, self._opt_outs)
        async with excluding(expiring, self.settings.people.exclude) as keeper:
            taken = await intake.take(rows, keeper, strict=self.settings.strict, rejects=rejects)
        if self._sender is not None:
            self._sender.wake()
        return taken

    def rows(self, state: State | None = None) -> AsyncIterator[Row]:
        """Return the rows, or those in a state, in the order of their ids."""
        return rows_of(self.ledger, state)

    async def resend(self, *ids: int, state: Resendable = "unknown") -> int:
        """Set rows in a state back to `pending`, and return their number; see `Ledger.resend`."""
        count = await self.ledger.resend(ids, state=state)
        if self._sender is not None:
            self._sender.wake()
        return count

    async def drop(self, *ids: int, state: Droppable = "unknown") -> int:
        """Give up rows in a state, and return their number; see `Ledger.drop`."""
        return await self.ledger.drop(ids, state=state)

    # --- running ---

    async def run(self, *, plan: str = "", signals: bool = False, joins: bool = False) -> Counts:
        """Send until every row has an outcome, or until the campaign is stopped.

        While the campaign is paused, by an operator or by its own rules, `run` waits.

        Args:
            plan: Hash of the approved plan, with which the rows must have been added.
            signals: Whether SIGINT and SIGTERM stop the campaign: the first drains the sends in flight, the
                second cancels them. Only in the main thread.
            joins: Whether to take part in the run of others, as a worker does, which a stop ends for good.

        Raises:
            PlanChangedError: The rows were added with another plan, without a plan, or for another template.
            ConfigurationError: The campaign has no client or no template, or runs already.
            LedgerError: The ledger kept failing.
            ClientClosedError: The client was closed.
        """
        if self._client is None or self._template is None:
            raise ConfigurationError("a campaign that is run needs a client and a template")
        if self._sender is not None:
            raise ConfigurationError("the campaign runs already")
        frozen = await self._freeze(plan)
        if plan and frozen.plan != plan:
            raise PlanChangedError(
                f"the rows were added with the plan {frozen.plan or '(none)'}, and not with {plan}"
            )
        if not joins:
            await self.ledger.control(Control.begun)
        sender = self._sender = await self._make_sender(self._client, self._template)
        self._over.clear()
        try:
            with stopped_by_signals(sender, active=signals):
                return await sender.run()
        finally:
            self._sender = None
            self._over.set()

    def stop_here(self) -> None:
        """Drain and end the run of this process alone; a second call gives up what is in flight."""
        if self._sender is not None:
            self._sender.stop()

    async def _drain(self) -> None:
        """Stop the run of another task, and wait for its end."""
        if self._sender is not None:
            self._sender.stop()
            await self._over.wait()

    async def test(self, number: str) -> list[Dispatch]:
        """Send one message of each variant and language to your own number; the ledger does not change.

        Args:
            number: Your number, in any spelling with its country code.

        Raises:
            ConfigurationError: There is no client or template, no row is pending, or the template does not
                name the fields that are numbers.
            APIError: The service did not accept a message.
        """
        if self._client is None or self._template is None:
            raise ConfigurationError("a test send needs a client and a template")
        return await send_trial(
            self._client, self._template, self.ledger, number, country=self.settings.country
        )

    async def pause(self, reason: str = "", *, by: str = "operator") -> None:
        """Pause in every process: no more rows are claimed, sends in flight continue to their end."""
        await self._ask(state="pause", by=by, reason=reason)

    async def resume(self, *, by: str = "operator") -> None:
        """Resume after a pause; a wait for a quota or for the service ends with one send that is tried."""
        await self._ask(state="run", by=by, reason="")

    async def stop(self, reason: str = "", *, by: str = "operator") -> None:
        """Stop in every process: claim no more rows, drain, end the run. A second call cancels the drain."""
        checks.texts(by=by, reason=reason)
        if self._sender is not None:
            self._sender.stop()
        await self._follow(lambda known: known.stopped(by, reason))

    async def release(self, *, by: str = "operator") -> None:
        """Release the campaign from its canary."""
        await self._ask(release=True, state="run", by=by, reason="")

    async def retune(self, *, rate: float | None = None, limit: int | None = None) -> None:
        """Change the pace of a running campaign; `None` keeps a value.

        Args:
            rate: Sends per second.
            limit: Maximum number of sends in flight.

        Raises:
            ConfigurationError: The rate is not above 0 and at most a million, or the limit is below 1.
        """
        await self._ask(**pace_changes(rate, limit))

    # --- outcomes ---

    def attach(self, router: Any) -> CampaignCallbacks:
        """Register handlers on a router of the receiver, for callbacks and for STOP replies."""
        outcomes = self._hearing()
        outcomes.attach(router, self._opt_outs, stop_words=self.settings.people.stop_words)
        return outcomes

    async def wait(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - open rows at the timeout are a result, not an error
        latest: Mapping[str, float] | None = None,
    ) -> Waited:
        """Wait until every row has ended or cannot end any more; see `CampaignCallbacks.wait`."""
        return await self._hearing().wait(timeout=timeout, latest=latest)

    async def status(self, *, verify: bool = False) -> Status:
        """Return the status: counts, rate, and the reason and the end of a wait.

        Args:
            verify: Whether to count the rows instead of using the stored counts.
        """
        counts, failed = await self._last.read(verify=verify, running=self._sender is not None)
        at = self._wall()
        spent = {currency: Decimal(text) for currency, text in counts.cost.items()}
        sender = self._sender
        if sender is None:
            return resting(counts, await self.ledger.control(), at, spent)
        now = running_loop().time()
        wait = sender.shown(at) or failed or await silent_rows(self.ledger, counts, at, sender.in_flight)
        rate = sender.progress.rate(now)
        seconds = sender.progress.eta(now, counts.open)
        return Status(
            state=state_of(wait, stopping=sender.stopping),
            counts=counts,
            at=at,
            rate=rate,
            in_flight=sender.in_flight,
            eta=None if seconds is None or wait is not None else at + seconds,
            spent=spent,
            wait=wait,
        )

    async def report(self, *, with_addresses: bool = False) -> Report:
        """Count the rows for a report; `report_page`, `report_csv` and `report_json` show it."""
        name, opt_outs = self.settings.name, self._opt_outs
        return await report_of(
            self.ledger, name=name, opt_outs=opt_outs, with_addresses=with_addresses, clock=self._wall
        )

    # --- parts ---

    def _intake(self) -> Intake:
        if self._template is None:
            raise ConfigurationError("rows are added through a template: give the campaign one")
        settings = self.settings
        return Intake(
            self._template,
            columns=settings.columns,
            country=settings.country,
            duplicates=settings.duplicates,
            same_address=settings.same_address,
            channel_orders=settings.channel_orders,
            variants=settings.variants,
            zone=settings.zone,
            zone_by_number=settings.zone_by_number,
        )

    async def _freeze(self, plan: str) -> Frozen:
        """Return the part of the plan that the ledger stores; it is written with the first rows."""
        checks.texts(plan=plan)
        fingerprint = self._template.fingerprint if self._template is not None else ""
        stored = await self.ledger.describe()
        if not stored:
            stored = await self.ledger.describe(
                msgspec.json.encode(Frozen(fingerprint, plan, self.settings.text))
            )
        return msgspec.json.decode(stored, type=Frozen).checked(fingerprint)

    async def _make_sender(self, client: DispatchClient, template: Renderer) -> Sender:
        settings = self.settings
        return Sender(
            self.ledger,
            client,
            template,
            governor=self._governor,
            pace=settings.pace,
            calendar=self._calendar,
            cap=settings.people.cap,
            canary=self._canary,
            budget=await self._budget(template),
            abort=AbortWatch(settings.abort_if) if settings.abort_if is not None else None,
            timeout=self._timeout,
            wall_clock=self._wall,
        )

    async def _budget(self, template: Renderer) -> Budget | None:
        """Return the budget, with the worst cost of one row."""
        most, tariff = self.settings.max_spend, self._tariff
        if most is None or tariff is None:
            return None
        measure = WorstCost(self.ledger, template, tariff, in_thread=asyncio.to_thread).measure
        worst, rows = await measure()
        return Budget(most, worst=worst or most, currency=tariff.currency, rows=rows, measure=measure)

    def _hearing(self) -> CampaignCallbacks:
        if self._callbacks is None:
            self._callbacks = CampaignCallbacks(self.ledger, clock=self._wall)
        return self._callbacks

    async def _ask(self, **changes: Any) -> None:
        checks.texts(**{name: changes[name] for name in ("by", "reason") if name in changes})
        await self._follow(lambda known: known.asked(self._wall(), **changes))

    async def _follow(self, change: Change) -> None:
        control = await self.ledger.control(change)
        if self._sender is not None:
            self._sender.follow(control)
