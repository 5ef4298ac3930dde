"""`report_of`: the figures of a campaign, read from its rows page by page; as JSON and as CSV.

`report_page` makes the HTML page. The figures are those of the rows at the time of reading.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from nexmo_dispatch_async.bulk.ledger.ledger import Ledger, rows_of
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.records import Row
from nexmo_dispatch_async.bulk.ledger.stop_words import STOPPED
from nexmo_dispatch_async.bulk.rejects import Reject
from nexmo_dispatch_async.bulk.report.counting import Counting
from nexmo_dispatch_async.bulk.report.figures import Group, Report, Times, each
from nexmo_dispatch_async.bulk.safe_cells import safe_cell

__all__ = ["report_csv", "report_json", "report_of"]

#: Number of rows per page: counting a page blocks the event loop for some ten milliseconds.
_PAGE = 200


async def report_of(
    ledger: Ledger,
    *,
    name: str = "",
    opt_outs: OptOutList | None = None,
    rejects: Iterable[Reject] = (),
    missed: int = 1000,
    with_addresses: bool = False,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Return the figures of a campaign.

    Args:
        ledger: The ledger of the campaign.
        name: Name of the campaign, for the title.
        opt_outs: The opt-out list of the campaign, to count STOP replies.
        rejects: Rejected lines of the source.
        missed: Maximum number of people who were not reached, and of rejects, in the lists.
        with_addresses: Whether the lists have unmasked numbers.
        clock: Returns epoch seconds.

    Raises:
        LedgerError: The ledger failed.
        OptOutError: The opt-out list failed.
    """
    counting = Counting(missed=missed, with_addresses=with_addresses)
    stopped, accepted = 0, list[Row]()
    async for row in rows_of(ledger, page=_PAGE):
        counting.add(row)
        if opt_outs is not None and row.state == "sent" and row.address:
            accepted.append(row)
            if len(accepted) == _PAGE:
                stopped += await _stopped(opt_outs, accepted)
                accepted.clear()
    if opt_outs is not None:
        stopped += await _stopped(opt_outs, accepted)
    listed: list[Reject] = []
    rejected = 0
    for reject in rejects:
        rejected += 1
        if len(listed) < missed:
            listed.append(reject)
    cost = counting.cost.texts()
    reached = counting.reached_by_currency
    return Report(
        name=name,
        made_at=clock(),
        rows=counting.rows,
        states={state: counting.states[state] for state in sorted(counting.states)},
        skipped={reason: counting.skipped[reason] for reason in sorted(counting.skipped)},
        begun=counting.begun if math.isfinite(counting.begun) else None,
        finished=counting.finished if math.isfinite(counting.finished) else None,
        accepted=counting.states["sent"],
        heard=counting.heard,
        ended=counting.ended,
        delivered=counting.delivered,
        read=counting.read,
        stopped=None if opt_outs is None else stopped,
        cost=cost,
        cost_each={
            currency: each(amount, reached[currency])
            for currency, amount in cost.items()
            if reached[currency]
        },
        to_delivered=counting.to_delivered.times(),
        to_read=counting.to_read.times(),
        channels=counting.channels(),
        flows=counting.flows(),
        errors=counting.errors(),
        variants=counting.variants(),
        languages=counting.languages(),
        reasons=counting.reasons(),
        missed=tuple(counting.missed),
        missed_rows=counting.missed_rows,
        rejects=tuple(listed),
        rejected=rejected,
    )


async def _stopped(opt_outs: OptOutList, accepted: Sequence[Row]) -> int:
    """Return how many people of accepted rows replied STOP since: one look, however long the list is."""
    found = await opt_outs.store.find([row.address for row in accepted])
    stops = {entry.address: entry.at for entry in found if entry.reason == STOPPED}
    # an older entry is of an address that was linked to the person of the list only later
    return sum(row.address in stops and stops[row.address] >= row.changed for row in accepted)


def report_json(report: Report) -> bytes:
    """Return the figures as JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def report_csv(report: Report) -> str:
    """Return the figures as CSV: one line per number, with its section, its subject and its name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("section", "of", "figure", "value"))
    for cells in _lines(report):
        writer.writerow([safe_cell(str(cell)) for cell in cells])
    return text.getvalue()


_Line = tuple[str, str, str, object]


def _lines(report: Report) -> Iterator[_Line]:
    for figure in ("rows", "accepted", "heard", "ended", "delivered", "read", "missed_rows", "rejected"):
        yield "campaign", report.name, figure, getattr(report, figure)
    if report.stopped is not None:
        yield "campaign", report.name, "stopped", report.stopped
    yield from (("state", state, "rows", count) for state, count in report.states.items())
    yield from (("skipped", reason, "rows", count) for reason, count in report.skipped.items())
    yield from (("cost", currency, "total", amount) for currency, amount in report.cost.items())
    yield from (("cost", currency, "per_person", amount) for currency, amount in report.cost_each.items())
    yield from _times("time", "to_delivered", report.to_delivered)
    yield from _times("time", "to_read", report.to_read)
    for channel in report.channels:
        for figure in ("attempted", "delivered", "read", "failed", "silent", "people"):
            yield "channel", channel.channel, figure, getattr(channel, figure)
        yield from (("channel", channel.channel, f"spent_{c}", amount) for c, amount in channel.spent.items())
        yield from _times("channel", channel.channel, channel.to_delivered, "to_delivered_")
        yield from _times("channel", channel.channel, channel.to_read, "to_read_")
    yield from (("flow", flow.source, flow.target, flow.rows) for flow in report.flows)
    for error in report.errors:
        of = f"{error.code or 'none'} {error.channel}".strip()
        yield "error", of, "meaning", error.meaning
        yield "error", of, "class", error.kind
        yield "error", of, "messages", error.messages
        yield "error", of, "people", error.people
    yield from _groups("variant", report.variants)
    yield from _groups("language", report.languages)
    yield from (("reason", reason.why, "rows", reason.rows) for reason in report.reasons)
    for missed in report.missed:
        yield "missed", f"line {missed.line}", missed.who, missed.why
    for reject in report.rejects:
        yield "reject", f"line {reject.line}", reject.field, f"{reject.advice} [{reject.rule}]"


def _times(section: str, of: str, times: Times, prefix: str = "") -> Iterator[_Line]:
    yield section, of, f"{prefix}count", times.count
    for figure in ("median", "p90", "longest"):
        if (seconds := getattr(times, figure)) is not None:
            yield section, of, f"{prefix}{figure}_seconds", f"{seconds:g}"
    for bar in times.bars:
        end = "longer" if bar.upto is None else f"upto_{bar.upto:g}_seconds"
        yield section, of, f"{prefix}{end}", bar.count


def _groups(section: str, groups: tuple[Group, ...]) -> Iterator[_Line]:
    for group in groups:
        for figure in ("rows", "sent", "delivered", "read"):
            yield section, group.name, figure, getattr(group, figure)
        yield from ((section, group.name, f"cost_{c}", amount) for c, amount in group.cost.items())
