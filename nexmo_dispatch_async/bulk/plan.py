"""The dry run of a campaign: its results, cost and duration, under one hash.

The plan reads every row as the campaign will, and sends nothing. The hash stands for exactly these messages:
another row, text, limit or price gives another hash.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import cast

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.campaign_file import tariff_of, template_of
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger, rows_of
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.places import is_url, name_at, open_ledger
from nexmo_dispatch_async.bulk.opening import refusal
from nexmo_dispatch_async.bulk.rejects import Reject, RejectsFile
from nexmo_dispatch_async.bulk.rows.exclusions import opted_out, sent_to
from nexmo_dispatch_async.bulk.rows.intake import Intake, Prepared
from nexmo_dispatch_async.bulk.rows.readers import Rows
from nexmo_dispatch_async.bulk.rows.seen import Seen
from nexmo_dispatch_async.bulk.sending.calendar import Calendar
from nexmo_dispatch_async.bulk.settings import CampaignSettings, Pace
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError, LedgerMissingError
from nexmo_dispatch_async.rules import DEFAULT_RULES, Rules
from nexmo_dispatch_async.tariff import Tariff

__all__ = [
    "Plan",
    "PlannedCost",
    "ends_at",
    "intake_of",
    "is_missing",
    "listed",
    "make_plan",
    "new_ledger",
    "new_list",
    "plan_of",
    "same_address_in_words",
    "unlisted",
]

_SHOWN = 20
# Maximum duration: a longer campaign has a mistyped pace.
_LONGEST = 400 * 86_400.0


class PlannedCost(Struct, frozen=True):
    """The sum over all rows to send.

    Attributes:
        best: Only the cheapest step of each row is charged.
        expected: Only the first step of each row is charged.
        worst: Every step of each row is charged.
        currency: Currency of the tariff.
        unpriced: Number of rows without a price for their destination; no sum includes them.
    """

    best: Decimal
    expected: Decimal
    worst: Decimal
    currency: str
    unpriced: int = 0


class Plan(Struct, frozen=True, kw_only=True):
    """The result of a dry run.

    Attributes:
        hash: 32 hexadecimal digits over rows, template, limits and tariff.
        rows: Rows that were read.
        recipients: Rows that would be added, including held-out rows.
        held_out: Rows of the control group, which would get no message.
        excluded: Rows of people to whom the campaigns of `exclude` sent, so far.
        suppressed: Rows of people on the opt-out list, so far. Neither they nor those excluded count in cost,
            duration or hash: both lists may grow until the send.
        rejected: Rows that would not be added.
        duplicates: Rejected rows with the key of an earlier row.
        same_address: Rows with the address of an earlier row and another key: one person gets several
            messages.
        rules: Rejected rows by rule.
        channels: Rows that would be sent, by the channel of their first step.
        languages: Rows that would be sent, by language, `""` for that of the template.
        variants: Recipients by variant, `""` for none.
        buckets: Recipients by bucket, the unit of a rate.
        cost: The cost; `None` without a tariff.
        begins: Epoch seconds of the first send.
        ends: Epoch seconds of the last send; `None` after more than 400 days.
        rejects: The first rejects.
        warnings: What to check before the run, in words.
        stores: Whether the ledger and the opt-out list of a campaign file are new, in words.
    """

    hash: str
    rows: int
    recipients: int
    held_out: int
    rejected: int
    duplicates: int
    same_address: int
    begins: float
    ends: float | None
    excluded: int = 0
    suppressed: int = 0
    cost: PlannedCost | None = None
    rules: dict[str, int] = field(default_factory=dict[str, int])
    channels: dict[str, int] = field(default_factory=dict[str, int])
    languages: dict[str, int] = field(default_factory=dict[str, int])
    variants: dict[str, int] = field(default_factory=dict[str, int])
    buckets: dict[str, int] = field(default_factory=dict[str, int])
    rejects: tuple[Reject, ...] = ()
    warnings: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()

    @property
    def sends(self) -> int:
        """Number of workflows that would be sent."""
        return self.recipients - self.held_out - self.excluded - self.suppressed

    @property
    def seconds(self) -> float | None:
        """Seconds from the first to the last send, quiet hours included."""
        return None if self.ends is None else self.ends - self.begins


async def plan_of(
    settings: CampaignSettings,
    *,
    rules: Rules = DEFAULT_RULES,
    now: float | None = None,
    rejects: RejectsFile | None = None,
) -> Plan:
    """Return the plan of a campaign file.

    Args:
        settings: The settings of the file.
        rules: The rules that every workflow must pass.
        now: Epoch seconds; the current time if omitted.
        rejects: File for the rejected rows.

    Raises:
        SourceError: The rows cannot be read.
        LedgerError: The ledger, or one of `exclude`, cannot be read.
        OptOutError: The opt-out list cannot be read.
        ConfigurationError: A setting is wrong.
    """
    intake = intake_of(settings, rules=rules)
    tariff = tariff_of(settings)
    file, stores, refused = settings.people.file, list[str](), ""
    async with AsyncExitStack() as stack:
        opt_outs: OptOutList | None = None
        try:
            ledger = await open_ledger(settings.ledger, observer=True, create=False)
        except LedgerMissingError:  # a plan makes none
            stores.append(new_ledger(settings.ledger))
        except LedgerError as error:
            if not file:
                raise LedgerError(f"it is not known who is on the opt-out list: {error}") from None
        else:
            stack.push_async_callback(ledger.aclose)
            opt_outs = ledger.opt_outs
            stores.append(await _rows_in_words(settings, ledger))
            refused = await refusal(ledger, intake.template.fingerprint)
        if file:
            opt_outs = None
            if await is_missing(file):
                stores.append(new_list(file))
            else:
                opt_outs = await stack.enter_async_context(OptOutList.open(file))
        made = await make_plan(
            settings.source, intake, settings, tariff=tariff, opt_outs=opt_outs, now=now, rejects=rejects
        )
    warnings = (f"bulk run refuses this: {refused}", *made.warnings) if refused else made.warnings
    return replace(made, stores=tuple(stores), warnings=warnings)


@asynccontextmanager
async def listed(settings: CampaignSettings) -> AsyncGenerator[Seen]:
    """Read the list of a campaign file, for the keys that it has now.

    Raises:
        SourceError: The list cannot be read.
    """
    with Seen() as keys:
        async with aclosing(intake_of(settings).prepared(settings.source)) as batches:
            async for good, _ in batches:
                for each in good:
                    keys.count(each.recipient.key)
        yield keys


async def unlisted(settings: CampaignSettings, ledger: Ledger) -> AsyncGenerator[int]:
    """Yield the ids of the pending rows that are no longer in the list: they would be sent all the same.

    Args:
        settings: The settings of the campaign file, which names the list.
        ledger: The ledger of the campaign.

    Raises:
        SourceError: The list cannot be read.
        LedgerError: The ledger cannot be read.
    """
    async with listed(settings) as keys:
        async for row in rows_of(ledger, "pending"):
            if row.key not in keys:
                yield row.id


async def _rows_in_words(settings: CampaignSettings, ledger: Ledger) -> str:
    """Return what a ledger has already, which the plan of the whole list counts again."""
    place, counts = settings.ledger, await ledger.counts()
    if not counts.total:
        return new_ledger(place)
    pending = counts.states.get("pending", 0)
    words = f"ledger {_name_of(place)} has {counts.total:,} rows already, {pending:,} of them to send"
    if pending and await anyio.Path(settings.source.file).is_file():  # a pipe is read once only
        gone = sum([1 async for _ in unlisted(settings, ledger)])
        words += f", {gone:,} of these no longer in the list" if gone else ""
    return f"{words}; the plan counts the whole list"


def _name_of(place: str) -> str:
    return name_at(place) if is_url(place) else Path(place).name


def new_ledger(place: str) -> str:
    """Return what a ledger without rows means, in words."""
    return f"new ledger {_name_of(place)}: no row counts as sent"


def new_list(place: str) -> str:
    """Return what an opt-out list that is made means, in words."""
    return f"new opt-out list {_name_of(place)}: no person is on it"


def same_address_in_words(count: int) -> str:
    """Return what rows with the address of an earlier row mean, in words."""
    have = "1 row has" if count == 1 else f"{count:,} rows have"
    return (
        f"{have} an address that came before under another key: one person gets several messages, unless "
        '[rows] says same_address = "first"'
    )


async def is_missing(place: str) -> bool:
    """Return whether a place is that of a file which does not exist; of a URL only its server knows."""
    return not is_url(place) and not await anyio.Path(place).exists()


def intake_of(settings: CampaignSettings, *, rules: Rules = DEFAULT_RULES) -> Intake:
    """Return the intake that a campaign file describes.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    return Intake(
        template_of(settings, rules),
        columns=settings.columns,
        country=settings.country,
        duplicates=settings.duplicates,
        same_address=settings.same_address,
        channel_orders=settings.channel_orders,
        variants=settings.variants,
        zone=settings.zone,
        zone_by_number=settings.zone_by_number,
    )


