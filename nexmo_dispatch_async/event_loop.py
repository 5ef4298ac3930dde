"""What belongs to one process and one event loop of asyncio: finds the loop, refuses pickle and copy."""

from __future__ import annotations

import asyncio
from typing import NoReturn, SupportsIndex

from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["Unpicklable", "running_loop"]


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


class Unpicklable:
    """Base of what holds connections, tasks or files; `copy` and `pickle` ask the same method."""

    __slots__ = ()

    def __reduce_ex__(self, _protocol: SupportsIndex, /) -> NoReturn:
        """Refuse to be pickled or copied.

        Raises:
            ConfigurationError: Always.
        """
        name = type(self).__name__
        raise ConfigurationError(
            f"a {name} can be neither pickled nor copied: it holds what belongs to its process and event "
            f"loop. Make a {name} in each process, and hand over the settings"
        )
