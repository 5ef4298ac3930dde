"""Where a tracker keeps what it knows: the protocol of a store, and the one in memory.

It decides nothing about workflows; `sqlite` has a store that survives a restart.
"""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from nexmo_dispatch_async.tracking.reducer import WorkflowState

__all__ = ["MemoryTrackingStore", "TrackingRetention", "TrackingStore", "kind_of"]

#: `unclaimed` are events of workflows that nobody follows, perhaps because their 202 is still on its way.
Kind = Literal["unclaimed", "open", "ended"]


class TrackingRetention(Struct, frozen=True):
    """How long a workflow is kept after the last news of it, in seconds.

    Attributes:
        ended: Its final report came.
        open: It has not ended; perhaps it never will (contract 9.12).
        unclaimed: Nobody follows it.
        max_unclaimed: At most so many that nobody follows; the oldest go first.
    """

    ended: float
    open: float
    unclaimed: float
    max_unclaimed: int

    def seconds(self, kind: Kind) -> float:
        """How long one of this kind is kept."""
        return {"ended": self.ended, "open": self.open, "unclaimed": self.unclaimed}[kind]


class TrackingStore(Protocol):
    """Keeps a `WorkflowState` for each workflow; it merges what it is told, so nothing can be overwritten."""

    async def merge(self, state: WorkflowState, *, now: float, retention: TrackingRetention) -> WorkflowState:
        """Add to what is known of a workflow, atomically.

        Args:
            state: What is new; it may hold nothing but the id, to ask what is known.
            now: Epoch seconds that never go back nor jump while a process runs; a store that outlives the
                process has to expect another beginning.
            retention: What may be dropped meanwhile.

        Returns:
            Everything that is known of that workflow.

        Raises:
            TrackingStoreError: It could not be stored. Then the service calls again later (contract 5.10),
                since the receiver answers 500, or its inbox tries again.
        """
        ...

    async def aclose(self) -> None:
        """Release what it holds."""
        ...


class MemoryTrackingStore:
    """Keeps everything in memory: a restart forgets it."""

    def __init__(self) -> None:
        # By kind, in the order of the last change: what has to go is at the front.
        self._kept: dict[Kind, dict[str, tuple[WorkflowState, float]]] = {
            "unclaimed": {},
            "open": {},
            "ended": {},
        }

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def __repr__(self) -> str:
        return f"<MemoryTrackingStore of {len(self)}>"

    async def merge(self, state: WorkflowState, *, now: float, retention: TrackingRetention) -> WorkflowState:
        """Add to what is known of a workflow; see `TrackingStore`."""
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

    def _prune(self, now: float, retention: TrackingRetention) -> None:
        for kind, kept in self._kept.items():
            oldest = now - retention.seconds(kind)
            while kept and (
                next(iter(kept.values()))[1] < oldest
                or (kind == "unclaimed" and len(kept) > retention.max_unclaimed)
            ):
                del kept[next(iter(kept))]

    async def aclose(self) -> None:
        """Forget everything."""
        for kept in self._kept.values():
            kept.clear()


def kind_of(state: WorkflowState) -> Kind:
    """By which of the times of `TrackingRetention` a workflow is kept."""
    if not state.followed:
        return "unclaimed"
    return "open" if state.report is None else "ended"
