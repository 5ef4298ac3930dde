"""`TrackingStore`: the protocol of the stores of a tracker, and the store in memory.

It decides nothing about workflows; `sqlite` has a store that survives a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from msgspec import Struct

from nexmo_dispatch_async.tracking.reducer import WorkflowState
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["MemoryTrackingStore", "TrackingRetention", "TrackingStore", "kind_of"]

#: `unclaimed`: a workflow without a follower, perhaps since its 202 has not arrived yet.
Kind = Literal["unclaimed", "open", "ended"]


class TrackingRetention(Struct, frozen=True):
    """The time that a workflow is kept after its last callback, in seconds.

    Attributes:
        ended: Workflows whose final report has arrived.
        open: Workflows that have not ended; some never end (contract 9.12).
        unclaimed: Workflows without a follower.
        max_unclaimed: Maximum number of workflows without a follower; the oldest are deleted first.
    """

    ended: float
    open: float
    unclaimed: float
    max_unclaimed: int

    def seconds(self, kind: Kind) -> float:
        """Return the seconds that a workflow of a kind is kept."""
        return {"ended": self.ended, "open": self.open, "unclaimed": self.unclaimed}[kind]


class TrackingStore(Protocol):
    """Keeps one `WorkflowState` for each workflow; it merges new facts, so that no fact is overwritten."""

    async def merge(self, state: WorkflowState, *, now: float, retention: TrackingRetention) -> WorkflowState:
        """Merge facts of a workflow, atomically.

        Args:
            state: The new facts; the id alone reads the known facts.
            now: Epoch seconds that neither go back nor jump while a process runs. They may jump between two
                processes.
            retention: The limits beyond which workflows may be deleted.

        Returns:
            All facts of the workflow.

        Raises:
            TrackingStoreError: The store failed. Then the receiver responds with 500 and the service repeats
                the callback (contract 5.10), or the inbox tries again.
        """
        ...

    def watch(self, changed: Callable[[str | None], object]) -> float | None:
        """Report the workflows that other processes change, so that the tracker wakes its waiting callers.

        Args:
            changed: The store calls it on the event loop with the id of each workflow, and with None when
                changes may have been missed.

        Returns:
            Seconds after which a waiting caller has to read the store, since notifications may be lost; None
            for a store that reports nothing.
        """
        ...

    async def aclose(self) -> None:
        """Release all resources."""
        ...


class MemoryTrackingStore:
    """Keeps facts in memory; a restart loses them."""

    def __init__(self) -> None:
        # By kind, in the order of the last change: the oldest are first.
        self._kept: dict[Kind, dict[str, tuple[WorkflowState, float]]] = {
            "unclaimed": {},
            "open": {},
            "ended": {},
        }

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<MemoryTrackingStore of {len(self)}>"

    async def merge(self, state: WorkflowState, *, now: float, retention: TrackingRetention) -> WorkflowState:
        """Merge facts of a workflow; see `TrackingStore`."""
        key = state.dispatch_uuid
        home = next((kept for kept in self._kept.values() if key in kept), None)
        known = WorkflowState(key) if home is None else home[key][0]
        merged = known.merge(state)
        if merged != known:
            if home is not None:
                del home[key]
            self._kept[kind_of(merged)][key] = merged, now
        self._prune(now, retention)
        return merged

    def watch(self, changed: Callable[[str | None], object]) -> float | None:
        """Return None: no other process has these facts."""
        return None

    def _prune(self, now: float, retention: TrackingRetention) -> None:
        for kind, kept in self._kept.items():
            oldest = now - retention.seconds(kind)
            while kept and (
                next(iter(kept.values()))[1] < oldest
                or (kind == "unclaimed" and len(kept) > retention.max_unclaimed)
            ):
                del kept[next(iter(kept))]

    async def aclose(self) -> None:
        """Delete all facts."""
        for kept in self._kept.values():
            kept.clear()


def kind_of(state: WorkflowState) -> Kind:
    """Return the kind of a workflow, for `TrackingRetention.seconds`."""
    if not state.followed:
        return "unclaimed"
    return "open" if state.report is None else "ended"
