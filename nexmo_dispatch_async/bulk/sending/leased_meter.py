"""`LeasedMeter`: a configured rate that several workers share, spent from blocks that the ledger grants.

A block is a few sends ahead, asked for before they are due, so that no send waits for the ledger. The module
does no I/O: `request` says what to ask for, and `grant` takes the answer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final

from nexmo_dispatch_async.bulk.ledger.rates import AHEAD, Grant, RateRequest
from nexmo_dispatch_async.bulk.sending.meter import Meter

__all__ = ["LeasedMeter"]

_STOCK: Final = 0.2  # seconds of a rate that a worker holds, where the ledger is near
# Seconds of a stall that are made up for, at most at double the rate. That is more than for a worker that
# sends alone: a stall may also be that of the database.
_LATE: Final = 0.5
_BURST: Final = 0.05  # seconds whose share may be sent at once while catching up
_IDLE: Final = 0.5  # seconds without a send after which a worker gives its sends back
_STALE: Final = 1.0  # seconds after which a send that was not used is not worth giving back
_AGAIN: Final = 0.05  # seconds until a worker that got less than it asked for asks again
_EPSILON: Final = 1e-9


class LeasedMeter(Meter):
    """A rate of all workers together.

    Args:
        name: Name of the rate, in the ledger too.
        cap: Configured sends per second; infinite for no limit.
        ask: Called when a request is due.
    """

    __slots__ = (
        "_ask",
        "_ask_at",
        "_back",
        "_busy_at",
        "_counted_from",
        "_first_at",
        "_stock",
        "_taken",
        "_took_at",
        "_uses",
        "delay",
    )

    out: int

    def __init__(self, name: str, cap: float = math.inf, *, ask: Callable[[], None]) -> None:
        super().__init__(name, cap)
        self._ask = ask
        #: When each send that was granted may start.
        self._stock: deque[float] = deque()
        self._back = 0
        # When the next send of the rate is due, as far as the ledger said, and when it is worth asking again
        self._first_at = self._ask_at = -math.inf
        # What this worker needs: when it last wanted a send, how many it took since the last grant, and how
        # many a second before
        self._busy_at = self._took_at = self._counted_from = -math.inf
        self._taken = 0
        self._uses = 0.0
        #: Seconds that the ledger takes to answer: so much more is held.
        self.delay: float = 0.0

    # --- what may leave ---

    def available(self, now: float, want: int) -> int:
        """Return how many of `want` sends may start now."""
        if self.cap == math.inf:
            return want
        self._expire(now)
        burst = max(self._next_burst, now - _BURST)
        if burst > now + _EPSILON:
            return 0
        most = min(want, int((now - burst) * 2 * self.cap + 1 + _EPSILON * self.cap))
        due = 0
        for moment in self._stock:
            if due == most or moment > now + _EPSILON:
                break
            due += 1
        return due

    def take(self, now: float, n: int, *, hungry: bool) -> None:
        """Start `n` sends of the stock; ask for more where it gets low."""
        self._hungry = hungry
        self._was_hungry = self._was_hungry or hungry
        self.out += n
        if self.cap == math.inf:
            return
        for _ in range(n):
            self._stock.popleft()
        self._taken += n
        if n:
            self._took_at = now
            self._next_burst = max(self._next_burst, now - _BURST) + n / (2 * self.cap)
        if n or hungry:
            self._busy_at = now
        if self._is_low(now):
            self._ask()

    def give_back(self, n: int) -> None:
        """Put sends that did not leave back into the stock."""
        self._hungry = False
        self.out -= n
        if self.cap != math.inf:
            self._taken -= n
            self._next_burst -= n / (2 * self.cap)
            self._stock.extendleft([self._took_at] * n)

    def next(self, now: float) -> float:
        """Return when the next send may start, as far as it is known."""
        if self.cap == math.inf:
            return now
        due = self._stock[0] if self._stock else self._first_at
        return max(now, due, self._next_burst)

    def retune(self, cap: float, now: float) -> None:
        """Set the rate of all workers."""
        if cap == self.cap:
            return
        slower = cap < self.cap
        self.cap = cap
        if slower:
            while self._stock and len(self._stock) > self._most(now):
                self._stock.pop()
        self._next_burst = min(self._next_burst, now)
        self._first_at = self._ask_at = -math.inf
        self._ask()

    # --- leases ---

    def ask_at(self, now: float) -> float:
        """Return when the next request is due; infinite while none is."""
        if self._back or self._is_low(now) or (self._stock and self._is_idle(now)):
            return max(now, self._ask_at)
        return max(now, self._busy_at + _IDLE) if self._stock else math.inf

    def request(self, now: float) -> RateRequest | None:
        """Return what to ask the ledger for, `None` for nothing."""
        if self.ask_at(now) > now or self.cap == math.inf:
            return None
        self._expire(now)
        if self._is_idle(now):
            self._back += len(self._stock)
            self._stock.clear()
            self._counted_from = -math.inf
        n = 0 if self._is_idle(now) else max(0, self._most(now) - len(self._stock))
        back, self._back = self._back, 0
        if not n and not back:
            return None
        # A worker that has just joined, or was idle, did not wait for the rate.
        credit = _LATE if self._hungry and self._counted_from > -math.inf else 0.0
        return RateRequest(name=self.name, n=n, rate=self.cap, back=back, credit=credit)

    def leave(self, now: float) -> RateRequest | None:
        """Return what gives all sends back that were not used, `None` for none."""
        self._expire(now)
        back, self._back = self._back + len(self._stock), 0
        self._stock.clear()
        return RateRequest(name=self.name, n=0, rate=self.cap, back=back) if back else None

    def grant(self, request: RateRequest, grant: Grant, now: float) -> None:
        """Add the sends that were granted for a request."""
        if request.rate != self.cap:  # it was retuned meanwhile
            self._back += grant.n
            return
        first = now + grant.wait
        granted = [first + number / request.rate for number in range(grant.n)]
        if (
            granted and self._stock and first < self._stock[-1]
        ):  # sends that went back before are granted anew
            granted = sorted([*self._stock, *granted])
            self._stock.clear()
        self._stock.extend(granted)
        self._first_at = first + grant.n / request.rate
        # The ledger grants nothing that is further ahead than so many seconds.
        short = grant.n < request.n
        self._ask_at = max(now + _AGAIN, self._first_at - self._span) if short else now
        self._uses = max(self._recent(now), self._uses / 2)
        self._taken, self._counted_from = 0, now

    # --- parts ---

    def _is_idle(self, now: float) -> bool:
        return now - self._busy_at >= _IDLE

    def _is_low(self, now: float) -> bool:
        return self.cap != math.inf and not self._is_idle(now) and 2 * len(self._stock) <= self._most(now)

    @property
    def _span(self) -> float:
        """Seconds of the rate to hold."""
        return min(AHEAD, _STOCK + 2 * self.delay)

    def _most(self, now: float) -> int:
        """Return how many sends to hold: all that the rate allows, or twice what this worker uses."""
        most = self.cap * self._span
        if not self._hungry and self._counted_from > -math.inf:
            most = min(most, 2 * max(self._uses, self._recent(now)) * self._span)
        return max(1, math.ceil(most - _EPSILON))

    def _recent(self, now: float) -> float:
        """Return how many sends a second were taken since the last grant."""
        return self._taken / max(now - self._counted_from, _STOCK)

    def _expire(self, now: float) -> None:
        while self._stock and self._stock[0] < now - _LATE:
            self._back += self._stock.popleft() > now - _STALE
