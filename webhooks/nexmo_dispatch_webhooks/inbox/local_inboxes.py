"""`SqliteInbox` and `MemoryInbox`: inboxes of one machine, whose events one process handles."""

from __future__ import annotations

import os
import time
from typing import Any, Unpack

from nexmo_dispatch_webhooks.inbox.inbox import StoreInbox
from nexmo_dispatch_webhooks.inbox.memory import MemoryInboxStore
from nexmo_dispatch_webhooks.inbox.settings import InboxOptions
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from nexmo_dispatch_webhooks.inbox.sqlite_settings import SqliteInboxOptions, SqliteSettings

__all__ = ["MemoryInbox", "SqliteInbox"]


class SqliteInbox(StoreInbox):
    """An inbox in an SQLite file; `setup(…, inbox="inbox.db")` makes one with the defaults.

    Args:
        path: The file. Only its owner may read it, since it holds texts of customers.
        **options: The fields of `InboxSettings` and of `SqliteSettings`.

    Raises:
        ConfigurationError: A setting is out of its range.
    """

    def __init__(self, path: str | os.PathLike[str], **options: Unpack[SqliteInboxOptions]) -> None:
        of_file: dict[str, Any] = {}  # Any, twice: the fields have the types of SqliteInboxOptions
        of_inbox: dict[str, Any] = {}
        for name, value in options.items():
            (of_file if name in SqliteSettings.__struct_fields__ else of_inbox)[name] = value
        store = SqliteInboxStore(path, clock=options.get("clock", time.time), **of_file)
        super().__init__(store, **of_inbox)


class MemoryInbox(StoreInbox):
    """An inbox that forgets everything with the process, for tests.

    Args:
        **options: The fields of `InboxSettings`.

    Raises:
        ConfigurationError: A setting is out of its range.
    """

    def __init__(self, **options: Unpack[InboxOptions]) -> None:
        super().__init__(MemoryInboxStore(clock=options.get("clock", time.time)), **options)
