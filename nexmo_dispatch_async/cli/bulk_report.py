"""`bulk report` and `bulk plan`: what became of a campaign, and what would become of it."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.campaign_file import load
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.plan import Plan, is_missing, plan_of
from nexmo_dispatch_async.bulk.rejects import Reject, RejectsFile
from nexmo_dispatch_async.bulk.report.figures import ChannelFigures, Report
from nexmo_dispatch_async.bulk.report.page import report_page
from nexmo_dispatch_async.bulk.report.report import report_csv, report_json, report_of
from nexmo_dispatch_async.cli.bulk_files import (
    DONE,
    REFUSED,
    as_json,
    name_of,
    opened,
    rejects_path,
    settings_of,
    zone_of,
)
from nexmo_dispatch_async.cli.bulk_samples import kind_in_words, messages_in_words, samples_of
from nexmo_dispatch_async.cli.bulk_words import moment, span
from nexmo_dispatch_async.cli.screen import show
from nexmo_dispatch_async.cli.stores import Place
from nexmo_dispatch_core import private_files

__all__ = ["plan", "report"]


async def report(
    place: Place, *, html: Path | None, csv_file: Path | None, missed: int, with_addresses: bool, json: bool
) -> int:
    """Write the report of a campaign; see `bulk report`."""
    zone, refused = zone_of(place), rejects_path(place)
    async with opened(place, observer=True) as ledger, _list_of(place, ledger.opt_outs) as opt_outs:
        figures = await report_of(
            ledger,
            name=name_of(place),
            opt_outs=opt_outs,
            rejects=_rejects(refused),
            missed=missed,
            with_addresses=with_addresses,
        )
    if settings_of(place) is None and not figures.stopped:
        figures = replace(figures, stopped=None)  # the campaign may have a list that only its file names
    files: tuple[tuple[Path | None, Callable[[], str]], ...] = (
        (html, lambda: report_page(figures, zone=zone)),
        (csv_file, lambda: report_csv(figures)),
    )
    for path, make in files:
        if path is not None:
            await anyio.to_thread.run_sync(_write, path, make())
            show(f"wrote {path}", error=True)
    if json:
        show(report_json(figures).decode().rstrip(), lines=True)
    elif html is None and csv_file is None:
        for line in _in_words(figures):
            show(line)
        if figures.rejected:
            show(f"lines that were not taken: {figures.rejected:,}, in {refused}")
    return DONE


async def plan(file: Path, *, samples: bool = False, json: bool) -> int:
    """Print what a campaign would do; see `bulk plan`."""
    settings = load(file)
    with RejectsFile(rejects_path(file) or file.with_suffix(".rejects.csv")) as rejects:
        made = await plan_of(settings, rejects=rejects)
    if json:
        show(as_json(made))
    else:
        for sample in await samples_of(settings, empty=True) if samples else ():
            show(f"line {sample.recipient.line}: {kind_in_words(sample.recipient)}")
            for message in messages_in_words(sample):
                show(f"  {message}")
        for line in _plan_in_words(made, rejects.path, settings.zone):
            show(line)
    return REFUSED if not made.sends or (settings.strict and made.rejected) else DONE


@asynccontextmanager
async def _list_of(place: Place, own: OptOutList) -> AsyncGenerator[OptOutList | None]:
    """Yield the list that a campaign file names, if it was made; otherwise that of the ledger."""
    settings = settings_of(place)
    shared = settings.people.file if settings is not None else ""
    if not shared:
        yield own
    elif await is_missing(shared):
        yield None
    else:
        async with OptOutList.open(shared) as opt_outs:
            yield opt_outs


def _in_words(figures: Report) -> Iterator[str]:
    yield f"{figures.name}: {figures.delivered:,} of {figures.rows:,} rows reached, {figures.read:,} read"
    if figures.unended:
        yield f"{figures.unended:,} sent and not ended yet: numbers may still grow"
    if figures.stopped is not None:
        words = f"{figures.stopped:,} {'person' if figures.stopped == 1 else 'people'} replied STOP"
        share = 100 * figures.stopped / max(figures.delivered, 1)
        yield words + (f", {share:.1f} % of those reached" if figures.delivered else "")
    for currency, amount in figures.cost.items():
        each = figures.cost_each.get(currency)
        yield f"cost {currency} {amount}" + (f": {each} for each person reached" if each else "")
    yield from _by_channel(figures.channels)
    if figures.beside_messages:
        yield f"  fees of workflows{_costs(figures.beside_messages)}"
    yield from _soon(figures)
    for title, groups in (("language", figures.languages), ("variant", figures.variants)):
        if any(group.name for group in groups):
            yield f"  by {title}:"
            for group in groups:
                yield (
                    f"    {group.name or 'none'}: {group.delivered:,} of {group.rows:,} reached, "
                    f"{group.read:,} read{_costs(group.cost)}"
                )
    for error in figures.errors:
        where = error.channel or "when sending"
        yield f"  {error.code or 'no code'} {where}: {_messages(error.messages)}, {error.meaning}"
    if figures.missed_rows:
        yield f"not reached: {figures.missed_rows:,}"
        for reason in figures.reasons:
            yield f"  {reason.rows:,}  {reason.why}"


def _by_channel(channels: tuple[ChannelFigures, ...]) -> Iterator[str]:
    for channel in channels:
        yield (
            f"  {channel.channel}: {channel.attempted:,} messages, {channel.delivered:,} delivered, "
            f"{channel.read:,} read, {channel.failed:,} failed{_costs(channel.spent)}"
        )
    if any(channel.people for channel in channels):
        people = ", ".join(f"{channel.channel} {channel.people:,}" for channel in channels)
        yield f"  people, each where the message was read, or else where the last one was delivered: {people}"


def _costs(costs: Mapping[str, str]) -> str:
    return "".join(f", {currency} {amount}" for currency, amount in costs.items())


def _soon(figures: Report) -> Iterator[str]:
    for title, times in (("reached", figures.to_delivered), ("read", figures.to_read)):
        if times.median is not None and times.p90 is not None:
            yield f"  {title}: half within {span(times.median)}, nine in ten within {span(times.p90)}"


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"


def _plan_in_words(made: Plan, rejects: Path, zone: str) -> Iterator[str]:
    rows = "1 row" if made.rows == 1 else f"{made.rows:,} rows"
    yield f"{rows}, {made.sends:,} to send, {made.rejected:,} rejected, {made.held_out:,} held out"
    if made.excluded:
        yield f"  {made.excluded:,} got a message from a campaign of `exclude`"
    if made.suppressed:
        yield f"  {made.suppressed:,} {'is' if made.suppressed == 1 else 'are'} on the opt-out list"
    for title, counts in (
        ("channel", made.channels),
        ("language", made.languages),
        ("variant", made.variants),
    ):
        if any(counts):
            yield f"  by {title}: " + ", ".join(
                f"{name or 'none'} {count:,}" for name, count in counts.items()
            )
    if made.rejected > len(made.rejects):
        rules = sorted(made.rules.items(), key=lambda each: -each[1])
        yield "  rejected: " + ", ".join(f"{rule} {count:,}" for rule, count in rules)
    undecoded = made.rules.get("encoding", 0)
    told = [reject for reject in made.rejects if reject.rule != "encoding"]
    told += [reject for reject in made.rejects if reject.rule == "encoding"][:1]  # all have one cause
    for reject in sorted(told, key=lambda each: each.line):
        field = f"{reject.field}: " if reject.field else ""
        more = f" and {undecoded - 1:,} more" if reject.rule == "encoding" and undecoded > 1 else ""
        yield f"  line {reject.line}{more}: {field}{reject.advice} [{reject.rule}]"
    listed = sum(reject.rule != "encoding" for reject in made.rejects) + undecoded
    if made.rejected > listed:
        yield f"  and {made.rejected - listed:,} more in {rejects}"
    if (cost := made.cost) is not None:
        yield f"cost {cost.currency} {cost.best} at best, {cost.expected} expected, {cost.worst} at worst"
        if cost.unpriced:
            have = "row has" if cost.unpriced == 1 else "rows have"
            yield f"  {cost.unpriced:,} {have} a destination without a price, and no place in a sum"
    begins = "at once" if made.begins <= time.time() + 1 else moment(made.begins, zone)
    if made.seconds is None:
        yield f"begins {begins}, and would not end within 400 days"
    else:
        yield f"begins {begins}, takes {span(made.seconds)}"
    yield from made.stores
    for warning in made.warnings:
        yield f"warning: {warning}"
    yield f"plan {made.hash}"


def _rejects(path: Path | None) -> Iterator[Reject]:
    """The lines that were not taken, as the last intake listed them."""
    if path is None:
        return
    try:
        file = path.open(encoding="utf-8-sig", newline="")
    except FileNotFoundError:
        return
    with file:
        for cells in csv.DictReader(file):
            line = cells.get("line") or "0"
            number = int(line) if line.isascii() and line.isdecimal() else 0
            words = (cells.get(name) or "" for name in ("field", "rule", "advice"))
            yield Reject(number, *words)


def _write(path: Path, text: str) -> None:
    with os.fdopen(private_files.open_for_writing(path), "w", encoding="utf-8", newline="") as file:
        file.write(text)
