"""What belongs to its process says so when it is pickled or copied."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex

from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["Unpicklable"]


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
