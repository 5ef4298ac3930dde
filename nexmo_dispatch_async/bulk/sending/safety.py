"""Automatic stops of a campaign: after the canary, at the budget, and after too many failures.

The module reads no clock and no ledger: from numbers it computes how many rows may still be sent.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger.records import Bounds, Change, Counts
from nexmo_dispatch_async.bulk.settings import AbortIf, Canary
from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["RAISE", "AbortWatch", "Allowance", "Budget", "CanaryWatch", "Hold"]

#: What to do when the budget is spent, at the end of the reason.
RAISE: Final = "; to go on, raise max_spend, end this run and start another"


class Hold(Struct, frozen=True):
    """The reason why a campaign holds.

    Attributes:
        by: `canary`, `max_spend`, `abort_if`, or `service` when the service fails for all rows.
        reason: Reason in words, without personal data.
        pauses: Whether only an operator can end the hold; otherwise callbacks can.
    """

    by: Literal["canary", "max_spend", "abort_if", "service"]
    reason: str
    pauses: bool = False

    def pause(self, at: float) -> Change:
        """Return the change that pauses a campaign for it at a time, in epoch seconds."""
        return lambda known: known.paused(self.by, self.reason, at)


class CanaryWatch:
    """Holds a campaign after its first rows, until an operator releases it or enough are delivered.

    Args:
        canary: The settings.
    """

    def __init__(self, canary: Canary) -> None:
        self._canary = canary
        self._passed = False
        self._full_since: float | None = None

    def sends(self, *, released: bool) -> int | None:
        """Return how many rows may be sent at all as far as is known, `None` for all of them."""
        return None if released or self._passed else self._canary.first

    def room(self, counts: Counts, *, released: bool, now: float) -> int | Hold:
        """Return how many rows may still be sent, or the reason of the hold.

        Args:
            counts: Counts of the campaign; `sending` rows count as sent.
            released: Whether an operator released the canary.
            now: Monotonic seconds.
        """
        canary = self._canary
        if released or self._passed:
            return _UNBOUNDED
        sends = canary.first - counts.sends
        delivered = counts.reached.get("delivered", 0) + counts.reached.get("read", 0)
        enough = canary.until == "delivered" and delivered >= canary.share * canary.first
        if sends > 0 and not enough:
            self._full_since = None  # also when an operator sends some of its rows again
            return sends
        if enough:
            self._passed = True
            return _UNBOUNDED
        if self._full_since is None:
            self._full_since = now
        if canary.until == "word":
            return Hold("canary", f"the first {canary.first} rows were sent: release it to go on")
        reason = f"{delivered} of the first {canary.first} rows were delivered, of {canary.share:.0%} wanted"
        late = now - self._full_since >= canary.within
        return Hold("canary", f"{reason}, after {canary.within:g} s" if late else reason, pauses=late)


_UNBOUNDED = 1 << 60


class Budget:
    """Limits the cost of a campaign: the known cost plus the worst case of rows that may still be charged.

    Args:
        max_spend: Maximum cost, in the currency of the tariff.
        worst: Worst cost of one row.
        currency: Currency of the costs in callbacks.
        rows: Number of rows that `worst` is of; `None` for all that will ever be added.
        measure: Returns the worst cost anew and its number of rows, after rows were added.

    Raises:
        ConfigurationError: An amount is not above 0.
    """

    def __init__(
        self,
        max_spend: Decimal,
        *,
        worst: Decimal,
        currency: str = "EUR",
        rows: int | None = None,
        measure: Callable[[], Awaitable[tuple[Decimal, int]]] | None = None,
    ) -> None:
        if not max_spend > 0:
            raise ConfigurationError("max_spend must be above 0")
        if not worst > 0:
            raise ConfigurationError(
                "max_spend needs the most that a row can cost: give the campaign a tariff"
            )
        self.bounds: Bounds = Bounds(spend=max_spend, worst=worst, currency=currency, rows=rows)
        self._measure = measure

    async def refresh(self, counts: Counts) -> None:
        """Look at the rows that were added since: one of them may cost more than all before."""
        rows = self.bounds.rows
        if self._measure is not None and rows is not None and counts.total > rows:
            worst, rows = await self._measure()
            self.bounds = replace(self.bounds, worst=worst or self.bounds.worst, rows=rows)

    def room(self, counts: Counts) -> int | Hold:
        """Return how many rows may still be sent, or the reason of the hold."""
        bounds = self.bounds
        rows, may_cost = bounds.room(counts), bounds.may_cost(counts)
        if rows > 0:
            return rows
        rest = {0: "the next row", 1: "1 more row"}.get(may_cost, f"{may_cost:,} more rows")
        reason = (
            f"{bounds.spent(counts)} {bounds.currency} were charged of {bounds.spend} allowed, and {rest} "
            f"may cost up to {bounds.worst}{' each' if may_cost > 1 else ''}"
        )
        pauses = may_cost == counts.states.get("unknown", 0)
        if pauses:
            reason += RAISE
        return Hold("max_spend", reason, pauses=pauses)


class AbortWatch:
    """Pauses a campaign when too many of its last results are failures of one kind.

    Args:
        abort_if: The settings.
    """

    def __init__(self, abort_if: AbortIf) -> None:
        self._shares = {"refused": abort_if.refused, "unknown": abort_if.unknown}
        self._last: deque[tuple[str, str]] = deque(maxlen=abort_if.last)
        self._counts: Counter[str] = Counter()

    def note(self, state: str, error: str = "") -> Hold | None:
        """Count a result; return the reason of a pause, if one is due.

        Args:
            state: The state of the row.
            error: What failed, without personal data.
        """
        last = self._last
        if len(last) == last.maxlen:
            self._counts[last[0][0]] -= 1
        last.append((state, error))
        self._counts[state] += 1
        if len(last) < (last.maxlen or 0):
            return None
        for name, share in self._shares.items():
            if share is not None and self._counts[name] >= share * len(last):
                reason = (
                    f"{self._counts[name]} of the last {len(last)} rows are {name}, {share:.0%} is too much"
                )
                if errors := Counter(error for state, error in last if state == name and error):
                    reason += f"; most often {errors.most_common(1)[0][0]}"
                self.clear()
                return Hold("abort_if", reason, pauses=True)
        return None

    def clear(self) -> None:
        """Discard all results, after a pause."""
        self._last.clear()
        self._counts.clear()


class Allowance:
    """The canary and the budget of a campaign, for one of its workers.

    The ledger keeps their bounds, since only a claim sees the claims of all workers. The counts are read
    after a claim that brought less than it asked for: perhaps the campaign has to wait.
    """

    def __init__(self, canary: CanaryWatch | None, budget: Budget | None) -> None:
        self._canary, self._budget = canary, budget
        #: Whether the counts have to be read before the next claim.
        self.is_due: bool = canary is not None or budget is not None

    def bounds(self, *, released: bool) -> Bounds | None:
        """Return the bounds of the next claim."""
        sends = None if self._canary is None else self._canary.sends(released=released)
        if self._budget is not None:
            return replace(self._budget.bounds, sends=sends)
        return None if sends is None else Bounds(sends=sends)

    def claimed(self, *, less: bool) -> None:
        """Note whether a claim brought less than it asked for."""
        self.is_due = less and (self._canary is not None or self._budget is not None)

    async def refresh(self, counts: Counts) -> None:
        """Let the budget look at the rows that were added since."""
        if self._budget is not None:
            await self._budget.refresh(counts)

    def room(self, counts: Counts, *, released: bool, now: float) -> int | Hold:
        """Return how many rows both allow, or the first reason why none may be sent."""
        rooms: list[int | Hold] = []
        if self._canary is not None:
            rooms.append(self._canary.room(counts, released=released, now=now))
        if self._budget is not None:
            rooms.append(self._budget.room(counts))
        hold = next((room for room in rooms if isinstance(room, Hold)), None)
        return hold or min(room for room in rooms if not isinstance(room, Hold))
