"""The two inboxes that come with the receiver: `SqliteInbox` for service, `MemoryInbox` for tests.

They only put a store into a `StoreInbox`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Unpack

from nexmo_dispatch_webhooks.inbox.inbox import StoreInbox
from nexmo_dispatch_webhooks.inbox.memory import MemoryInboxStore
from nexmo_dispatch_webhooks.inbox.settings import InboxSettings
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore, Synchronous
from nexmo_dispatch_webhooks.inbox.sqlite_owner import RECEIVER

__all__ = ["MemoryInbox", "SqliteInbox"]


class SqliteInbox(StoreInbox):
    """An inbox in an SQLite file; `setup(…, inbox="inbox.db")` makes one with the defaults.

    Args:
        path: the file; readable for its owner only, since it holds what customers wrote.
        synchronous: `FULL`, or `NORMAL` to gain speed and lose the last events with the power.
        busy_timeout: how long, in seconds, to wait for another process that holds the file locked.
        max_bytes: the largest size of the file, at least 256 KiB; what does not fit is not acknowledged.
        schema: SQL for the tables of your handlers, run at every opening (`CREATE TABLE IF NOT EXISTS …`).
        create: False raises InboxError when there is no file.
        owner: whose events these are; `start` refuses a file whose first owner was another.
        clock: gives epoch seconds.
        **settings: those of `StoreInbox`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = "FULL",
        busy_timeout: float = 5.0,
        max_bytes: int = 1024**3,
        schema: str = "",
        create: bool = True,
        owner: str = RECEIVER,
        clock: Callable[[], float] = time.time,
        **settings: Unpack[InboxSettings],
    ) -> None:
        store = SqliteInboxStore(
            path,
            synchronous=synchronous,
            busy_timeout=busy_timeout,
            max_bytes=max_bytes,
            schema=schema,
            create=create,
            owner=owner,
            clock=clock,
        )
        super().__init__(store, clock=clock, **settings)


class MemoryInbox(StoreInbox):
    """An inbox that forgets everything with the process.

    Args:
        clock: gives epoch seconds.
        **settings: those of `StoreInbox`.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, **settings: Unpack[InboxSettings]) -> None:
        super().__init__(MemoryInboxStore(clock=clock), clock=clock, **settings)
