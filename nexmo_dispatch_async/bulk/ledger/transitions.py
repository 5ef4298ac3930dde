"""The effects of results and callbacks on a row and on the counts, for every store.

    pending ── claim ──> sending ── result ──> sent | refused | unknown
       ^                    |                             |
       └── proven not sent ─┘           reaped: unknown ──┴── late result: sent | refused
       ^                                                  |                         |
       └───────────────── an operator's `resend` ─────────┴─────────────────────────┘

A callback proves that a row was sent, whatever its state; so does the result `sent` of any of its claims.
The module does no I/O.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Final, cast, get_args

from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger.folding import join
from nexmo_dispatch_async.bulk.ledger.records import (
    Counts,
    Droppable,
    News,
    Resendable,
    Result,
    SkipReason,
    State,
)
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import CampaignError, ConfigurationError, LedgerError
from nexmo_dispatch_core.checks import LARGEST

__all__ = [
    "OPT_OUT_CODES",
    "Tally",
    "amount",
    "is_of_other_ledger",
    "merge",
    "normal_uuid",
    "proven_state",
    "require_droppable",
    "require_resendable",
    "row_ids",
    "row_of_ref",
    "settle",
]

#: Error codes of people who opted out or are barred (contract 6.1).
OPT_OUT_CODES: Final = frozenset({"1050", "1240"})
#: The reference of a ledger of this package.
_REFERENCE: Final = re.compile("[0-9a-f]{16}")


def settle(state: State, attempts: int, result: Result, *, proven: bool) -> State | None:
    """Return the new state of a row after a result; `None` for no change.

    Args:
        state: State of the row.
        attempts: Number of claims of the row.
        result: Result of a POST.
        proven: Whether a callback, or the result of an earlier claim, has proved that the row was sent.

    Returns:
        The state; `sending` for a row under way of which an earlier claim was sent: the store keeps only the
        `dispatch_uuid` of the result, as the proof.
    """
    if result.attempts in {0, attempts}:
        if state == "sending":
            return "sent" if proven else result.state
        if state == "unknown" and result.state == "refused":
            return "refused"
    if result.state == "sent" and state != "sent":
        return proven_state(state)
    return None


def proven_state(state: State) -> State:
    """Return the state of a row after a proof that it was sent; a `sending` row waits for its result."""
    return state if state == "sending" else "sent"


def row_ids(ids: object) -> list[int]:
    """Return the numbers of rows that a caller chose, each once and ascending.

    Raises:
        ConfigurationError: They are not iterable, or one is no whole number from 1 to 2**63 - 1.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise ConfigurationError(f"ids must be numbers of rows, such as [row.id], not {type(ids).__name__}")
    chosen: set[int] = set()
    for row_id in cast("Iterable[int]", ids):
        checks.count("the id of a row", row_id, most=LARGEST, advice="write row.id")
        chosen.add(row_id)
    return sorted(chosen)


def require_resendable(state: str) -> None:
    """Refuse to send rows of a state again that are never sent again.

    Raises:
        LedgerError: The state is neither `unknown` nor `refused`.
    """
    if state not in get_args(Resendable):
        raise LedgerError(f"no row is sent again that is {state!r}: state is 'unknown' or 'refused'")


def require_droppable(state: str) -> None:
    """Refuse to give up rows of a state that are never given up.

    Raises:
        LedgerError: The state is neither `unknown` nor `pending`.
    """
    if state not in get_args(Droppable):
        raise LedgerError(f"no row is given up that is {state!r}: state is 'unknown' or 'pending'")


def row_of_ref(reference: str, client_ref: str) -> int | None:
    """Return the number of the row of a `client_ref`; `None` for a reference of another ledger."""
    head, number = _parts_of(client_ref)
    return number if head == reference else None


def is_of_other_ledger(reference: str, client_ref: str) -> bool:
    """Return whether a `client_ref` is that of a row of another ledger."""
    head, number = _parts_of(client_ref)
    return number is not None and head != reference and _REFERENCE.fullmatch(head) is not None


def _parts_of(client_ref: str) -> tuple[str, int | None]:
    head, _, tail = client_ref.strip().rpartition("-")
    return head, int(tail) if tail.isascii() and tail.isdecimal() and len(tail) <= 18 else None


