"""The event loop that everything here runs in, which is one of asyncio."""

from __future__ import annotations

import asyncio

from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["running_loop"]


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop.

    Raises:
        ConfigurationError: None of asyncio runs: the coroutine is run by trio, say, or by hand.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "no event loop of asyncio runs: use asyncio.run(…), or the asyncio backend of anyio; trio is not "
            "supported"
        ) from None
