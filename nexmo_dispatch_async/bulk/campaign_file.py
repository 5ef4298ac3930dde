"""Reads the TOML file of a campaign, reports all its problems at once, and returns settings.

The module opens no ledger and reads no rows.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from nexmo_dispatch_async.bulk.campaign_places import Places, without_urls
from nexmo_dispatch_async.bulk.ledger.places import is_url, join_url, split_url
from nexmo_dispatch_async.bulk.ledger.records import Cap
from nexmo_dispatch_async.bulk.settings import (
    ALL_REFUSED,
    AbortIf,
    CampaignSettings,
    Canary,
    Columns,
    Pace,
    PeopleSettings,
    QuietHours,
    Source,
    TariffSettings,
    Variants,
)
from nexmo_dispatch_async.bulk.templates.template import WorkflowTemplate
from nexmo_dispatch_async.bulk.templates.template_file import build_template
from nexmo_dispatch_async.bulk.toml_tables import CampaignFileError, FileProblem, Table
from nexmo_dispatch_async.bulk.units import duration, epoch, minutes, money, number, ramp, rate, share
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.rules import DEFAULT_RULES, Rules
from nexmo_dispatch_async.tariff import Tariff
from nexmo_dispatch_core.lenient import without_mark

__all__ = ["CampaignFileError", "load", "parse", "tariff_of", "template_of"]

T = TypeVar("T")

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def load(path: str | Path) -> CampaignSettings:
    """Read a campaign file; the paths in it are relative to its folder.

    Raises:
        CampaignFileError: The file cannot be read, or has errors; the exception lists every problem.
        ConfigurationError: *path* is no path.
    """
    checks.path("path", path)
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CampaignFileError(path.name, [FileProblem("", "", f"cannot be read: {reason}")]) from None
    return parse(data, name=path.name, folder=path.parent)


def parse(
    data: bytes | str,
    *,
    name: str = "campaign",
    folder: str | Path = "",
    environ: Mapping[str, str] | None = None,
) -> CampaignSettings:
    """Read the text of a campaign file.

    Args:
        data: TOML, with or without a byte-order mark.
        name: Name of the file, for the error.
        folder: Folder of relative paths in the file.
        environ: The variables that `ledger = "$NAME"` names; those of the process if omitted.

    Raises:
        CampaignFileError: The file has errors; the exception lists every problem.
    """
    problems: list[FileProblem] = []
    try:
        text = without_mark(data).decode() if isinstance(data, bytes) else data.removeprefix("\ufeff")
        values = tomllib.loads(text, parse_float=Decimal)
    except UnicodeDecodeError:
        raise CampaignFileError(name, [FileProblem("", "", "is not UTF-8; save it as UTF-8")]) from None
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        advice = f"is no TOML: {error}" if isinstance(error, ValueError) else "is nested too deeply"
        raise CampaignFileError(name, [FileProblem("", "", advice)]) from None
    places = Places(Path(folder), os.environ if environ is None else environ)
    settings = _settings(Table(values, "", problems, elsewhere=_all_keys), Path(folder), places)
    build_template(settings.template, problems, elsewhere=_all_keys)
    if settings.tariff is not None:
        try:
            tariff_of(settings)
        except ConfigurationError as error:
            problems.append(FileProblem("tariff", "prices", str(error)))
    if problems:
        raise CampaignFileError(name, problems)
    return replace(settings, text=without_urls(text, values)) if is_url(settings.ledger) else settings


@cache
def _all_keys() -> Mapping[str, Iterable[str]]:
    """Return the keys of each table of a campaign file, by reading one in which all tables are empty."""
    tables: dict[str, dict[str, object]] = {name: {} for name in ("quiet", "canary", "abort_if", "tariff")}
    file = Table({**tables, "people": {"cap": {}}}, "", [])
    _settings(file, Path(), Places(Path(), {}))
    return file.keys


def template_of(settings: CampaignSettings, rules: Rules = DEFAULT_RULES) -> WorkflowTemplate:
    """Return the template of the file.

    Raises:
        CampaignFileError: The file has no template.
    """
    problems: list[FileProblem] = []
    template = build_template(settings.template, problems, rules=rules)
    if template is None:
        raise CampaignFileError(settings.name, problems)
    return template


def tariff_of(settings: CampaignSettings) -> Tariff | None:
    """Return the tariff of the file; `None` without one.

    Raises:
        ConfigurationError: A channel or a price is wrong.
    """
    if settings.tariff is None:
        return None
    return Tariff(settings.tariff.prices, fee=settings.tariff.fee, currency=settings.tariff.currency)


def _settings(file: Table, folder: Path, places: Places) -> CampaignSettings:
    campaign = file.table("campaign")
    rows = file.table("rows")
    variants = file.table("variants")
    zone = campaign.get("zone", _zone, "")
    local = _LocalTimes(zone or "UTC")
    settings = CampaignSettings(
        name=campaign.required("name", 'name = "spring"'),
        ledger=_ledger(campaign, places),
        zone=zone or "UTC",
        start_at=campaign.get("start_at", local, None),
        send_until=campaign.get("send_until", local, None),
        strict=campaign.flag("strict"),
        source=_source(rows, folder),
        country=rows.text("country"),
        duplicates=cast("Any", rows.choice("duplicates", ("first", "error", "allow"))),
        same_address=cast("Any", rows.choice("same_address", ("allow", "first"))),
        columns=_columns(file.table("columns")),
        channel_orders=_channel_orders(file.table("channel_orders")),
        variants=_variants(variants),
        pace=_pace(file.table("pace")),
        quiet=_quiet(file.table("quiet")) if "quiet" in file else None,
        zone_by_number=file.table("quiet").flag("zone_by_number"),
        canary=_canary(file.table("canary")) if "canary" in file else None,
        max_spend=_budget(file.table("budget")),
        abort_if=_abort_if(file.table("abort_if")) if "abort_if" in file else ALL_REFUSED,
        people=_people(file.table("people"), places),
        tariff=_tariff(file.table("tariff")) if "tariff" in file else None,
        template=file.table("template").values,
    )
    for name in ("quiet", "canary", "abort_if", "tariff"):
        file.table(name)
    if not zone and (settings.quiet is not None or local.used):
        campaign.note("zone", 'is missing while there are local times; write zone = "Europe/Amsterdam"')
    if settings.max_spend is not None and settings.tariff is None:
        file.table("budget").note("max_spend", "needs prices for what is under way; write [tariff.prices]")
    if (
        settings.start_at is not None
        and settings.send_until is not None
        and settings.send_until <= settings.start_at
    ):
        campaign.note("send_until", "is not after start_at")
    if settings.channel_orders and not settings.columns.channels:
        cure = 'needs the column that it explains; write [columns] channels = "whatsapp"'
        file.table("channel_orders").note("", cure)
    if is_url(settings.ledger) and settings.people.file and not is_url(settings.people.file):
        file.table("people").note(
            "file", "must be in the database of the ledger; write the same value as there"
        )
    for table in (campaign, rows):
        table.done()
    file.done()
    return settings


def _ledger(campaign: Table, places: Places) -> str:
    """Return the place of the ledger; that of a database holds the name of the campaign."""
    if "ledger" not in campaign:
        campaign.note("ledger", 'is missing; write ledger = "spring.db"')
    place = campaign.get("ledger", places.read, "")
    return join_url(place, campaign.text("name") or "campaign") if is_url(place) else place


def _source(rows: Table, folder: Path) -> Source:
    return Source(
        file=_path(folder, rows.required("file", 'file = "customers.csv"')),
        format=cast("Any", rows.choice("format", ("", "csv", "tsv", "jsonl", "xlsx"))),
        delimiter=cast("Any", rows.choice("delimiter", ("", ",", ";", "\t", "|"))),
        sheet=rows.text("sheet"),
        encoding=rows.text("encoding"),
    )


def _columns(table: Table) -> Columns:
    columns = Columns(**{name: table.text(name) for name in Columns.__struct_fields__})
    table.done()
    return columns


def _channel_orders(table: Table) -> dict[str, str]:
    orders = {cell: table.text(cell) for cell in table.values}
    for cell, order in orders.items():
        if not order.strip():
            table.note(cell, 'must be an order of channels, such as "whatsapp > sms"')
    return orders


def _variants(table: Table) -> Variants:
    shares = table.table("shares")
    found = {name: shares.get(name, _weight, 1.0) for name in shares.values}
    hold_out = table.get("hold_out", _part, 0.0)
    salt = table.text("salt")
    table.done()
    return Variants(shares=found, hold_out=hold_out, salt=salt)


def _pace(table: Table) -> Pace:
    buckets = table.table("by_bucket")
    pace = Pace(
        rates=table.get("rate", ramp, ()),
        over=table.get("over", duration, None),
        limit=table.whole("limit", 64),
        by_bucket={name: buckets.get(name, rate, 1.0) for name in buckets.values},
    )
    table.done()
    return pace


def _quiet(table: Table) -> QuietHours:
    for key in ("from", "to"):
        if key not in table:
            table.note(key, 'is missing; write from = "21:00" and to = "09:00"')
    begin, end = table.get("from", minutes, 0), table.get("to", minutes, 0)
    # The zones of rows use this key; it is read here, so that it is no unknown key.
    table.flag("zone_by_number")
    days = frozenset(_DAYS.index(day.lower()) for day in table.texts("days") if _is_day(table, day))
    table.done()
    return _made(table, lambda: QuietHours(begin, end, days), QuietHours(0, 0))


def _made(table: Table, make: Callable[[], T], instead: T) -> T:
    """Return settings; a number that they refuse is a problem of its key."""
    try:
        return make()
    except ConfigurationError as error:
        key, _, rule = str(error).partition(".")[2].partition(" ")
        table.note(key, rule)
        return instead


def _is_day(table: Table, day: str) -> bool:
    if day.lower() in _DAYS:
        return True
    table.note("days", f"must be names such as {', '.join(_DAYS)}")
    return False


def _canary(table: Table) -> Canary:
    if "first" not in table:
        table.note("first", "is missing; write first = 100")
    first = table.whole("first", 1)
    until = cast("Any", table.choice("until", ("word", "delivered")))
    wanted = table.get("share", share, 0.9)
    within = table.get("within", duration, 3600.0)
    table.done()
    return _made(table, lambda: Canary(first, until, wanted, within), Canary(first))


def _budget(table: Table) -> Decimal | None:
    spend = table.get("max_spend", money, None)
    table.done()
    return spend


def _abort_if(table: Table) -> AbortIf:
    refused, unknown = table.get("refused", share, None), table.get("unknown", share, None)
    last = table.whole("last", 200)
    if refused is None and unknown is None:
        table.note("", 'says nothing; write refused = "5%" or unknown = "2%"')
    table.done()
    return _made(table, lambda: AbortIf(refused, unknown, last), ALL_REFUSED)


def _people(table: Table, places: Places) -> PeopleSettings:
    cap = None
    if "cap" in table:
        inner = table.table("cap")
        for key, cure in (("messages", "messages = 2"), ("within", 'within = "7d"')):
            if key not in inner:
                inner.note(key, f"is missing; write {cure}")
        cap = Cap(
            inner.whole("messages", 1),
            inner.get("within", duration, 1.0),
            cast("Any", inner.choice("over", ("skip", "defer"))),
        )
        inner.done()
    file = table.get("file", places.read, "")
    stop_words = table.texts("stop_words")
    if not all(word.strip() for word in stop_words):
        table.note("stop_words", 'must be words, such as ["afmelden"]')
    people = PeopleSettings(
        file=split_url(file)[0] if is_url(file) else file,
        cap=cap,
        exclude=table.get("exclude", places.read_all, ()),
        stop_words=stop_words,
    )
    table.table("cap")
    table.done()
    return people


def _tariff(table: Table) -> TariffSettings:
    if "prices" not in table:
        table.note("prices", 'is missing; write [tariff.prices] and sms = "0.07"')
    prices: dict[str, str | dict[str, str]] = {}
    inner = table.table("prices")
    for channel, value in inner.values.items():
        if isinstance(value, Mapping):
            codes = inner.table(channel)
            prices[channel] = {code: str(codes.get(code, money, Decimal(0))) for code in codes.values}
        else:
            prices[channel] = str(inner.get(channel, money, Decimal(0)))
    fee = table.get("fee", money, Decimal("0.002"))
    currency = table.text("currency", "EUR")
    table.done()
    return TariffSettings(prices=prices, fee=str(fee), currency=currency)


class _LocalTimes:
    """Reads times as epoch seconds, and records whether one was local."""

    def __init__(self, zone: str) -> None:
        self.used = False
        self._zone = ZoneInfo(zone)

    def __call__(self, value: object) -> float:
        moment = value
        if isinstance(value, str):
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                moment = None
        elif type(value) is date:
            moment = datetime.combine(value, datetime.min.time())
        if not isinstance(moment, datetime):
            cure = "must be a time such as 2026-03-29T18:00:00, with or without +02:00"
            raise ValueError(cure)  # noqa: TRY004 - read as a wrong value
        if moment.tzinfo is None:
            self.used = True
            moment = moment.replace(tzinfo=self._zone)
        try:
            return epoch(moment)
        except (ValueError, OverflowError):
            raise ValueError("must be a time of these years, such as 2026-03-29T18:00:00") from None


def _zone(value: object) -> str:
    try:
        if isinstance(value, str) and value:
            ZoneInfo(value)
            return value
    except (ValueError, OSError, LookupError):
        pass
    raise ValueError('must be an IANA time zone such as "Europe/Amsterdam"')


def _weight(value: object) -> float:
    weight = number(value)
    if not 0 < weight < math.inf:
        raise ValueError("must be a weight above 0, such as 1")
    return weight


def _part(value: object) -> float:
    part = share(value)
    if part == 1:
        raise ValueError("must be below 100%, or no message would be sent")
    return part


def _path(folder: Path, name: str) -> str:
    return str(folder / name) if name else ""
