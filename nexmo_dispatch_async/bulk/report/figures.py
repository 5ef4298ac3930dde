"""The figures of a report as typed structs, in one unit each: rows, messages, seconds, exact decimal text.

They hold no personal data but the list of those who were not reached, which is masked unless asked otherwise.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from msgspec import Struct, field

from nexmo_dispatch_async.bulk.rejects import Reject
from nexmo_dispatch_async.models.shown import AsShown
from nexmo_dispatch_core.vocabulary import ErrorClass

__all__ = [
    "Bar",
    "ChannelFigures",
    "ErrorFigures",
    "Flow",
    "Group",
    "Missed",
    "Reason",
    "Report",
    "Times",
    "each",
]


class Bar(Struct, frozen=True):
    """How many took longer than the bar before, and at most so long.

    Attributes:
        upto: Seconds; `None` for the last bar, which has no end.
        count: Number.
    """

    upto: float | None
    count: int


class Times(Struct, frozen=True, kw_only=True):
    """How long something took.

    Attributes:
        count: How many are known.
        median: Seconds in which half of them were done; rounded up to a second, from an hour on to a minute,
            from a day on to an hour. `None` when none is known.
        p90: The same of nine in ten.
        longest: The same of all.
        bars: How many took how long.
    """

    count: int = 0
    median: float | None = None
    p90: float | None = None
    longest: float | None = None
    bars: tuple[Bar, ...] = ()


class ChannelFigures(Struct, frozen=True, kw_only=True):
    """What became of the messages on one channel.

    Attributes:
        channel: Name of the channel.
        attempted: Messages that callbacks told of.
        delivered: Those that were delivered, the read ones included.
        read: Those that were read.
        failed: Those that were rejected or undeliverable.
        people: People who read there, or who did not read and got the last delivered message there; each
            person who was reached counts on one channel.
        spent: Exact sum of the prices of its messages, by currency; workflow fees are not in it.
        to_delivered: From the first status of a message until it was delivered.
        to_read: The same until it was read.
    """

    channel: str
    attempted: int = 0
    delivered: int = 0
    read: int = 0
    failed: int = 0
    people: int = 0
    spent: dict[str, str] = field(default_factory=dict[str, str])
    to_delivered: Times = Times()
    to_read: Times = Times()

    @property
    def silent(self) -> int:
        """Messages that neither arrived nor failed, as far as is known."""
        return self.attempted - self.delivered - self.failed


class Flow(Struct, frozen=True):
    """How many rows went from one place to the next.

    Attributes:
        source: `accepted`, or a step such as `1 whatsapp`.
        target: A step, or the end: `read`, `delivered`, `not reached`, `no end yet`, `nothing heard`;
            `read elsewhere` and `delivered elsewhere`: on an earlier step, and not on the last one.
        rows: Number of rows.
    """

    source: str
    target: str
    rows: int


class Group(Struct, frozen=True, kw_only=True):
    """One variant, language or bucket.

    Attributes:
        name: `""` for the rows that name none.
        rows: Number of rows.
        sent: Those that the service accepted.
        delivered: People who were reached, the readers included.
        read: People who read.
        cost: Exact sum by currency.
    """

    name: str
    rows: int = 0
    sent: int = 0
    delivered: int = 0
    read: int = 0
    cost: dict[str, str] = field(default_factory=dict[str, str])


class ErrorFigures(Struct, frozen=True, kw_only=True):
    """One error code on one channel.

    Attributes:
        code: Number or name (contract 6).
        channel: Where; `""` for what the service refused to accept.
        kind: Class of the code.
        meaning: In words.
        messages: How many messages failed with it.
        people: How many of their people were not reached by any other message either.
    """

    code: str
    channel: str
    kind: ErrorClass
    meaning: str
    messages: int
    people: int


class Reason(Struct, frozen=True):
    """Why so many rows were not reached."""

    why: str
    rows: int


class Missed(AsShown, Struct, frozen=True, kw_only=True):
    """One row that was not reached.

    Attributes:
        id: Number of the row in the ledger.
        line: Line of the source, 0 for none.
        who: Key of the row, with numbers masked unless they were asked for; `""` once it was erased.
        state: State of the row.
        why: In words, step by step.
    """

    id: int
    line: int
    who: str
    state: str
    why: str

    def __repr__(self) -> str:
        return f"<Missed line {self.line}>"


class Report(AsShown, Struct, frozen=True, kw_only=True):
    """The figures of a campaign.

    Attributes:
        name: Of the campaign.
        made_at: Epoch seconds of this report.
        rows: Number of rows.
        states: Rows by state.
        skipped: Rows by the reason of skipping.
        begun: Epoch seconds of the first accepted row; `None` for none.
        finished: Epoch seconds of the last one.
        accepted: Rows that the service accepted.
        heard: Accepted rows of which a callback came.
        ended: Rows whose final report came.
        delivered: People who were reached, the readers included.
        read: People who read.
        stopped: People who replied STOP since their row was accepted, and are on the opt-out list now; `None`
            where no list is known. The list does not tell which message made a person reply.
        cost: Exact sum by currency, fees included.
        cost_each: Cost per person reached, rounded to four places, by currency.
        to_delivered: From the first status of a row until its person was reached, on whatever channel.
        to_read: The same until the person read.
        channels: By channel.
        flows: From step to step.
        errors: By code and channel, the most frequent first.
        variants: By variant.
        languages: By language.
        reasons: Why rows were not reached, the most frequent first.
        missed: Those rows, as many as were asked for, in the order of the source.
        missed_rows: How many there are in all.
        rejects: Lines of the source that never became a row, as many as were asked for.
        rejected: How many there are in all.
    """

    name: str
    made_at: float
    rows: int = 0
    states: dict[str, int] = field(default_factory=dict[str, int])
    skipped: dict[str, int] = field(default_factory=dict[str, int])
    begun: float | None = None
    finished: float | None = None
    accepted: int = 0
    heard: int = 0
    ended: int = 0
    delivered: int = 0
    read: int = 0
    stopped: int | None = None
    cost: dict[str, str] = field(default_factory=dict[str, str])
    cost_each: dict[str, str] = field(default_factory=dict[str, str])
    to_delivered: Times = Times()
    to_read: Times = Times()
    channels: tuple[ChannelFigures, ...] = ()
    flows: tuple[Flow, ...] = ()
    errors: tuple[ErrorFigures, ...] = ()
    variants: tuple[Group, ...] = ()
    languages: tuple[Group, ...] = ()
    reasons: tuple[Reason, ...] = ()
    missed: tuple[Missed, ...] = ()
    missed_rows: int = 0
    rejects: tuple[Reject, ...] = ()
    rejected: int = 0

    @property
    def unended(self) -> int:
        """Accepted rows whose final report has not come: their figures may still grow."""
        return max(self.accepted - self.ended, 0)

    @property
    def beside_messages(self) -> dict[str, str]:
        """The part of the cost that is no price of a message, by currency: fees of workflows."""
        rest: dict[str, str] = {}
        for currency, amount in self.cost.items():
            spent = sum((Decimal(each.spent.get(currency, "0")) for each in self.channels), Decimal(0))
            if Decimal(amount) > spent:
                rest[currency] = format((Decimal(amount) - spent).normalize(), "f")
        return rest

    def __repr__(self) -> str:
        return f"<Report of {self.rows} rows, {self.delivered} reached>"


def each(amount: str, people: int) -> str:
    """Return what one of so many people cost, to four places; `""` when there is none to divide by."""
    if people < 1:
        return ""
    return format((Decimal(amount) / people).quantize(Decimal("0.0001"), ROUND_HALF_UP), "f")
