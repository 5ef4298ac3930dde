"""`SharedPace`: keeps one worker of several within the rates of a campaign, and tells of pauses.

It asks the ledger ahead, a few times a second while the worker sends, for the sends that its meters need.
With the answers come the pauses that the service demanded of other workers.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.rates import SharedPause
from nexmo_dispatch_async.bulk.sending.lanes import Lanes
from nexmo_dispatch_async.event_loop import running_loop
from nexmo_dispatch_async.exceptions import LedgerError
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["SharedPace"]

_GAP: Final = 0.05  # seconds between two questions, at least
_LOOK: Final = 0.25  # seconds between two looks at the pauses of others
_RETRY: Final = 0.5  # seconds until a ledger that failed is asked again
_SMOOTH: Final = 0.2  # share of the newest figure in the smoothed time of an answer
_NEWS: Final = 0.1  # seconds by which a pause must be longer to be told again


class SharedPace:
    """The exchange of one worker with the ledger.

    Args:
        ledger: Ledger of the campaign.
        lanes: Lanes of the worker.
        wake: Called when more may leave, or a pause began.
        wall_clock: Returns epoch seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        lanes: Lanes,
        *,
        wake: Callable[[], None],
        wall_clock: Callable[[], float],
    ) -> None:
        self._ledger, self._lanes = ledger, lanes
        self._wake, self._wall = wake, wall_clock
        self._asked = asyncio.Event()
        # Until when each pause is known to all, in seconds of the loop
        self._told: dict[str, float] = {}
        # The pauses that an operator ended, until the ledger knows it
        self._ended: set[str] = set()
        self._failure: LedgerError | None = None
        self._delay = 0.0  # seconds that an answer takes, smoothed
        self._exchanging = asyncio.Lock()
        self._left = False

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<SharedPace{', failed' if self._failure is not None else ''}>"

    def ask(self) -> None:
        """Ask the ledger soon: a meter needs sends, or the service demanded a pause."""
        self._asked.set()

    def end_pauses(self) -> None:
        """End all pauses in the ledger too: an operator has resumed the campaign."""
        self._told.clear()
        self._ended = {name for name, _ in self._lanes.learning()}
        self.ask()

    def check(self) -> None:
        """Raise the failure of the last exchange, once.

        Raises:
            LedgerError: The ledger failed.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def run(self) -> None:
        """Ask until cancelled, or until the worker leaves."""
        look_at = -math.inf
        while not self._left:
            self._asked.clear()
            now = running_loop().time()
            pause = _GAP
            if now >= look_at or self._lanes.ask_at(now) <= now or self._ended or self._news(now):
                try:
                    async with self._exchanging:
                        await self._exchange(now)
                except LedgerError as error:
                    self._failure, pause = error, _RETRY
                    self._wake()
                now = running_loop().time()
                look_at = now + _LOOK
                await asyncio.sleep(pause)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(look_at, self._lanes.ask_at(now))):
                    await self._asked.wait()

    async def leave(self) -> None:
        """Give back what was granted and not used, which no other worker could have otherwise."""
        self._left = True
        async with self._exchanging:
            now = running_loop().time()
            given = [back for meter in self._lanes.leased() if (back := meter.leave(now)) is not None]
            if given:
                with suppress(LedgerError):  # then it is lost to the others, for half a second at most
                    await self._ledger.lease(given, now=self._wall())

    def _news(self, now: float) -> list[SharedPause]:
        """Return the pauses that the others do not know."""
        return [
            SharedPause(name, meter.paused_until - now, meter.pause_kind)
            for name, meter in self._lanes.learning()
            if (meter.pause_kind == "quota" or meter.pause_kind == "throttled")  # noqa: PLR1714 - it narrows the type
            and meter.paused_until > max(now, self._told.get(name, now) + _NEWS)
        ]

    async def _exchange(self, now: float) -> None:
        if self._left:
            return
        wanted = [
            (meter, request) for meter in self._lanes.leased() if (request := meter.request(now)) is not None
        ]
        news, ending = self._news(now), self._ended
        told = {pause.name for pause in news}
        ends = [SharedPause(name, 0.0, "quota") for name in sorted(ending - told)]
        answer = await self._ledger.lease(
            [request for _, request in wanted], [*ends, *news], now=self._wall()
        )
        if self._ended is ending:
            self._ended = set()
        asked_at, now = now, running_loop().time()
        self._delay += _SMOOTH * (now - asked_at - self._delay)
        for pause in news:
            self._told[pause.name] = now + pause.seconds
        for (meter, request), grant in zip(wanted, answer.grants, strict=True):
            meter.delay = self._delay
            meter.grant(request, grant, now)
        learning = dict(self._lanes.learning())
        for pause in answer.pauses:
            paused = learning.get(pause.name)
            if pause.name in self._ended:
                continue  # an operator ended it while the ledger answered
            if paused is not None and now + pause.seconds > paused.paused_until + _NEWS:
                paused.heed(now, pause.seconds, pause.kind)
                self._told[pause.name] = paused.paused_until
        if wanted or answer.pauses:
            self._wake()
