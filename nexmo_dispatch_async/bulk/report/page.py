"""`report_page`: the figures of a campaign as one self-contained HTML page.

It has no script, loads nothing, and says everything in words that its pictures show. Whatever comes from rows
or from the service is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from nexmo_dispatch_async.bulk.report.error_meanings import CLASS_WORDS
from nexmo_dispatch_async.bulk.report.figures import (
    ChannelFigures,
    ErrorFigures,
    Group,
    Missed,
    Report,
    Times,
)
from nexmo_dispatch_async.bulk.report.pictures import Kind, bar, flow_picture
from nexmo_dispatch_async.bulk.report.words import (
    NONE,
    amounts,
    channel_name,
    duration,
    moment,
    number,
    percent,
    place_name,
    text,
)

__all__ = ["report_page"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def report_page(report: Report, *, zone: str = "UTC") -> str:
    """Return the page.

    Args:
        report: The figures.
        zone: IANA name of the zone that times are shown in.

    Raises:
        ZoneInfoNotFoundError: There is no such zone.
    """
    sections = [
        ("numbers", "In numbers", _numbers(report)),
        ("channels", "Channels", _channels(report.channels)),
        ("failover", "From step to step", _failover(report)),
        ("times", "How soon", _times(report)),
        ("errors", "Errors", _errors(report.errors)),
        ("variants", "Variants and languages", _groups(report)),
        ("missed", "Who was not reached", _missed(report)),
    ]
    shown = [(anchor, title, body) for anchor, title, body in sections if body]
    title = text(report.name) if report.name else "Campaign"
    links = "".join(f'<li><a href="#{anchor}">{name}</a></li>' for anchor, name, _ in shown)
    body = "".join(
        f'<section id="{anchor}"{_long(anchor)} aria-labelledby="{anchor}-title">'
        f'<h2 id="{anchor}-title">{name}</h2>{html}</section>'
        for anchor, name, html in shown
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">'
        f"<title>{_plain(title)} - report</title><style>{_style()}</style></head><body>"
        '<a class="skip" href="#numbers">To the numbers</a>'
        f'<header><h1>{title}</h1><p class="lead">{_lead(report)}</p>{_state(report, zone)}'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header><main>{body}</main>'
        f'<footer><p class="note">{_footer(report)}</p></footer></body></html>\n'
    )


@cache
def _style() -> str:
    return Path(__file__).with_suffix(".css").read_text("utf-8")


def _plain(html: str) -> str:
    return html.replace("<bdi>", "").replace("</bdi>", "")


def _long(anchor: str) -> str:
    return ' class="long"' if anchor == "missed" else ""


# --- the head


def _lead(report: Report) -> str:
    if not report.rows:
        return "The campaign has no rows."
    words = (
        f"Messages reached {number(report.delivered)} of {number(report.rows)} rows "
        f"({percent(report.delivered, report.rows)}), and {number(report.read)} of these were read."
    )
    if report.cost:
        words += f" It cost {amounts(report.cost)}"
        words += f", {amounts(report.cost_each)} for each person reached." if report.cost_each else "."
    if report.stopped is not None:
        words += f" {_people(report.stopped)} replied STOP"
        share = f" ({percent(report.stopped, report.delivered)} of those reached)"
        words += share * (report.delivered > 0) + "."
    return words


def _state(report: Report, zone: str) -> str:
    sentences = [f"Made {moment(report.made_at, zone)}."]
    if report.begun is not None:
        begun, finished = moment(report.begun, zone), moment(report.finished, zone)
        sentences.insert(0, f"Sent from {begun} to {finished}." if finished != begun else f"Sent {begun}.")
    unsent = report.states.get("pending", 0) + report.states.get("sending", 0)
    unended = report.unended
    if unsent:
        sentences.append(f"<strong>{_rows(unsent)} still to be sent.</strong>")
    if unended:
        sentences.append(f"<strong>{_rows(unended)} sent and not ended yet: numbers may still grow.</strong>")
    return f'<p class="note">{" ".join(sentences)}</p>'


def _rows(count: int) -> str:
    return f"{number(count)} row{'' if count == 1 else 's'}"


def _people(count: int) -> str:
    return f"{number(count)} {'person' if count == 1 else 'people'}"


def _footer(report: Report) -> str:
    listed = any(missed.who and not missed.who.startswith("…") for missed in report.missed)
    kept = "This page may hold keys or numbers of people." if listed else "Numbers of people are masked."
    return (
        f"{kept} Times count from the first status of the service, and are rounded up to a second, from an "
        "hour on to a minute, from a day on to an hour. Money is what callbacks told, exactly."
    )


# --- parts of tables


def _table(heads: Sequence[str], rows: Iterable[str], *, caption: str = "", css: str = "") -> str:
    """Return a table; a head that ends with `>` stands over numbers.

    Args:
        heads: Texts of the heads, none for a table without.
        rows: Its rows.
        caption: What it shows.
        css: `stack` for one whose rows become blocks on a phone, `short` for one that does not wrap.
    """
    cells = "".join(
        f'<th scope="col" class="n">{head[:-1]}</th>'
        if head.endswith(">")
        else f'<th scope="col">{head}</th>'
        for head in heads
    )
    return (
        (f'<table class="{css}">' if css else "<table>")
        + (f"<caption>{caption}</caption>" if caption else "")
        + (f"<thead><tr>{cells}</tr></thead>" if heads else "")
        + f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _row(name: str, *cells: str) -> str:
    return f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>'


def _cell(html: str, of: str = "") -> str:
    return f'<td data-of="{of}">{html}</td>' if of else f"<td>{html}</td>"


def _count(html: str, of: str = "") -> str:
    return f'<td class="n" data-of="{of}">{html}</td>' if of else f'<td class="n">{html}</td>'


def _fill(part: int, whole: int, kind: Kind = "plain", css: str = "fill") -> str:
    return f'<td class="{css}">{bar(part, whole, kind)}</td>'


def _bar_row(name: str, count: int, whole: int, kind: Kind) -> str:
    share = f"<small>{percent(count, whole)}</small>"
    return _row(name, _fill(count, whole, kind), _count(number(count)), _count(share))


# --- sections


def _numbers(report: Report) -> str:
    refused, unknown = report.states.get("refused", 0), report.states.get("unknown", 0)
    skipped = report.states.get("skipped", 0)
    keys = [
        (
            "Rows",
            number(report.rows),
            f"{number(report.rejected)} lines not taken" if report.rejected else "",
        ),
        ("Accepted by the service", number(report.accepted), percent(report.accepted, report.rows)),
        ("Reached", number(report.delivered), f"{percent(report.delivered, report.rows)} of all"),
        ("Read", number(report.read), f"{percent(report.read, report.delivered)} of those reached"),
        ("Refused", number(refused), ""),
        ("Unknown", number(unknown), "whether they were sent" if unknown else ""),
        ("Skipped", number(skipped), "on purpose" if skipped else ""),
        ("Cost", amounts(report.cost), ""),
        ("Per person reached", amounts(report.cost_each), ""),
    ]
    items = "".join(
        f"<div><dt>{name}</dt><dd>{value}{f'<small>{note}</small>' if note else ''}</dd></div>"
        for name, value, note in keys
    )
    return f'<dl class="keys">{items}</dl>'


def _channels(channels: tuple[ChannelFigures, ...]) -> str:
    if not channels:
        return ""
    return (
        '<p class="note">Messages by channel. A person may have got messages on several, and counts on one: '
        "where the message was read, or else where the last one was delivered. Prices are those of messages, "
        "without the fee of a workflow.</p>"
        f'<div class="channels">{"".join(map(_channel, channels))}</div>'
    )


def _channel(figures: ChannelFigures) -> str:
    bars: list[tuple[str, int, Kind]] = [
        ("Sent", figures.attempted, "plain"),
        ("Delivered", figures.delivered, "good"),
        ("Read", figures.read, "best"),
        ("Failed", figures.failed, "bad"),
        ("Nothing yet", figures.silent, "open"),
    ]
    rows = [
        _bar_row(name, count, figures.attempted, kind)
        for name, count, kind in bars
        if count or name in {"Sent", "Delivered"}
    ]
    caption = "1 person counts here" if figures.people == 1 else f"{number(figures.people)} people count here"
    if figures.spent:
        caption += f"; messages cost {amounts(figures.spent)}"
    title = channel_name(figures.channel)
    return f'<div class="channel"><h3>{title}</h3>{_table((), rows, caption=caption)}</div>'


def _failover(report: Report) -> str:
    if not report.accepted:
        return ""
    whole: dict[str, int] = {}
    for flow in report.flows:
        whole[flow.source] = whole.get(flow.source, 0) + flow.rows
    rows = [
        _row(
            place_name(flow.source),
            _cell(place_name(flow.target)),
            _fill(flow.rows, whole[flow.source]),
            _count(number(flow.rows)),
            _count(f"<small>{percent(flow.rows, whole[flow.source])}</small>"),
        )
        for flow in report.flows
    ]
    table = _table(("From", "To", "Share", "Rows>", ">"), rows, css="short flows")
    return (
        '<p class="note">What became of the accepted rows, and where the next step took over. A person who '
        "got a message, but did not do what its step waited for, went on to the next one.</p>"
        f"{flow_picture(report.flows)}{table}"
    )


def _times(report: Report) -> str:
    delivered, read = report.to_delivered, report.to_read
    if not delivered.count and not read.count:
        return ""
    words = (
        "A person is reached by the first message that is delivered, on any channel. Half of them were "
        f"reached within <strong>{duration(delivered.median)}</strong>, nine in ten within "
        f"{duration(delivered.p90)}, the last one after {duration(delivered.longest)}."
    )
    if read.count:
        words += (
            f" Half of the readers had read it within <strong>{duration(read.median)}</strong>, nine in ten "
            f"within {duration(read.p90)}."
        )
    return f"<p>{words}</p>{_time_table(delivered, read)}{_channel_times(report.channels)}"


def _time_table(delivered: Times, read: Times) -> str:
    pairs = list(zip(_bars(delivered, read), _bars(read, delivered), strict=True))
    while pairs and not any(count for _, count in pairs[-1]):
        pairs.pop()
    rows = [
        _row(
            "later" if upto is None else f"within {duration(upto)}",
            _fill(got, max(delivered.count, 1), "good", "half"),
            _count(number(got)),
            _fill(seen, max(read.count, 1), "best", "half"),
            _count(number(seen)),
        )
        for (upto, got), (_, seen) in pairs
    ]
    caption = "People by how long it took, each in the first line that fits"
    heads = ("Time", "Reached", ">", "Read", ">")
    table = _table(heads, rows, caption=caption, css="short")
    return f'<div class="block">{table}</div>'


def _bars(times: Times, other: Times) -> list[tuple[float | None, int]]:
    """The bars of some times, or the same bars with no person in them."""
    return [(bar.upto, bar.count) for bar in times.bars] or [(bar.upto, 0) for bar in other.bars]


def _channel_times(channels: tuple[ChannelFigures, ...]) -> str:
    rows = [
        _row(
            channel_name(figures.channel),
            *(
                _count(duration(seconds), of)
                for of, seconds in (
                    ("Delivered, half", figures.to_delivered.median),
                    ("Delivered, nine in ten", figures.to_delivered.p90),
                    ("Read, half", figures.to_read.median),
                    ("Read, nine in ten", figures.to_read.p90),
                )
            ),
        )
        for figures in channels
        if figures.to_delivered.count or figures.to_read.count
    ]
    heads = ("Channel", "Delivered, half>", "nine in ten>", "Read, half>", "nine in ten>")
    caption = "Messages by channel, from the first status of each"
    return f'<div class="block">{_table(heads, rows, caption=caption, css="stack")}</div>' if rows else ""


def _errors(errors: tuple[ErrorFigures, ...]) -> str:
    if not errors:
        return ""
    most = max(error.messages for error in errors)
    rows = [
        _row(
            f"{text(error.meaning)} <small>{text(error.code) if error.code else ''}</small>",
            _cell(channel_name(error.channel) or "when sending", "Channel"),
            _cell(CLASS_WORDS[error.kind] if error.code else NONE, "Kind"),
            _fill(error.messages, most, "bad"),
            _count(number(error.messages), "Messages"),
            _count(number(error.people), "People not reached otherwise"),
        )
        for error in errors
    ]
    heads = ("What happened", "Channel", "Kind", "", "Messages>", "People lost>")
    return (
        '<p class="note">Failed messages by error code. The last column counts the people whom no other '
        f"message reached.</p>{_table(heads, rows, css='stack')}"
    )


def _groups(report: Report) -> str:
    html = _group_table("Variants", report.variants) + _group_table("Languages", report.languages)
    held = report.skipped.get("hold_out", 0)
    if held:
        html += f'<p class="note">{_rows(held)} held out to compare with; they got nothing.</p>'
    return html


def _group_table(title: str, groups: tuple[Group, ...]) -> str:
    if not any(group.name for group in groups):
        return ""
    rows = [
        _row(
            text(group.name) if group.name else "none named",
            _count(number(group.rows), "Rows"),
            _count(number(group.sent), "Accepted"),
            _count(
                f"{number(group.delivered)} <small>{percent(group.delivered, group.sent)}</small>", "Reached"
            ),
            _count(f"{number(group.read)} <small>{percent(group.read, group.sent)}</small>", "Read"),
            _fill(group.read, max(group.sent, 1), "best"),
            _count(amounts(group.cost), "Cost"),
        )
        for group in groups
    ]
    heads = ("Name", "Rows>", "Accepted>", "Reached>", "Read>", "", "Cost>")
    caption = f"{title}: shares are of the accepted rows, bars are those who read"
    return f'<div class="block">{_table(heads, rows, caption=caption, css="stack")}</div>'


def _missed(report: Report) -> str:
    parts: list[str] = []
    if report.missed_rows:
        rows = [
            _bar_row(text(reason.why), reason.rows, report.missed_rows, "bad") for reason in report.reasons
        ]
        parts.append(_table((), rows, caption=f"{_rows(report.missed_rows)} by reason"))
        parts.append(_missed_list(report.missed, report.missed_rows))
    if report.rejected:
        rows = [
            _row(
                number(one.line), _cell(text(one.field) if one.field else "the line"), _cell(text(one.advice))
            )
            for one in report.rejects
        ]
        caption = f"{number(report.rejected)} lines of the list that never became a row"
        caption += _more(len(report.rejects), report.rejected)
        table = _table(("Line", "Field", "What to do"), rows, caption=caption)
        parts.append(f'<div class="block"><h3>Lines that were not taken</h3>{table}</div>')
    return "".join(parts)


def _missed_list(missed: tuple[Missed, ...], total: int) -> str:
    rows = [
        _row(
            number(one.line) if one.line else NONE,
            f'<td class="who">{text(one.who) if one.who else "erased"}</td>',
            _cell(text(one.why)),
        )
        for one in missed
    ]
    table = _table(
        ("Line", "Who", "Why"), rows, caption="In the order of the list" + _more(len(missed), total)
    )
    return f'<div class="block"><h3>Line by line</h3>{table}</div>' if missed else ""


def _more(listed: int, total: int) -> str:
    if listed >= total:
        return ""
    return f"; the first {number(listed)} of {number(total)}, the export has all"
