"""The owner of the events in an SQLite file, which never changes.

A program that handled the events of another program would mark them as handled, and the handlers of the other
program would never run.
"""

from __future__ import annotations

import sqlite3

from nexmo_dispatch_webhooks.exceptions import InboxError
from nexmo_dispatch_webhooks.inbox import sqlite_key_values as notes
from nexmo_dispatch_webhooks.inbox.sqlite_settings import RECEIVER

__all__ = ["require_owner"]


def require_owner(db: sqlite3.Connection, owner: str, file: str) -> None:
    """Become the owner of a file without owner and events; refuse a file of another owner.

    Args:
        db: The connection, inside a transaction.
        owner: The owner that is to handle the events.
        file: The name of the file, for the message.

    Raises:
        InboxError: The events belong to another owner; nothing was changed.
    """
    found = notes.read(db, "owner")
    if found is None:
        (used,) = db.execute("SELECT EXISTS (SELECT 1 FROM events)").fetchone()
        found = RECEIVER if used else owner
        notes.write(db, "owner", found)
    if found != owner:
        raise InboxError(
            f"the events in {file} belong to {found!r} and not to {owner!r}, which would mark them as "
            "handled: give it a file of its own"
        )
