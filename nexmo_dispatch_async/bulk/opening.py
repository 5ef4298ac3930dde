"""Parts of `Campaign.open`: settings from keyword arguments, a ledger from a path, signals, prices.

The module sends nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial
from typing import Any, Final, Literal, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger.ledger import Ledger, TellsLife
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.places import name_at, open_ledger
from nexmo_dispatch_async.bulk.ledger.records import Added, Control, Counts, Recipient, Row
from nexmo_dispatch_async.bulk.progress import Status, Wait, pause_of, silence
from nexmo_dispatch_async.bulk.rejects import RowError
from nexmo_dispatch_async.bulk.sending.sender import Sender
from nexmo_dispatch_async.bulk.settings import CampaignSettings, Pace, Source
from nexmo_dispatch_async.bulk.templates.rendering import Renderer
from nexmo_dispatch_async.bulk.units import duration, ramp
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.event_loop import running_loop
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError, PlanChangedError
from nexmo_dispatch_async.tariff import Tariff

__all__ = [
    "Expiring",
    "Frozen",
    "LastCounts",
    "WorstCost",
    "opened",
    "pace_changes",
    "refusal",
    "resting",
    "settings_of",
    "silent_rows",
    "state_of",
    "stopped_by_signals",
]


#: Sends per second of the fastest campaign.
_MOST_SENDS: Final = 1_000_000


class Frozen(Struct, frozen=True):
    """The part of the plan that a ledger stores; it cannot change after the first rows.

    Attributes:
        template: Fingerprint of the template.
        plan: Hash of the approved plan, `""` for none.
        file: Text of the campaign file, for workers of a shared store; `""` for none.
    """

    template: str
    plan: str = ""
    file: str = ""

    def checked(self, template: str) -> Self:
        """Return this part of the plan.

        Args:
            template: Fingerprint of the template that the campaign has now.

        Raises:
            PlanChangedError: The rows were added for another template.
        """
        if self.template != template:
            raise PlanChangedError(
                "the template is not the one that the rows were added for: start a new campaign for another, "
                "and name this ledger under its [people] exclude, or those who got a message get another one"
            )
        return self


async def refusal(ledger: Ledger, template: str) -> str:
    """Return why a run is refused whose template is not that of the rows; `""` for a run that is not.

    Args:
        ledger: The ledger.
        template: Fingerprint of the template that the campaign has now.

    Raises:
        LedgerError: The ledger failed.
    """
    stored = await ledger.describe()
    try:
        if stored:
            msgspec.json.decode(stored, type=Frozen).checked(template)
    except PlanChangedError as error:
        return str(error)
    return ""


class Expiring:
    """The ledger as `Intake` sees it: rows expire when the campaign does.

    The addresses of a person are linked first: a STOP from one of them may arrive with the row.
    """

    def __init__(self, ledger: Ledger, until: float | None, opt_outs: OptOutList | None = None) -> None:
        self._ledger = ledger
        self._until = until
        self._opt_outs = opt_outs

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows."""
        linked = [(row.address, *row.others) for row in rows if row.others]
        if linked and self._opt_outs is not None:
            await self._opt_outs.store.link(linked)
        until = self._until
        if until is not None:
            rows = [row if row.expires <= until else replace(row, expires=until) for row in rows]
        return await self._ledger.add(rows)


def settings_of(
    ledger: str | os.PathLike[str] | Ledger, rate: object, over: object, limit: int, settings: dict[str, Any]
) -> CampaignSettings:
    """Return the settings from keyword arguments.

    Raises:
        ConfigurationError: An argument is unknown, or has an unreadable value.
    """
    name = "campaign"
    if isinstance(ledger, str | os.PathLike):
        name = name_at(ledger)
    pace = settings.pop("pace", Pace())
    checks.instance("pace", pace, Pace, advice="write Pace(…)")
    for field, value, read in (("rates", rate, ramp), ("over", over, duration)):
        if value is not None:
            try:
                pace = replace(pace, **{field: read(value)})
            except ValueError as error:
                raise ConfigurationError(f"{'rate' if read is ramp else 'over'} {error}") from None
    if unknown := sorted(settings.keys() - set(CampaignSettings.__struct_fields__)):
        raise ConfigurationError(f"no such setting of a campaign: {', '.join(unknown)}")
    base = CampaignSettings(name=name, ledger="", source=Source(""), pace=replace(pace, limit=limit))
    checks.texts(**{field: settings[field] for field in ("name", "text") if field in settings})
    return replace(base, **settings)