async def make_plan(
    rows: Rows,
    intake: Intake,
    settings: CampaignSettings,
    *,
    tariff: Tariff | None = None,
    opt_outs: OptOutList | None = None,
    now: float | None = None,
    rejects: RejectsFile | None = None,
) -> Plan:
    """Read all rows and return their plan.

    Args:
        rows: A file, or an (async) iterable of mappings.
        intake: Makes recipients of rows.
        settings: Limits, times and budget; its source and template are ignored.
        tariff: Prices, or `None`.
        opt_outs: The opt-out list, or `None`.
        now: Epoch seconds; the current time if omitted.
        rejects: File for the rejected rows.

    Raises:
        SourceError: The rows cannot be read.
        LedgerError: A ledger of `exclude` cannot be read.
        OptOutError: The opt-out list cannot be read.
    """
    now = time.time() if now is None else now
    async with (
        sent_to(settings.people.exclude) as elsewhere,
        opted_out(opt_outs) as suppressed,
        aclosing(intake.prepared(rows)) as found,
    ):
        counting = _Counting(tariff, elsewhere, suppressed)
        counting.digest.update(_limits(intake, settings, tariff))
        async for good, bad in found:
            await anyio.to_thread.run_sync(counting.add, good, bad)
            if rejects is not None and bad:
                await anyio.to_thread.run_sync(rejects.write, bad)
    begins = max(now, settings.start_at or 0.0)
    calendar = Calendar(settings.zone, settings.quiet)
    begins = calendar.opens("", begins)
    sends = counting.sends.total()
    lasts = _seconds(settings.pace, counting.sends)
    ends = await anyio.to_thread.run_sync(ends_at, begins, lasts, calendar)
    return Plan(
        hash=counting.digest.hexdigest(),
        rows=counting.rows,
        recipients=counting.recipients,
        held_out=counting.held_out,
        excluded=counting.excluded,
        suppressed=counting.suppressed,
        rejected=sum(counting.rules.values()),
        duplicates=counting.rules["duplicate"],
        same_address=counting.same_address,
        begins=begins,
        ends=ends,
        cost=counting.cost(),
        rules=dict(sorted(counting.rules.items())),
        channels=dict(sorted(counting.channels.items())),
        languages=dict(sorted(counting.languages.items())),
        variants=dict(sorted(counting.variants.items())),
        buckets=dict(sorted(counting.buckets.items())),
        rejects=tuple(counting.rejects),
        warnings=(*_warnings(counting, settings, sends, ends), *map(str, intake.template.findings)),
    )


