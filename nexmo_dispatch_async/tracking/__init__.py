"""Following a dispatched workflow by its callbacks: reached or not, on which channel, how soon, at what cost.

Events go in by `Tracker.receive`; `await dispatch.wait(timeout=…)` tells the outcome. It sends nothing and
serves nothing. The store that survives a restart is imported by name: `tracking.sqlite.SQLiteStore`.
"""

from nexmo_dispatch_async.tracking.reducer import Money, WorkflowState, observe, planned
from nexmo_dispatch_async.tracking.result import Outcome, StatusSeen, StepHistory, outcome_of
from nexmo_dispatch_async.tracking.store import MemoryStore, Retention, Store
from nexmo_dispatch_async.tracking.tracker import FollowedDispatch, Tracker

__all__ = [
    "FollowedDispatch",
    "MemoryStore",
    "Money",
    "Outcome",
    "Retention",
    "StatusSeen",
    "StepHistory",
    "Store",
    "Tracker",
    "WorkflowState",
    "observe",
    "outcome_of",
    "planned",
]
