"""The inbox: verify, store durably, answer 200, handle afterwards; never lost, never handled twice.

It reads no request and verifies nothing: the receiver gives it events that are authentic.
"""

from nexmo_dispatch_webhooks.inbox.inbox import StoreInbox
from nexmo_dispatch_webhooks.inbox.inboxes import MemoryInbox, SqliteInbox
from nexmo_dispatch_webhooks.inbox.records import (
    Counts,
    Failure,
    NewRecord,
    Record,
    State,
    Tally,
    Waiting,
)
from nexmo_dispatch_webhooks.inbox.retry import RetryPolicy
from nexmo_dispatch_webhooks.inbox.settings import Health, InboxSettings
from nexmo_dispatch_webhooks.inbox.store import Added, Store, Which

__all__ = [
    "Added",
    "Counts",
    "Failure",
    "Health",
    "InboxSettings",
    "MemoryInbox",
    "NewRecord",
    "Record",
    "RetryPolicy",
    "SqliteInbox",
    "State",
    "Store",
    "StoreInbox",
    "Tally",
    "Waiting",
    "Which",
]