def ends_at(begins: float, seconds: float, calendar: Calendar) -> float | None:
    """Return the end of a number of seconds of sending, with the quiet hours of the campaign's zone.

    Args:
        begins: Epoch seconds of the first send.
        seconds: Seconds of sending.
        calendar: The calendar with the quiet hours.

    Returns:
        Epoch seconds; `None` if the end is more than 400 days away.
    """
    at = begins
    while at - begins < _LONGEST:
        at = calendar.opens("", at)
        closes = calendar.changes([""], at)
        if at + seconds <= closes:
            return at + seconds if at + seconds - begins < _LONGEST else None
        seconds -= closes - at
        at = closes
    return None


class _Counting:
    """The counts of the rows so far."""

    def __init__(self, tariff: Tariff | None, elsewhere: Seen, opted_out: Seen) -> None:
        self.digest = hashlib.blake2b(digest_size=16)
        self.rows = self.recipients = self.held_out = self.same_address = 0
        self.excluded = self.suppressed = 0
        self.rules: Counter[str] = Counter()
        self.channels: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.variants: Counter[str] = Counter()
        self.buckets: Counter[str] = Counter()
        self.sends: Counter[str] = Counter()
        self.rejects: list[Reject] = []
        self._elsewhere, self._opted_out = elsewhere, opted_out
        self._tariff = tariff
        self._best = self._expected = self._worst = Decimal(0)
        self._unpriced = 0

    def add(self, good: list[Prepared], bad: list[Reject]) -> None:
        """Count a batch."""
        self.rows += len(good) + len(bad)
        self.rules.update(reject.rule for reject in bad)
        self.rejects += bad[: _SHOWN - len(self.rejects)]
        self.recipients += len(good)
        encode = msgspec.json.Encoder().encode
        for recipient, rendered, same in good:
            self.variants[recipient.variant] += 1
            self.buckets[recipient.bucket] += 1
            self.same_address += same > 0
            times = str(recipient.not_before), str(recipient.expires)
            values = (recipient.key, recipient.zone, recipient.variant, recipient.skip, *times)
            self.digest.update(encode(values))
            self.digest.update(rendered.body)
            if recipient.skip is not None:
                self.held_out += 1
                continue
            if recipient.address in self._elsewhere:
                self.excluded += 1
                continue
            if recipient.address in self._opted_out:
                self.suppressed += 1
                continue
            self.sends[recipient.bucket] += 1
            self.channels[rendered.channels[0]] += 1
            self.languages[recipient.language] += 1
            if self._tariff is not None:
                try:
                    cost = self._tariff.cost(rendered.workflow)
                except ConfigurationError:
                    self._unpriced += 1
                    continue
                self._best += cost.best
                self._expected += cost.expected
                self._worst += cost.worst

    def cost(self) -> PlannedCost | None:
        """Return the sums."""
        if self._tariff is None:
            return None
        currency = self._tariff.currency
        return PlannedCost(self._best, self._expected, self._worst, currency, self._unpriced)


