"""Waits for a transaction that must not be cut short."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

__all__ = ["settled"]


async def settled(task: asyncio.Future[Any]) -> bool:
    """Wait for the end of a transaction despite cancellations; return whether it was committed."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return not task.cancelled() and task.exception() is None
