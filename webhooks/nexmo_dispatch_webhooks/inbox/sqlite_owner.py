"""Whose events are in an SQLite file: its first owner's, for ever.

A program that handles events of another one marks them as handled, and their own handlers never run.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from nexmo_dispatch_webhooks.exceptions import InboxError
from nexmo_dispatch_webhooks.inbox import sqlite_key_values as notes

__all__ = ["RECEIVER", "require_owner"]

#: The owner of a file unless another is named.
RECEIVER: Final = "receiver"


def require_owner(db: sqlite3.Connection, owner: str, file: str) -> None:
    """Become the owner of a file that has none and no events, and refuse that of another owner.

    Args:
        db: inside of a transaction.
        owner: who wants to handle the events.
        file: the name of the file, for the message.

    Raises:
        InboxError: the events are those of another owner; nothing was changed.
    """
    found = notes.read(db, "owner")
    if found is None:
        (used,) = db.execute("SELECT EXISTS (SELECT 1 FROM events)").fetchone()
        found = RECEIVER if used else owner
        notes.write(db, "owner", found)
    if found != owner:
        raise InboxError(
            f"the events in {file} are those of {found!r} and not of {owner!r}, which would mark them as "
            "handled: give it a file of its own"
        )
