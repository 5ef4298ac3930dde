"""`CampaignCallbacks`: stores the callbacks of a campaign in its rows, and waits for the end of the rows.

Callbacks arrive at least once and in any order (contract 5.10); `ledger.folding` explains why that does not
matter. Callbacks that arrive together share a transaction of the ledger; a callback is answered after it is
stored.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import anyio
from msgspec import Struct

from nexmo_dispatch_async.bulk.ledger.folding import news_of_event, outcomes_of
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger, rows_of
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList, normal_address
from nexmo_dispatch_async.bulk.ledger.records import News, Row, State
from nexmo_dispatch_async.bulk.ledger.stop_words import STOP_WORDS
from nexmo_dispatch_async.bulk.ledger.transitions import merge
from nexmo_dispatch_async.bulk.unmatched_callbacks import Candidate, Suggestion, UnmatchedCallbacks, suggest
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.events import Event, MessageStatus

__all__ = ["LATEST_STATUS", "CampaignCallbacks", "Waited", "attach", "last_activity"]

_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR

#: Seconds after which a message gets no more statuses, by channel (contract 5.10).
LATEST_STATUS: Final[Mapping[str, float]] = {
    "sms": 72 * _HOUR,
    "mms": 72 * _HOUR,
    "whatsapp": 30 * _DAY,
    "messenger": 30 * _DAY,
    "viber_service_msg": 14 * _DAY,
}

#: Seconds for which the service repeats a callback that met no receiver (contract 5.10).
_REPEATED: Final = _DAY
#: States of rows of which a callback may still tell something.
_TOLD: Final[tuple[State, ...]] = ("sent", "unknown")

_PIECE: Final = 1000
_RETRIED: Final = 64


class _Router(Protocol):
    """The part of a router that `attach` needs; the receiver's `Router` has it."""

    def add(self, handler: Any, *, kind: Any) -> object:
        """Register a handler."""
        ...


class Waited(Struct, frozen=True, kw_only=True):
    """The result of `wait`.

    Attributes:
        ended: Number of rows with a final report.
        given_up: Number of sent and unknown rows without a callback for too long.
        open: Number of rows that are not sent yet or may still end, also unknown ones; 0 unless the timeout
            passed.
    """

    ended: int
    given_up: int = 0
    open: int = 0


class _Entry:
    """News that wait for a transaction."""

    __slots__ = ("address", "left", "news", "stored")

    def __init__(self, news: News, address: str) -> None:
        self.news = news
        self.address = address
        self.stored = False
        #: whether the call that brought the news is over, so that the service repeats the callback
        self.left = False


