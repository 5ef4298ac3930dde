"""Automatic stops of a campaign: after the canary, at the budget, and after too many failures.

The module reads no clock and no ledger: from numbers it computes how many rows may still be sent.
"""

from __future__ import annotations

from collections import Counter, deque
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from nexmo_dispatch_async.bulk.ledger.records import Counts
from nexmo_dispatch_async.bulk.settings import AbortIf, Canary
from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["AbortWatch", "Budget", "CanaryWatch", "Hold", "allowance", "sent_ever"]


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


def sent_ever(counts: Counts) -> int:
    """Return the number of rows whose person got a message, or may have got one."""
    return sum(counts.states.get(state, 0) for state in ("sending", "sent", "refused", "unknown"))


class CanaryWatch:
    """Holds a campaign after its first rows, until an operator releases it or enough are delivered.

    Args:
        canary: The settings.

    Raises:
        ConfigurationError: `first` is below 1, or the share is not above 0 and at most 1.
    """

    def __init__(self, canary: Canary) -> None:
        if canary.first < 1:
            raise ConfigurationError("canary: first must be at least 1 row")
        if not 0 < canary.share <= 1:
            raise ConfigurationError("canary: share must be above 0 and at most 1, for example 0.9")
        self._canary = canary
        self._full_since: float | None = None

    def room(self, counts: Counts, *, released: bool, now: float) -> int | Hold:
        """Return how many rows may still be sent, or the reason of the hold.

        Args:
            counts: Counts of the campaign; `sending` rows count as sent.
            released: Whether an operator released the canary.
            now: Monotonic seconds.
        """
        canary = self._canary
        if released:
            return _UNBOUNDED
        sends = canary.first - sent_ever(counts)
        delivered = counts.reached.get("delivered", 0) + counts.reached.get("read", 0)
        enough = canary.until == "delivered" and delivered >= canary.share * canary.first
        if sends > 0 and not enough:
            return sends
        if enough:
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

    Raises:
        ConfigurationError: An amount is not above 0.
    """

    def __init__(self, max_spend: Decimal, *, worst: Decimal, currency: str = "EUR") -> None:
        if not max_spend > 0:
            raise ConfigurationError("max_spend must be above 0")
        if not worst > 0:
            raise ConfigurationError(
                "max_spend needs the most that a row can cost: give the campaign a tariff"
            )
        self.max_spend = max_spend
        self.worst = worst
        self.currency = currency

    def spent(self, counts: Counts) -> Decimal:
        """Return the cost according to callbacks so far."""
        return Decimal(counts.cost.get(self.currency, "0"))

    def room(self, counts: Counts) -> int | Hold:
        """Return how many rows may still be sent, or the reason of the hold."""
        # The cost of rows that have not ended counts twice, so the worst case is never too small.
        states = counts.states
        sent, sending, unknown = (states.get(state, 0) for state in ("sent", "sending", "unknown"))
        may_cost = max(sent - counts.ended, 0) + sending + unknown
        budget = self.max_spend - self.spent(counts) - self.worst * may_cost
        rows = int(budget / self.worst)
        if rows > 0:
            return rows
        reason = (
            f"{self.spent(counts)} {self.currency} were charged, {may_cost} rows may cost up to "
            f"{self.worst} each, of {self.max_spend} allowed"
        )
        pauses = max(sent - counts.ended, 0) + sending == 0
        if pauses:
            reason += "; to go on, raise max_spend, end this run and start another"
        return Hold("max_spend", reason, pauses=pauses)


class AbortWatch:
    """Pauses a campaign when too many of its last results are failures of one kind.

    Args:
        abort_if: The settings.

    Raises:
        ConfigurationError: A share is not above 0 and at most 1, or `last` is below 1.
    """

    def __init__(self, abort_if: AbortIf) -> None:
        if abort_if.last < 1:
            raise ConfigurationError("abort_if: last must be at least 1 result")
        self._shares = {"refused": abort_if.refused, "unknown": abort_if.unknown}
        for name, share in self._shares.items():
            if share is not None and not 0 < share <= 1:
                raise ConfigurationError(f"abort_if: {name} must be above 0 and at most 1, for example 0.2")
        self._last: deque[str] = deque(maxlen=abort_if.last)
        self._counts: Counter[str] = Counter()

    def note(self, state: str) -> Hold | None:
        """Count a result; return the reason of a pause, if one is due."""
        last = self._last
        if len(last) == last.maxlen:
            self._counts[last[0]] -= 1
        last.append(state)
        self._counts[state] += 1
        if len(last) < (last.maxlen or 0):
            return None
        for name, share in self._shares.items():
            if share is not None and self._counts[name] >= share * len(last):
                reason = (
                    f"{self._counts[name]} of the last {len(last)} rows are {name}, {share:.0%} is too much"
                )
                self.clear()
                return Hold("abort_if", reason, pauses=True)
        return None

    def clear(self) -> None:
        """Discard all results, after a pause."""
        self._last.clear()
        self._counts.clear()


def allowance(
    canary: CanaryWatch | None, budget: Budget | None, counts: Counts, *, released: bool, now: float
) -> int | Hold:
    """Return how many rows both allow, or the first reason why none may be sent."""
    rooms: list[int | Hold] = []
    if canary is not None:
        rooms.append(canary.room(counts, released=released, now=now))
    if budget is not None:
        rooms.append(budget.room(counts))
    hold = next((room for room in rooms if isinstance(room, Hold)), None)
    return hold or min(room for room in rooms if not isinstance(room, Hold))
