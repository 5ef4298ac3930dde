"""Follow a dispatched workflow by its callbacks: reached or not, on which channel, how soon, at what cost.

Events enter through `Tracker.receive`; `await dispatch.wait(timeout=…)` returns the `WorkflowResult`. The
package sends nothing and serves nothing. The store that survives a restart is imported by name:
`tracking.sqlite.SqliteTrackingStore`.
"""

from nexmo_dispatch_async.tracking.reducer import Money, WorkflowState, observe, planned
from nexmo_dispatch_async.tracking.result import StatusEntry, StepHistory, WorkflowResult, conclude
from nexmo_dispatch_async.tracking.store import MemoryTrackingStore, TrackingRetention, TrackingStore
from nexmo_dispatch_async.tracking.tracker import FollowedDispatch, Tracker

__all__ = [
    "FollowedDispatch",
    "MemoryTrackingStore",
    "Money",
    "StatusEntry",
    "StepHistory",
    "Tracker",
    "TrackingRetention",
    "TrackingStore",
    "WorkflowResult",
    "WorkflowState",
    "conclude",
    "observe",
    "planned",
]
