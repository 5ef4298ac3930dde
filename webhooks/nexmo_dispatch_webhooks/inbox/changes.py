"""`Changes`: whether a store may hold changes that this process has not read, also after a cancelled call."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Changes"]

T = TypeVar("T")


class Changes:
    """Remembers changes until a read begins: a caller that is cancelled undoes nothing in the store.

    Attributes:
        unread: Whether there may be changes.
    """

    def __init__(self) -> None:
        self.unread: bool = False

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Changes {'unread' if self.unread else 'read'}>"

    async def made_by(self, call: Awaitable[T]) -> T:
        """Await a call that changes records."""
        try:
            return await call
        finally:
            self.unread = True

    async def found_by(self, look: Awaitable[bool]) -> bool:
        """Await a look for changes, which tells of each only once; return whether there are unread ones."""
        try:
            found = await look
        except BaseException:  # with what it may have found
            self.unread = True
            raise
        return found or self.unread
