"""`Ledger`: the protocol of a store for the rows of a campaign, on one machine or on several.

A crash turns `sending` into `unknown`, never back into `pending`; only a row that was provably not sent
becomes `pending` again. A lease therefore only decides when a row becomes unknown; what its process claimed
before and wakes up with later is stopped by `guard`, just before it would be sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

from nexmo_dispatch_async.bulk.ledger.rates import RateExchange, RateRequest, SharedPause
from nexmo_dispatch_async.bulk.ledger.records import (
    Added,
    Change,
    Claimed,
    ClaimRequest,
    Control,
    Counts,
    Droppable,
    Life,
    News,
    Observed,
    Recipient,
    Resendable,
    Result,
    Row,
    State,
)

__all__ = ["ComputesBeside", "Guard", "Ledger", "TakesRows", "TellsLife", "rows_of"]

#: A check just before a row is sent; `None` for none.
Guard = Callable[[], object] | None


class TakesRows(Protocol):
    """The part of a ledger that an intake needs."""

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows whose key is new; a key that is there keeps its row as it was first added."""
        ...


@runtime_checkable
class ComputesBeside(Protocol):
    """A ledger with a thread in this process, which competes with the event loop for the interpreter."""

    async def computed(self) -> None:
        """Return when the calls that are under way need no interpreter, but only wait for the disk."""
        ...


@runtime_checkable
class TellsLife(Protocol):
    """A ledger that several processes send for, and that knows which of them live."""

    async def life(self) -> Life:
        """Return which processes send, and the rows in flight of those that show no life."""
        ...


