"""Which connections have carried a response before, and how long an idle connection may still be used.

A service may close an idle connection in the instant in which a request is written: then bytes were sent, and
the outcome is unknown. Many services announce their idle timeout in `Keep-Alive: timeout=N` (RFC 2068,
19.7.1.1). This module holds no connection open and closes none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from weakref import ReferenceType, ref

__all__ = ["KEEPALIVE_TIMEOUT", "KeptConnection", "KeptConnections", "usable_seconds"]

#: How long an idle connection is kept unless a setting or the service says otherwise, in seconds.
KEEPALIVE_TIMEOUT = 15.0

_TIMEOUT = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?(\d{1,9})", re.IGNORECASE)

# A request takes time to arrive, and the timers of services are coarse.
_MARGIN = 1.0


def usable_seconds(keep_alive: str) -> float | None:
    """Return how long a connection may be used after a request, by the `Keep-Alive` header of the response.

    Returns:
        The announced seconds minus one, or half of them if that is more; `None` if the header announces none.
    """
    found = _TIMEOUT.search(keep_alive)
    if found is None:
        return None
    seconds = int(found[1])
    return seconds - min(_MARGIN, seconds / 2)


class KeptConnection:
    """The known facts of one connection.

    Args:
        connection: The object that represents the connection.
        forget: Called with the weak reference to the object when the object is gone.
    """

    __slots__ = ("reference", "socket", "until")

    def __init__(
        self, connection: object, forget: Callable[[ReferenceType[object]], object] | None = None
    ) -> None:
        self.reference: ReferenceType[object] = ref(connection, forget)
        #: End of its usability, by the clock; `None` before its first response.
        self.until: float | None = None
        #: The facts of its socket that `progress` has looked up.
        self.socket: object = None


class KeptConnections:
    """The known facts of the connections of a client, by the object that represents a connection.

    Args:
        clock: Monotonic seconds.
    """

    __slots__ = ("_known", "clock")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock: Callable[[], float] = clock
        # By identity, which costs a third of a `WeakKeyDictionary`; no connection is kept in memory by it
        self._known: dict[int, KeptConnection] = {}

    def of(self, connection: object) -> KeptConnection:
        """Return the known facts of a connection."""
        identity = id(connection)
        known = self._known.get(identity)
        if known is None or known.reference() is not connection:
            forget = partial(_forget, self._known, identity)
            known = self._known[identity] = KeptConnection(connection, forget)
        return known

    def answered(self, connection: object, keep_alive: str | None, sent: float) -> None:
        """Record a response.

        Args:
            connection: The connection of the response.
            keep_alive: The `Keep-Alive` header of the response.
            sent: When the request was written, by the clock. The service counts from its response, which is
                later; but the time that the response was in transit, or here unread, is unknown.
        """
        usable = None if keep_alive is None else usable_seconds(keep_alive)
        self.of(connection).until = math.inf if usable is None else sent + usable


def _forget(known: dict[int, KeptConnection], identity: int, reference: ReferenceType[object]) -> None:
    """Drop the facts of a connection that is gone, unless another one has its identity by now."""
    found = known.get(identity)
    if found is not None and found.reference is reference:
        del known[identity]
