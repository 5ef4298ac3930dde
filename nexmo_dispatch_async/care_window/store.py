"""`WindowStore`: keeps the time of each customer's last message; the protocol, and the store in memory."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["MemoryWindowStore", "WindowStore"]


class WindowStore(Protocol):
    """Keeps the time of each customer's last message. Calls come from one thread at a time."""

    def last(self, channel: str, customer: str) -> datetime | None:
        """When this customer wrote last, in UTC."""
        ...

    def record(self, channel: str, customer: str, at: datetime) -> None:
        """Note a message; an earlier moment than the one known changes nothing."""
        ...

    def forget_before(self, moment: datetime) -> int:
        """Drop customers who wrote last before a moment; returns how many."""
        ...


class MemoryWindowStore:
    """Keeps the moments in memory; after a restart windows count as closed until customers write again."""

    def __init__(self) -> None:
        self._moments: dict[tuple[str, str], datetime] = {}

    def last(self, channel: str, customer: str) -> datetime | None:
        """When this customer wrote last, in UTC."""
        return self._moments.get((channel, customer))

    def record(self, channel: str, customer: str, at: datetime) -> None:
        """Note a message; an earlier moment than the one known changes nothing."""
        key = (channel, customer)
        self._moments[key] = max(at, self._moments.get(key, at))

    def forget_before(self, moment: datetime) -> int:
        """Drop customers who wrote last before a moment; returns how many."""
        old = [key for key, at in self._moments.items() if at < moment]
        for key in old:
            del self._moments[key]
        return len(old)

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<MemoryWindowStore of {len(self._moments)}>"