class CampaignCallbacks:
    """Receives the callbacks of a campaign.

    Args:
        ledger: The ledger of the campaign.
        clock: Returns epoch seconds.
        sleep: Waits for a number of seconds.
        keep_unmatched: Seconds for which a callback without a row is kept, in case its row is recorded later.
        max_unmatched: Maximum number of workflows without a row that are kept.

    Raises:
        ConfigurationError: A time or a number is out of its range.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
        keep_unmatched: float = _HOUR,
        max_unmatched: int = 10_000,
    ) -> None:
        checks.seconds("keep_unmatched", keep_unmatched)
        checks.count("max_unmatched", max_unmatched, least=0)
        self._ledger = ledger
        self._clock = clock
        self._sleep = sleep
        self._unmatched = UnmatchedCallbacks(keep=keep_unmatched, most=max_unmatched)
        self._waiting: list[_Entry] = []
        self._storing = anyio.Lock()
        self._arrival = anyio.Event()

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<CampaignCallbacks, {len(self._waiting)} being stored, {len(self._unmatched)} of no row>"

    # --- callbacks ---

    def attach(
        self, router: _Router, opt_outs: OptOutList | None = None, *, stop_words: Iterable[str] = ()
    ) -> None:
        """Register `receive` on a router of the receiver, and the handlers of the opt-out list.

        Args:
            router: The receiver's `Router`.
            opt_outs: Opt-out list for senders of replies such as STOP, and for the error codes 1050 and 1240.
            stop_words: Replies that opt out beside `STOP_WORDS`.

        Raises:
            ConfigurationError: A word is empty.
        """
        router.add(self.receive, kind=("message-status", "final-report"))
        if opt_outs is not None:
            opt_outs.attach(router, words=(*STOP_WORDS, *stop_words))

    async def receive(self, event: Event) -> None:
        """Store a callback; a handler for a router. A callback without a row is kept for a while.

        Args:
            event: The callback.

        Raises:
            LedgerError: The callback could not be stored; raise the error, so that the service repeats it.
        """
        news = news_of_event(event, self._clock())
        if news is None:
            return
        address = event.recipient if isinstance(event, MessageStatus) else None
        entry = _Entry(news, normal_address(address) if address else "")
        self._waiting.append(entry)
        try:
            async with self._storing:
                if not entry.stored:
                    await self._store_waiting()
        finally:
            entry.left = True
            if not entry.stored and entry in self._waiting:
                self._waiting.remove(entry)

    async def reconcile(self) -> int:
        """Store all callbacks without a row again, since their rows may be recorded by now.

        Returns:
            The number of callbacks that found their row.

        Raises:
            LedgerError: The ledger failed.
        """
        before = len(self._unmatched)
        async with self._storing:
            news = self._unmatched.all()
            for start in range(0, len(news), _PIECE):
                await self._observe(news[start : start + _PIECE], {})
        return before - len(self._unmatched)

    async def _store_waiting(self) -> None:
        """Store all waiting news, also those of concurrent callers, which then have nothing left to do."""
        batch = self._waiting[:_PIECE]
        del self._waiting[:_PIECE]
        now = self._clock()
        try:
            addresses = {entry.news.dispatch_uuid: entry.address for entry in batch if entry.address}
            again = self._unmatched.due(now, _RETRIED)
            # News of one workflow go together: a report has no reference, but its statuses have.
            by_uuid = {news.dispatch_uuid: news for news in again}
            for entry in batch:
                uuid = entry.news.dispatch_uuid
                known = by_uuid.get(uuid)
                by_uuid[uuid] = self._unmatched.complete(
                    entry.news if known is None else merge(known, entry.news)
                )
            await self._observe(list(by_uuid.values()), addresses)
        except BaseException:
            self._waiting[:0] = [entry for entry in batch if not entry.left]
            raise
        for entry in batch:
            entry.stored = True
        self._arrival.set()

    async def _observe(self, news: list[News], addresses: Mapping[str, str]) -> None:
        observed = await self._ledger.observe(news)
        now = self._clock()
        unmatched = set(observed.unmatched)
        for position, piece in enumerate(news):
            if position not in unmatched:
                self._unmatched.found(piece.dispatch_uuid)
        for position in observed.unmatched:
            piece = news[position]
            self._unmatched.add(piece, addresses.get(piece.dispatch_uuid, ""), now)

    # --- unknowns ---

    async def suggest(
        self, *, within: float = _HOUR, candidates: Iterable[Candidate] = ()
    ) -> list[Suggestion]:
        """Return workflows without a row that may belong to unknown rows, by address and time.

        A suggestion changes nothing: only a `client_ref` is a proof, and settles a row automatically.

        Args:
            within: Maximum number of seconds between a row and a workflow.
            candidates: More workflows, such as those of a receiver's inbox.

        Raises:
            LedgerError: The ledger failed.
        """
        all_candidates = [*self._unmatched.candidates(), *candidates]
        return await suggest(rows_of(self._ledger, "unknown"), all_candidates, within=within)

    # --- the end ---

    async def wait(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - open rows at the timeout are a result, not an error
        latest: Mapping[str, float] | None = None,
        every: float = 1.0,
    ) -> Waited:
        """Wait until every row has ended or cannot end any more.

        A workflow whose last message stays `submitted` never ends (contract 9.12). Its row is given up after
        the time in which statuses of its channels may arrive late. An unknown row, which any callback may
        prove to be sent, is given up after the 24 hours in which the service repeats one (contract 5.10).

        Args:
            timeout: Maximum wait in seconds; `None` for no limit.
            latest: Seconds by channel, instead of those of `LATEST_STATUS`.
            every: Seconds between two reads of the ledger, which another process may change.

        Raises:
            ConfigurationError: A time is out of its range.
            LedgerError: The ledger failed.
        """
        checks.seconds("timeout", timeout, none=True)
        checks.seconds("every", every)
        silence = {**LATEST_STATUS, **(latest or {})}
        deadline = math.inf if timeout is None else self._clock() + timeout
        next_scan, given_up = 0.0, 0
        while True:
            self._arrival = anyio.Event()
            await self.reconcile()
            counts = await self._ledger.counts()
            now = self._clock()
            unended = counts.states.get("sent", 0) - counts.ended + counts.states.get("unknown", 0)
            if counts.open == 0 and (unended <= 0 or next_scan <= now or now >= deadline):
                given_up, next_scan = await self._given_up(silence, now)
                # Reading all rows takes time, so the interval is a multiple of that time.
                next_scan = max(next_scan, now + every * (1 + counts.total / 10_000))
            open_rows = counts.open + max(unended - given_up, 0)
            if open_rows == 0 or now >= deadline:
                return Waited(ended=counts.ended, given_up=given_up, open=open_rows)
            await self._pause(max(min(every, deadline - now), 0.001))

    async def _given_up(self, silence: Mapping[str, float], now: float) -> tuple[int, float]:
        """Return the number of rows to give up, and the time at which the next row is to be given up."""
        given_up, earliest = 0, math.inf
        for state in _TOLD:
            async for row in rows_of(self._ledger, state):
                if row.news is not None and row.news.ended:
                    continue
                late = max((silence.get(name, _DAY) for name in _channels(row)), default=_DAY)
                over = last_activity(row) + (_REPEATED if state == "unknown" else late)
                if over <= now:
                    given_up += 1
                else:
                    earliest = min(earliest, over)
        return given_up, earliest

    async def _pause(self, seconds: float) -> None:
        """Wait for a number of seconds, or until this process stores a callback."""

        async def wake(scope: anyio.CancelScope) -> None:
            await self._arrival.wait()
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(wake, group.cancel_scope)
            await self._sleep(seconds)
            group.cancel_scope.cancel()


def attach(
    router: _Router,
    ledger: Ledger,
    opt_outs: OptOutList | None = None,
    *,
    clock: Callable[[], float] = time.time,
) -> CampaignCallbacks:
    """Register the handlers of a ledger on a router of the receiver; return the `CampaignCallbacks`."""
    callbacks = CampaignCallbacks(ledger, clock=clock)
    callbacks.attach(router, opt_outs)
    return callbacks


def last_activity(row: Row) -> float:
    """Return the time of the last change or callback of a row, in epoch seconds."""
    return max(row.changed, row.news.at if row.news is not None else 0.0)


def _channels(row: Row) -> set[str]:
    """Return the channels of a row, as far as they are known."""
    channels = {step.channel for outcome in outcomes_of(row.news) for step in outcome.steps if step.channel}
    return channels | set(row.channels) | {row.bucket.partition("|")[0]}
