"""Waiting for a transaction that must not be cut short."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

__all__ = ["settled"]


async def settled(task: asyncio.Future[Any]) -> bool:
    """Wait until a transaction is over, however often that is cancelled; return whether it was made."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return not task.cancelled() and task.exception() is None