def normal_uuid(dispatch_uuid: str) -> str:
    """Return an id in the form for comparisons: trimmed, in lower case (contract 5.11)."""
    return dispatch_uuid.strip().lower()


def amount(cost: str) -> Decimal:
    """Return a cost as a number.

    Raises:
        CampaignError: It is no finite decimal number.
    """
    try:
        value = Decimal(cost or 0)
    except InvalidOperation:
        raise CampaignError("News.cost is no decimal number: give text such as 0.0523") from None
    if not value.is_finite():
        raise CampaignError("News.cost is no finite number: give text such as 0.0523")
    return value


def merge(known: News | None, news: News) -> News:
    """Return the combined news; merging is commutative, associative and idempotent."""
    news = replace(news, dispatch_uuid=normal_uuid(news.dispatch_uuid))
    if known is None:
        return news
    if (joined := join(known, news)) is not None:
        return joined
    a, b = known, news
    newest = max(a, b, key=lambda n: (n.at, len(n.steps), n.code, n.steps))
    dearest = max(a, b, key=lambda n: (amount(n.cost), n.cost, n.currency))
    # The order of the alphabet is that of progress: nothing, `delivered`, `read`.
    best = max(a, b, key=lambda n: (n.reached, n.channel))
    return News(
        dispatch_uuid=min(filter(None, (a.dispatch_uuid, b.dispatch_uuid)), default=""),
        client_ref=max(a.client_ref, b.client_ref),
        at=newest.at,
        ended=a.ended or b.ended,
        reached=best.reached,
        channel=best.channel,
        delivered_at=_earliest(a.delivered_at, b.delivered_at),
        read_at=_earliest(a.read_at, b.read_at),
        cost=dearest.cost,
        currency=dearest.currency,
        code=newest.code,
        steps=newest.steps,
    )


def _earliest(a: float | None, b: float | None) -> float | None:
    return min((x for x in (a, b) if x is not None), default=None)


class Tally:
    """The counts of a campaign, updated with each row and equal to a recount."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.reached: Counter[str] = Counter()
        self.ended: int = 0
        self.cost: dict[str, Decimal] = {}

    def add(self, state: State, skip: SkipReason | None = None, n: int = 1) -> None:
        """Add rows to the counts; a negative *n* removes them."""
        self.states[state] += n
        if skip is not None:
            self.skipped[skip] += n

    def move(self, before: State, after: State, n: int = 1) -> None:
        """Count rows that went from one state to another."""
        self.states[before] -= n
        self.states[after] += n

    def news(self, news: News | None, n: int = 1) -> None:
        """Add the news of a row to the counts; -1 removes them."""
        if news is None:
            return
        self.ended += n * news.ended
        if news.reached:
            self.reached[news.reached] += n
        self.pay(news.cost, news.currency, n)

    def pay(self, cost: str, currency: str, n: int = 1) -> None:
        """Add a cost to the sums."""
        if cost:
            self.cost[currency] = self.cost.get(currency, Decimal(0)) + n * amount(cost)

    def include(self, change: Tally) -> None:
        """Add the change of a transaction."""
        self.states.update(change.states)
        self.skipped.update(change.skipped)
        self.reached.update(change.reached)
        self.ended += change.ended
        for currency, cost in change.cost.items():
            self.cost[currency] = self.cost.get(currency, Decimal(0)) + cost

    def negative(self) -> Tally:
        """Return the inverse change."""
        undone = Tally()
        for mine, theirs in (
            (self.states, undone.states),
            (self.skipped, undone.skipped),
            (self.reached, undone.reached),
        ):
            theirs.update({name: -n for name, n in mine.items()})
        undone.ended = -self.ended
        undone.cost = {currency: -cost for currency, cost in self.cost.items()}
        return undone

    def counts(self) -> Counts:
        """Return the counts as a record."""
        return Counts(
            states={state: n for state, n in sorted(self.states.items()) if n},
            skipped={reason: n for reason, n in sorted(self.skipped.items()) if n},
            ended=self.ended,
            reached={reached: n for reached, n in sorted(self.reached.items()) if n},
            cost={c: format(cost.normalize(), "f") for c, cost in sorted(self.cost.items()) if cost},
        )