async def opened(
    ledger: str | os.PathLike[str] | Ledger,
    name: str,
    *,
    opt_outs: OptOutList | None,
    observer: bool,
    restored: bool,
    accept_loss: bool,
    sends: bool,
    clock: Callable[[], float],
) -> Ledger | None:
    """Return the ledger of a path, which the campaign closes; `None` for a ledger of the caller."""
    if not isinstance(ledger, str | os.PathLike):
        return None
    if ledger == ":memory:":
        return MemoryLedger(opt_outs, clock=clock)
    return await open_ledger(
        ledger,
        name=name,
        opt_outs=opt_outs,
        observer=observer,
        restored=restored,
        create=not observer,
        accept_loss=accept_loss,
        sends=sends,
        clock=clock,
    )


def pace_changes(rate: object, limit: object) -> dict[str, object]:
    """Return what `Campaign.retune` changes.

    Raises:
        ConfigurationError: A number is out of its range.
    """
    is_number = isinstance(rate, int | float) and not isinstance(rate, bool) and 0 < rate <= _MOST_SENDS
    if rate is not None and not is_number:
        raise ConfigurationError(
            f"rate must be above 0 sends per second and at most {_MOST_SENDS}: pause() stops a campaign"
        )
    if limit is not None:
        checks.count("limit", limit)
    return {name: value for name, value in (("rate", rate), ("limit", limit)) if value is not None}


class WorstCost:
    """The worst cost of one row: pending, or in flight here or elsewhere.

    Args:
        ledger: The ledger of the rows.
        template: Makes the workflow of each row.
        tariff: Prices.
        in_thread: Runs a function in a thread.
    """

    def __init__(
        self,
        ledger: Ledger,
        template: Renderer,
        tariff: Tariff,
        *,
        in_thread: Callable[[Callable[[], Decimal]], Awaitable[Decimal]],
    ) -> None:
        self._ledger, self._template, self._tariff = ledger, template, tariff
        self._in_thread = in_thread
        self._worst, self._last = Decimal(0), 0

    async def measure(self) -> tuple[Decimal, int]:
        """Look at the rows that were added since the last call; return the worst cost and the number of rows.

        Raises:
            LedgerError: The ledger failed.
        """
        while rows := await self._ledger.scan(after=self._last):
            self._last = rows[-1].id
            worst = await self._in_thread(partial(_worst_of, rows, self._template, self._tariff))
            self._worst = max(self._worst, worst)
        return self._worst, self._last


def _worst_of(rows: list[Row], template: Renderer, tariff: Tariff) -> Decimal:
    """Return the worst cost of one row that may still be charged.

    Rows that cannot be rendered are refused and cost nothing.
    """
    worst = Decimal(0)
    for row in rows:
        if row.state in {"refused", "skipped"} or (row.news is not None and row.news.ended):
            continue
        with suppress(RowError):
            worst = max(worst, tariff.cost(template.render(row).workflow).worst)
    return worst


def state_of(wait: Wait | None, *, stopping: bool) -> Literal["running", "waiting", "paused", "stopping"]:
    """Return the state of a campaign that runs in this process."""
    if stopping:
        return "stopping"
    if wait is None:
        return "running"
    return "paused" if wait.reason == "paused" else "waiting"


async def silent_rows(ledger: Ledger, counts: Counts, at: float, in_flight: int) -> Wait | None:
    """Return the wait for rows of processes that show no life, if these are all that is left.

    Args:
        ledger: The ledger of the campaign.
        counts: Its counts.
        at: Epoch seconds.
        in_flight: Number of sends of this process.
    """
    is_last = not in_flight and 0 < counts.open == counts.states.get("sending")
    if is_last and isinstance(ledger, TellsLife):
        with suppress(LedgerError):  # the next look may succeed
            return silence(await ledger.life(), at)
    return None


class LastCounts:
    """The counts of a ledger, or those of the last look while the store of a running campaign fails.

    Args:
        ledger: The ledger of the campaign.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen: Counts | None = None

    async def read(self, *, verify: bool, running: bool) -> tuple[Counts, Wait | None]:
        """Return the counts, and that the campaign waits for its store.

        Args:
            verify: Whether to count the rows.
            running: Whether this process sends: then its sender tries the store again.

        Raises:
            LedgerError: The ledger failed, and the counts are not known or must not be old ones.
        """
        try:
            self._seen = await self._ledger.counts(verify=verify)
        except LedgerError as error:
            if verify or not running or self._seen is None:
                raise
            return self._seen, Wait(reason="store", words=str(error))
        return self._seen, None


def resting(counts: Counts, control: Control, at: float, spent: dict[str, Decimal]) -> Status:
    """Return the status of a campaign that does not run in this process."""
    wait = None
    if control.state == "pause":
        wait = pause_of(control)
    finished = counts.total > 0 and not counts.open
    return Status(
        state="finished" if finished else "paused" if wait else "idle",
        counts=counts,
        at=at,
        spent=spent,
        wait=wait,
    )


@contextmanager
def stopped_by_signals(sender: Sender, *, active: bool) -> Generator[None]:
    """Let SIGINT and SIGTERM stop a sender, if `active`."""
    loop = running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM) if active else ()
    for number in numbers:
        loop.add_signal_handler(number, sender.stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