class Ledger(Protocol):
    """The rows of one campaign. Every method is atomic, and its changes are durable when it returns.

    All methods raise `LedgerError` when the store fails; nothing of the call was stored then.
    """

    @property
    def reference(self) -> str:
        """Random text of at most 16 characters, the beginning of every `client_ref` of the ledger."""
        ...

    @property
    def share(self) -> float:
        """One divided by the number of processes that send now: 1 where this process sends alone."""
        ...

    @property
    def shared(self) -> bool:
        """Whether several processes may send at once; they share the campaign's rates by `lease` then."""
        ...

    async def describe(self, plan: bytes | None = None) -> bytes:
        """Return the stored plan of the campaign as JSON; `b""` without a plan.

        Args:
            plan: The plan to store first.

        Raises:
            PlanChangedError: Another plan is stored.
        """
        ...

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows whose key is new; a key that is there keeps its row as it was first added."""
        ...

    async def claim(
        self, request: ClaimRequest, results: Sequence[Result] = (), *, worker: str = ""
    ) -> list[Claimed]:
        """Record results and turn `pending` rows into `sending`, in one transaction, by ascending id.

        In the same transaction, a row with a suppressed address becomes `skipped`, as does an expired row; a
        row over the cap becomes `skipped` or waits. Rows that are not due, or in a closed zone, stay. With a
        cap, or an `OptOutList` shared by campaigns, each claimed row counts as a message to its person, until
        its result proves that nothing was sent.

        With `bounds`, claims of all workers follow one another, and each sees the counts that the last one
        left: together they never claim more rows than the bounds allow.

        If the caller is cancelled, its rows are `pending` again.
        """
        ...

    def guard(self) -> Guard:
        """Return a check for rows that are claimed after this call, made just before each POST is written.

        The check raises `LedgerError` once another process may have taken the row over; then nothing is sent.
        `None` for a ledger whose rows no other process can take while this one lives.
        """
        ...

    async def record(self, results: Sequence[Result]) -> None:
        """Record results without a claim.

        A result for a row that is not `sending` changes nothing, except that `refused` resolves an `unknown`
        of the same claim, and `sent` proves that the row was sent, as a callback does, also when the row was
        claimed again since. A code of the service for opted-out people (contract 6.1: 1050, 1240) suppresses
        the address.
        """
        ...

    async def observe(self, news: Sequence[News]) -> Observed:
        """Merge news into the rows, by `dispatch_uuid` or else by `client_ref`.

        A `client_ref` of this ledger proves that the row was sent, whatever its state: an `unknown` row
        becomes `sent`, as does a `pending` row of a restored file. A `sending` row becomes `sent` with its
        result, or when it is reaped. Merging is idempotent and commutative.

        Returns:
            The number of changed rows, and the news without a row.
        """
        ...

    async def reap(self, worker: str | None = None) -> int:
        """Turn the `sending` rows of a dead worker into `unknown`; `None` for all workers.

        Returns:
            The number of rows.
        """
        ...

    async def resend(self, ids: Iterable[int], *, state: Resendable = "unknown") -> int:
        """Set rows back to `pending`, by an operator's decision.

        Rows that are not in the state, or are erased, stay as they are: another operator may have sent a
        refused row again, and it is unknown now.

        Args:
            ids: Numbers of rows.
            state: `unknown`, at the risk of a second message, or `refused`: nothing was sent.

        Returns:
            The number of rows.

        Raises:
            ConfigurationError: An id is no whole number from 1 to 2**63 - 1.
            LedgerError: The state is another one.
        """
        ...

    async def drop(self, ids: Iterable[int], *, state: Droppable = "unknown") -> int:
        """Turn rows of a state into `skipped`, reason `dropped`, by an operator's decision.

        Rows that are not in the state stay as they are: a process may have sent a pending row since it was
        looked at, and it is unknown now.

        Args:
            ids: Numbers of rows.
            state: `unknown`, or `pending`: not sent yet.

        Returns:
            The number of rows.

        Raises:
            ConfigurationError: An id is no whole number from 1 to 2**63 - 1.
            LedgerError: The state is another one.
        """
        ...

    async def expire(self, now: float, *, limit: int = 10_000) -> int:
        """Skip at most `limit` expired rows; return their number.

        Raises:
            ConfigurationError: `now` is no finite number of epoch seconds, or beyond the year 9999.
        """
        ...

    async def due(self) -> float | None:
        """Return when the next pending row is due, any past time for a due row, `None` without a row."""
        ...

    async def zones(self) -> frozenset[str]:
        """Return the zones of the pending rows."""
        ...

    async def buckets(self) -> frozenset[str]:
        """Return the buckets of the pending rows."""
        ...

    async def lease(
        self, requests: Sequence[RateRequest], pauses: Sequence[SharedPause] = (), *, now: float
    ) -> RateExchange:
        """Grant sends of shared rates to a worker, and exchange the pauses that the service demanded.

        A crash may repeat the grants of its last instant; nothing else depends on them.

        Args:
            requests: Requests for different rates.
            pauses: Pauses that began at this worker. Of two for one bucket the longer one counts, and
                one of 0 seconds ends it.
            now: Epoch seconds, for a ledger without a clock that all workers share.
        """
        ...

    async def control(self, change: Change | None = None) -> Control:
        """Return the operators' control state, after a change of it.

        Reading, changing and storing are one step: of two changes at once, the later one sees the other.

        Args:
            change: Makes the new state of the present one, perhaps more than once; a new state that differs
                is stored with the next version.
        """
        ...

    async def counts(self, *, verify: bool = False) -> Counts:
        """Return the counts; with `verify`, counted from the rows."""
        ...

    async def scan(self, state: State | None = None, *, after: int = 0, limit: int = 1000) -> list[Row]:
        """Return rows by ascending id, only ids above `after`."""
        ...

    async def forget(self, before: float) -> int:
        """Erase addresses, keys and fields of rows that ended before a time, and keep their counts.

        `sent`, `refused`, `skipped` and `unknown` rows have ended; the time of their last news counts. Erased
        rows cannot be sent again. The opt-out list stays.

        Args:
            before: Epoch seconds.

        Returns:
            The number of rows.

        Raises:
            ConfigurationError: `before` is no finite number, or beyond the year 9999; nothing was erased.
        """
        ...

    async def aclose(self) -> None:
        """Release all resources."""
        ...


async def rows_of(ledger: Ledger, state: State | None = None, *, page: int = 1000) -> AsyncIterator[Row]:
    """Yield rows by ascending id, read page by page.

    Raises:
        LedgerError: The ledger failed.
    """
    after = 0
    while rows := await ledger.scan(state, after=after, limit=page):
        for row in rows:
            yield row
        after = rows[-1].id
