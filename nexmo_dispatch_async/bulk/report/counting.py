"""Counts the rows of a campaign for its report, one after the other, in bounded memory.

Unbounded sets of names, such as those of variants, are counted separately up to `MOST` names, and as `other`
beyond. The module does no I/O.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from decimal import Context, Decimal
from typing import Final

from nexmo_dispatch_async.bulk.ledger.folding import outcomes_of, started_at
from nexmo_dispatch_async.bulk.ledger.records import Row
from nexmo_dispatch_async.bulk.report.error_meanings import REFUSAL_WORDS, SKIP_WORDS, class_of, meaning_of
from nexmo_dispatch_async.bulk.report.figures import (
    Bar,
    ChannelFigures,
    ErrorFigures,
    Flow,
    Group,
    Missed,
    Reason,
    Times,
)
from nexmo_dispatch_async.failover import satisfies
from nexmo_dispatch_async.redaction import mask, tail
from nexmo_dispatch_async.tracking.result import StepHistory, WorkflowResult

__all__ = ["BARS", "CHANNEL_WORDS", "MOST", "OTHER", "Counting", "refusal", "rounded_up", "who", "why_missed"]

#: Maximum number of names of one kind.
MOST: Final = 500
OTHER: Final = "other"

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
#: Ends of the bars in seconds.
BARS: Final = (10.0, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 4 * _HOUR, _DAY, 3 * _DAY)

CHANNEL_WORDS: Final = {
    "sms": "SMS",
    "mms": "MMS",
    "whatsapp": "WhatsApp",
    "viber_service_msg": "Viber",
    "messenger": "Messenger",
}

_EXACT = Context(prec=100)


def rounded_up(seconds: float) -> float:
    """Round a time up to a full second, from an hour on to a minute, from a day on to an hour."""
    unit = 1.0 if seconds < _HOUR else _MINUTE if seconds < _DAY else _HOUR
    return math.ceil(round(seconds / unit, 6)) * unit


class _Durations:
    """Times, rounded so that the number of different values is bounded: a month has about 6,000."""

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()

    def add(self, seconds: float) -> None:
        self._counts[min(rounded_up(seconds), 60 * _DAY)] += 1

    def times(self) -> Times:
        total = self._counts.total()
        if not total:
            return Times()
        in_order = sorted(self._counts.items())
        bars = [Bar(upto, 0) for upto in BARS] + [Bar(None, 0)]
        found: dict[float, float] = {}
        passed = 0
        for seconds, count in in_order:
            passed += count
            place = next((n for n, end in enumerate(BARS) if seconds <= end), len(BARS))
            bars[place] = Bar(bars[place].upto, bars[place].count + count)
            for share in (0.5, 0.9):
                if share not in found and passed >= math.ceil(share * total):
                    found[share] = seconds
        return Times(
            count=total, median=found[0.5], p90=found[0.9], longest=in_order[-1][0], bars=tuple(bars)
        )


class Money:
    """Exact sums by currency."""

    def __init__(self) -> None:
        self._sums: dict[str, Decimal] = {}

    def add(self, amount: Decimal | str, currency: str) -> None:
        """Add an amount."""
        name = currency if currency in self._sums or len(self._sums) < MOST else OTHER
        self._sums[name] = _EXACT.add(self._sums.get(name, Decimal(0)), Decimal(amount))

    def texts(self) -> dict[str, str]:
        """Return the sums as decimal text."""
        return {currency: format(total.normalize(), "f") for currency, total in sorted(self._sums.items())}


class _Channel:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.spent = Money()
        self.to_delivered: _Durations = _Durations()
        self.to_read: _Durations = _Durations()


class _Group:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.cost = Money()

    def group(self, name: str) -> Group:
        numbers = {key: self.counts[key] for key in ("rows", "sent", "delivered", "read")}
        return Group(name=name, **numbers, cost=self.cost.texts())


class Counting:
    """Adds up rows.

    Args:
        missed: Maximum number of rows that were not reached in the list.
        with_addresses: Whether the list has unmasked numbers.
    """

    def __init__(self, *, missed: int, with_addresses: bool) -> None:
        self._most_missed = missed
        self._with_addresses = with_addresses
        self.rows: int = 0
        self.states: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.begun: float = math.inf
        self.finished: float = -math.inf
        self.heard: int = 0
        self.ended: int = 0
        self.delivered: int = 0
        self.read: int = 0
        self.missed_rows: int = 0
        self.cost: Money = Money()
        self.to_delivered: _Durations = _Durations()
        self.to_read: _Durations = _Durations()
        self._reached_by_currency: Counter[str] = Counter()
        self._channels: dict[str, _Channel] = {}
        self._flows: Counter[tuple[str, str]] = Counter()
        self._places: set[str] = set()
        self._errors: Counter[tuple[str, str, str]] = Counter()
        self._error_people: Counter[tuple[str, str, str]] = Counter()
        self._variants: dict[str, _Group] = {}
        self._languages: dict[str, _Group] = {}
        self._reasons: Counter[str] = Counter()
        self.missed: list[Missed] = []

    def add(self, row: Row) -> None:
        """Count one row."""
        outcomes = outcomes_of(row.news)
        self.rows += 1
        self.states[row.state] += 1
        if row.skip is not None:
            self.skipped[row.skip] += 1
        if row.state == "sent":
            self.begun, self.finished = min(self.begun, row.changed), max(self.finished, row.changed)
        self._add_news(row, outcomes)
        for name, groups in ((row.variant, self._variants), (row.language, self._languages)):
            self._add_group(row, name, groups)
        if not is_reached(row):
            self.missed_rows += 1
            self._reasons[_bounded(_reason(row), self._reasons)] += 1
            if len(self.missed) < self._most_missed:
                self.missed.append(
                    Missed(
                        id=row.id,
                        line=row.line,
                        who=who(row, with_addresses=self._with_addresses),
                        state=row.state,
                        why=why_missed(row),
                    )
                )

    def _add_news(self, row: Row, outcomes: tuple[WorkflowResult, ...]) -> None:
        news = row.news
        if row.state == "refused":
            self._add_error(row.code, "", lost=True, why=refusal(row))
        elif row.code and row.state == "unknown":
            self._add_error(row.code, "", lost=True)
        if row.state == "sent" and not outcomes:
            self._flows["accepted", "nothing heard"] += 1
        if news is None:
            return
        self.heard += 1
        self.ended += news.ended
        self.delivered += is_reached(row)
        self.read += news.reached == "read"
        if news.cost:
            self.cost.add(news.cost, news.currency)
            self._reached_by_currency[news.currency] += is_reached(row)
        begun = started_at(outcomes)
        for moment, durations in ((news.delivered_at, self.to_delivered), (news.read_at, self.to_read)):
            # Equal times: only the last status arrived, so the duration is unknown.
            if moment is not None and begun is not None and moment > begun:
                durations.add(moment - begun)
        if is_reached(row):
            self._channel(news.channel or "unknown").counts["people"] += 1
        for outcome in outcomes:
            self._add_workflow(row, outcome)

    def _add_workflow(self, row: Row, outcome: WorkflowResult) -> None:
        place, last = "accepted", None
        for step in outcome.steps:
            if not step.statuses:
                continue
            self._add_message(row, step)
            if step.step is not None:
                last = step
                here = _bounded(f"{min(step.step, 20)} {step.channel or 'unknown'}", self._places)
                self._places.add(here)
                self._flows[place, here] += 1
                place = here
        self._flows[place, _end(outcome, last)] += 1

    def _add_message(self, row: Row, step: StepHistory) -> None:
        channel = self._channel(step.channel or "unknown")
        status = step.status or ""
        channel.counts["attempted"] += 1
        channel.counts["delivered"] += satisfies(status, "delivered")
        channel.counts["read"] += satisfies(status, "read")
        channel.counts["failed"] += step.failed
        if step.price is not None:
            channel.spent.add(step.price.amount, step.price.currency or "")
        moments = sorted(seen.at for seen in step.statuses if seen.at is not None)
        for goal, durations in (("delivered", channel.to_delivered), ("read", channel.to_read)):
            got = [s.at for s in step.statuses if s.at is not None and satisfies(s.status, goal)]
            if got and min(got) > moments[0]:
                durations.add((min(got) - moments[0]).total_seconds())
        if step.failed:
            code = "" if step.error_code is None else str(step.error_code)
            self._add_error(code, step.channel or "unknown", lost=not is_reached(row))

    def _add_error(self, code: str, channel: str, *, lost: bool, why: str = "") -> None:
        key = (code, channel, why)
        if key not in self._errors and len(self._errors) >= MOST:
            key = (OTHER, channel, "")
        self._errors[key] += 1
        self._error_people[key] += lost

    def _add_group(self, row: Row, name: str, groups: dict[str, _Group]) -> None:
        group = groups.setdefault(_bounded(name, groups), _Group())
        news = row.news
        group.counts["rows"] += 1
        group.counts["sent"] += row.state == "sent"
        group.counts["delivered"] += is_reached(row)
        group.counts["read"] += news is not None and news.reached == "read"
        if news is not None and news.cost:
            group.cost.add(news.cost, news.currency)

    def _channel(self, name: str) -> _Channel:
        return self._channels.setdefault(_bounded(name, self._channels), _Channel())

    # --- results ---

    @property
    def reached_by_currency(self) -> dict[str, int]:
        """People who were reached, by the currency of what they cost."""
        return dict(self._reached_by_currency)

    def channels(self) -> tuple[ChannelFigures, ...]:
        """Return the channels, the most used first."""
        order = sorted(self._channels.items(), key=lambda item: (-item[1].counts["attempted"], item[0]))
        return tuple(
            ChannelFigures(
                channel=name,
                **{
                    key: channel.counts[key] for key in ("attempted", "delivered", "read", "failed", "people")
                },
                spent=channel.spent.texts(),
                to_delivered=channel.to_delivered.times(),
                to_read=channel.to_read.times(),
            )
            for name, channel in order
        )

    def flows(self) -> tuple[Flow, ...]:
        """Return the flows, in the order of the steps, the largest of each first."""
        order = sorted(self._flows.items(), key=lambda item: (_step_of(item[0][0]), -item[1], item[0]))
        return tuple(Flow(*places, rows) for places, rows in order)

    def errors(self) -> tuple[ErrorFigures, ...]:
        """Return the errors, the most frequent first."""
        order = sorted(self._errors.items(), key=lambda item: (-item[1], item[0]))
        return tuple(
            ErrorFigures(
                code=code,
                channel=channel,
                kind=class_of(code),
                meaning=why or (meaning_of(code) if code else "No code was given"),
                messages=count,
                people=self._error_people[code, channel, why],
            )
            for (code, channel, why), count in order
        )

    def variants(self) -> tuple[Group, ...]:
        """Return the variants by name."""
        return tuple(self._variants[name].group(name) for name in sorted(self._variants))

    def languages(self) -> tuple[Group, ...]:
        """Return the languages by name."""
        return tuple(self._languages[name].group(name) for name in sorted(self._languages))

    def reasons(self) -> tuple[Reason, ...]:
        """Return the reasons, the most frequent first."""
        order = sorted(self._reasons.items(), key=lambda item: (-item[1], item[0]))
        return tuple(Reason(why, rows) for why, rows in order)


def is_reached(row: Row) -> bool:
    """Return whether the person of a row got a message."""
    return row.news is not None and row.news.reached in {"delivered", "read"}


def who(row: Row, *, with_addresses: bool) -> str:
    """Return the key of a row for display: numbers and mail addresses are masked by default."""
    if with_addresses:
        return row.key
    return tail(row.key) if "@" in row.key else mask(row.key)


def why_missed(row: Row) -> str:
    """Return the reasons why a row was not reached, step by step, in words."""
    outcomes = outcomes_of(row.news)
    steps = [step for outcome in outcomes for step in outcome.steps if step.statuses]
    if row.state != "sent" or not steps:
        return _reason(row)
    fates: dict[str, list[str]] = {}
    for step in steps:
        name = CHANNEL_WORDS.get(step.channel or "", step.channel or "unknown")
        fates.setdefault(_fate(step), []).append(name)
    parts = [f"{_listed(names)}: {fate}" for fate, names in fates.items()]
    ended = row.news is not None and row.news.ended
    return "; ".join(parts) + ("" if ended else "; no end yet")


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _fate(step: StepHistory) -> str:
    status = step.status or "sent"
    if step.error_code is None:
        return status
    return f"{status}, {_lower(meaning_of(str(step.error_code)))} ({step.error_code})"


def _reason(row: Row) -> str:
    """Return the reason why a row was not reached, from a small set of phrases."""
    match row.state:
        case "pending":
            return "Not sent yet"
        case "sending":
            return "Being sent"
        case "skipped":
            return SKIP_WORDS[row.skip] if row.skip is not None else "Skipped"
        case "unknown":
            return "Unknown whether it was sent: no answer came"
        case "refused":
            return f"Refused: {_lower(refusal(row))}{_in_brackets(row.code)}"
        case "sent":
            return _reason_of_sent(row)


def refusal(row: Row) -> str:
    """Return why a row was refused, with what the service said."""
    kind, _, said = row.error.partition(": ")
    known = class_of(row.code) != "unknown"
    words = meaning_of(row.code) if known else REFUSAL_WORDS.get(kind, kind)
    return ": ".join(filter(None, (words, said))) or "No reason given"


def _reason_of_sent(row: Row) -> str:
    news = row.news
    if news is None:
        return "Accepted, and nothing heard since"
    if not news.ended:
        return "On its way: no end yet"
    if not news.code:
        return "Not delivered, no reason given"
    return f"Not delivered: {_lower(meaning_of(news.code))}{_in_brackets(news.code)}"


def _in_brackets(code: str) -> str:
    return f" ({code})" if code else ""


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


def _end(outcome: WorkflowResult, last: StepHistory | None) -> str:
    """Return where a workflow ends: a status of an earlier step may arrive after failover (contract 3.6)."""
    for status in ("read", "delivered"):
        if outcome.has(status):
            is_own = last is None or satisfies(last.status or "", status)
            return status if is_own else f"{status} elsewhere"
    return "not reached" if outcome.ended else "no end yet"


def _step_of(place: str) -> int:
    step = place.partition(" ")[0]
    return int(step) if step.isdecimal() else 0


def _bounded(name: str, known: Collection[str]) -> str:
    return name if name in known or len(known) < MOST else OTHER
