"""The lanes of a campaign: the buckets with pending rows, their meters, and the closed time zones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.progress import Wait
from nexmo_dispatch_async.bulk.sending.calendar import Calendar
from nexmo_dispatch_async.bulk.sending.governor import Governor, Lane
from nexmo_dispatch_async.bulk.sending.leased_meter import LeasedMeter
from nexmo_dispatch_async.bulk.sending.meter import Meter
from nexmo_dispatch_async.bulk.settings import Pace
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Lanes"]

_CAMPAIGN = "campaign"  # the name of the rate of all rows
_REFRESH = 30.0  # seconds between two reads of the buckets and zones of pending rows
_DRY = 1.0  # seconds before a bucket without a due row is tried again
_WAVE = 0.01  # seconds of pace that are sent together, since a commit per send would cost more


class Lanes:
    """The lanes of one campaign.

    Args:
        ledger: The ledger of the campaign.
        application: Id of the application, by which the gateway counts.
        governor: Governor of the process.
        calendar: The times at which each zone is open.
        pace: Pace of the campaign.
        ask: Called when a rate that several workers share needs sends of the ledger.
    """

    def __init__(
        self,
        ledger: Ledger,
        application: str,
        *,
        governor: Governor,
        calendar: Calendar,
        pace: Pace,
        ask: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger, self._application = ledger, application
        self._governor, self._calendar = governor, calendar
        rates = {_CAMPAIGN: math.inf, **pace.by_bucket}
        self._leased = {
            name: LeasedMeter(name, rate, ask=ask) for name, rate in rates.items() if ledger.shared
        }
        self._own: dict[str, Meter] = {
            name: self._leased.get(name) or Meter(name, rate) for name, rate in rates.items()
        }
        self.meter: Meter = self._own.pop(_CAMPAIGN)
        self._lanes: dict[str, Lane] = {}
        self._dry: dict[str, float] = {}
        self._refresh_at = self._closed_until = -math.inf
        #: Closed zones, and the number of rows of the campaign, as of the last refresh.
        self.closed: frozenset[str] = frozenset()
        self.total: int = 0

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Lanes {', '.join(self._lanes)}>"

    async def refresh(self, now: float, at: float) -> None:
        """Read the buckets and the zones of pending rows, and determine the closed zones."""
        if now >= self._refresh_at:
            self._refresh_at = now + _REFRESH
            for bucket in sorted(await self._ledger.buckets() - self._lanes.keys()):
                channel = bucket.partition("|")[0]
                own = [self._own[name] for name in (channel, bucket) if name in self._own]
                self._lanes[bucket] = self._governor.lane(self._application, bucket, [self.meter, *own])
            self.total = (await self._ledger.counts()).total
            self._closed_until = -math.inf
        if at >= self._closed_until and self._calendar.quiet is not None:
            zones = await self._ledger.zones() | {""}
            self.closed = self._calendar.closed(zones, at)
            self._closed_until = self._calendar.changes(zones, at)
            self._dry.clear()

    def retune(self, rate: float, now: float) -> None:
        """Set the rate of the campaign in sends per second, of all workers together."""
        self.meter.retune(rate, now)
        for lane in self._lanes.values():
            lane.gateway.share = self._ledger.share

    def leased(self) -> Iterable[LeasedMeter]:
        """Return the meters of the rates that several workers share."""
        return self._leased.values()

    def ask_at(self, now: float) -> float:
        """Return when one of those meters has a request for the ledger; infinite for never."""
        return min((meter.ask_at(now) for meter in self._leased.values()), default=math.inf)

    def learning(self) -> Iterator[tuple[str, Meter]]:
        """Yield the meters of the buckets and of the gateway, by the names that all workers give them."""
        for name, lane in self._lanes.items():
            yield name, lane.bucket
            yield lane.gateway.name, lane.gateway

    def try_again(self, now: float) -> None:
        """End the pauses of all meters: each tries one send."""
        for _, meter in self.learning():
            meter.try_again(now)

    def look_again(self) -> None:
        """Make the next refresh read buckets and zones again, after rows were added."""
        self._dry.clear()
        self._refresh_at = -math.inf

    def ask(self, now: float, room: int) -> dict[str, tuple[Lane, int]]:
        """Reserve the sends that may start now, with a fair share for each bucket.

        A slow pace frees one send at a time. The bucket that had the last one asks last the next time, or the
        first bucket would have them all until its rows are over.
        """
        lanes = self._open(now)
        reservations: dict[str, tuple[Lane, int]] = {}
        for number, (name, lane) in enumerate(lanes):
            n = lane.ask(now, -(-room // (len(lanes) - number)))
            if n:
                reservations[name] = lane, n
                room -= n
        for name in reservations:
            self._lanes[name] = self._lanes.pop(name)
        return reservations

    def took(self, now: float, name: str, *, unused: int, dry: bool) -> None:
        """Return reserved sends without a row; a bucket without due rows is skipped for a while."""
        self._lanes[name].give_back(unused)
        if dry:
            self._dry[name] = now + _DRY

    def came_back(self) -> None:
        """Try all buckets again, since a row became pending."""
        self._dry.clear()

    def until(self, now: float, at: float) -> float:
        """Return when a bucket is tried again, or a zone opens or closes; infinite for never."""
        # What may be tried already waits for its pace.
        soonest = min((moment for moment in self._dry.values() if moment > now), default=math.inf)
        if self._calendar.quiet is None:
            return soonest
        return min(soonest, now + max(self._closed_until - at, 0.0))

    async def held(self, now: float, at: float) -> Wait | None:
        """Return why no row is sent although slots are free; `None` when no row is due."""
        if lanes := self._open(now):
            held = min((lane.held(now) for _, lane in lanes), key=lambda each: each.until)
            wave = _WAVE if held.kind == "rate" else 0.0
            until = None if held.until == math.inf else at + max(held.until - now, wave)
            end = None if held.gives_up_at == math.inf else at + held.gives_up_at - now
            return Wait(reason=held.kind, until=until, bucket=held.meter, words=held.words, pauses_at=end)
        due = await self._ledger.due()
        if due is not None and due > at:
            self._dry = dict.fromkeys(self._dry, now + min(due - at, 60.0))
            return Wait(reason="due", until=due)
        if due is not None and self.closed:
            return Wait(reason="quiet_hours", until=self._closed_until)
        return None

    def _open(self, now: float) -> list[tuple[str, Lane]]:
        return [(name, lane) for name, lane in self._lanes.items() if self._dry.get(name, 0.0) <= now]