def _limits(intake: Intake, settings: CampaignSettings, tariff: Tariff | None) -> bytes:
    """Return all parts of a plan except the rows, as bytes that are equal in every process."""
    prices: object = None
    if tariff is not None:
        # As numbers: 0.10 equals 0.1, from a file or from Python.
        tables = {
            channel: {code: str(price.normalize()) for code, price in table.items()}
            for channel, table in tariff.prices.items()
        }
        prices = (tariff.currency, str(tariff.fee.normalize()), tables)
    limits = (
        *("1", intake.template.fingerprint, settings.zone, settings.start_at, settings.send_until),
        *(settings.quiet, settings.canary, settings.abort_if, settings.strict, settings.people.cap),
        # The paths of the files do not count.
        sorted(name_at(name) if is_url(name) else Path(name).name for name in settings.people.exclude),
        *(
            settings.pace.rates,
            settings.pace.over,
            settings.pace.limit,
            sorted(settings.pace.by_bucket.items()),
        ),
        *(None if settings.max_spend is None else str(settings.max_spend.normalize()), prices),
    )
    return msgspec.json.encode(limits, enc_hook=_text, order="sorted")


def _text(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(cast("frozenset[int]", value))
    return str(value)


def _seconds(pace: Pace, sends: Counter[str]) -> float:
    """Return the seconds for all sends, at the slower of the campaign's pace and those of the buckets."""
    slowest = pace.seconds(sum(sends.values()))
    for name, per_second in pace.by_bucket.items():
        number = sum(count for bucket, count in sends.items() if name in (bucket, bucket.partition("|")[0]))
        slowest = max(slowest, number / per_second)
    return slowest


def _warnings(counting: _Counting, settings: CampaignSettings, sends: int, ends: float | None) -> list[str]:
    """Return the warnings to check before the run."""
    warnings: list[str] = []
    rejected = sum(counting.rules.values())
    if not sends:
        warnings.append("nothing would be sent")
    if rejected:
        warnings.append(f"{rejected} of {counting.rows} rows {'is' if rejected == 1 else 'are'} rejected")
    if counting.same_address:
        warnings.append(same_address_in_words(counting.same_address))
    if not settings.people.file:
        warnings.append("a STOP holds for this campaign alone: name a file under [people] for the next ones")
    cost = counting.cost()
    if cost is not None and cost.unpriced:
        rows = "1 row has" if cost.unpriced == 1 else f"{cost.unpriced} rows have"
        warnings.append(f'{rows} no price: add prices for their countries, or one for ""')
    if cost is not None and settings.max_spend is not None and cost.worst > settings.max_spend:
        what = "expected" if cost.expected > settings.max_spend else "worst"
        warnings.append(
            f"the {what} cost is above max_spend {settings.max_spend}: the campaign would pause there"
        )
    if ends is None:
        warnings.append("it would not be over within 400 days; look at the rate and the quiet hours")
    elif settings.send_until is not None and ends > settings.send_until:
        warnings.append("it would not be over at send_until: the rows that are left then are not sent")
    return warnings
