"""The inbox: verify, store durably, answer 200, handle afterwards; never lost, never handled twice.

It reads no request and verifies nothing: the receiver gives it events that are authentic.
"""

from nexmo_dispatch_webhooks.inbox.inbox import StoreInbox
from nexmo_dispatch_webhooks.inbox.jetstream_inbox import JetStreamInbox
from nexmo_dispatch_webhooks.inbox.local_inboxes import MemoryInbox, SqliteInbox
from nexmo_dispatch_webhooks.inbox.postgres_inbox import PostgresInbox
from nexmo_dispatch_webhooks.inbox.records import (
    FailureTally,
    InboxHealth,
    NewRecord,
    PendingEvent,
    Record,
    RecordCounts,
    RecordState,
    StoredFailure,
)
from nexmo_dispatch_webhooks.inbox.retry import HandlerRetryPolicy
from nexmo_dispatch_webhooks.inbox.settings import InboxSettings
from nexmo_dispatch_webhooks.inbox.store import AddedListener, InboxStore, RecordChoice, SharedInboxStore

__all__ = [
    "AddedListener",
    "FailureTally",
    "HandlerRetryPolicy",
    "InboxHealth",
    "InboxSettings",
    "InboxStore",
    "JetStreamInbox",
    "MemoryInbox",
    "NewRecord",
    "PendingEvent",
    "PostgresInbox",
    "Record",
    "RecordChoice",
    "RecordCounts",
    "RecordState",
    "SharedInboxStore",
    "SqliteInbox",
    "StoreInbox",
    "StoredFailure",
]
