"""Which connections have answered before, and how long an idle one may still be used.

A service that closes idle connections may do so in the instant in which a request is written: then bytes
left, and the outcome is unknown. Many say in advance when that will be, in `Keep-Alive: timeout=N`
(RFC 2068, 19.7.1.1). This module holds no connection open and closes none.
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

# A request takes its time to get there, and timers of services are coarse.
_MARGIN = 1.0


def usable_seconds(keep_alive: str) -> float | None:
    """Return how long a connection may be used after a request, by the `Keep-Alive` header of its answer.

    It is the time that the service names minus a second, and at least minus the half of it. `None` if the
    header names none.
    """
    found = _TIMEOUT.search(keep_alive)
    if found is None:
        return None
    seconds = int(found[1])
    return seconds - min(_MARGIN, seconds / 2)


class KeptConnection:
    """What is known of one connection.

    Args:
        connection: The object that stands for it.
        forget: Called with the weak reference to it when it is gone.
    """

    __slots__ = ("reference", "socket", "until")

    def __init__(
        self, connection: object, forget: Callable[[ReferenceType[object]], object] | None = None
    ) -> None:
        self.reference: ReferenceType[object] = ref(connection, forget)
        #: Until when it is usable, by the clock; `None` if it did not answer yet.
        self.until: float | None = None
        #: What `progress` found out about its socket, to look it up once only.
        self.socket: object = None


class KeptConnections:
    """The connections of a client, by whatever object stands for one.

    Args:
        clock: Monotonic seconds.
    """

    __slots__ = ("_known", "clock")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock: Callable[[], float] = clock
        # By identity, which costs a third of a `WeakKeyDictionary`; no connection is kept in memory by it
        self._known: dict[int, KeptConnection] = {}

    def of(self, connection: object) -> KeptConnection:
        """Return what is known of a connection."""
        identity = id(connection)
        known = self._known.get(identity)
        if known is None or known.reference() is not connection:
            forget = partial(_forget, self._known, identity)
            known = self._known[identity] = KeptConnection(connection, forget)
        return known

    def answered(self, connection: object, keep_alive: str | None, sent: float) -> None:
        """Record a response.

        Args:
            connection: The connection on which it arrived.
            keep_alive: Its `Keep-Alive` header.
            sent: When the request was written, by the clock. The service counts from its response, which is
                later; how long that was on its way, or lay here unread, cannot be seen.
        """
        usable = None if keep_alive is None else usable_seconds(keep_alive)
        self.of(connection).until = math.inf if usable is None else sent + usable


def _forget(known: dict[int, KeptConnection], identity: int, reference: ReferenceType[object]) -> None:
    """Drop what is known of a connection that is gone, unless another one has its identity by now."""
    found = known.get(identity)
    if found is not None and found.reference is reference:
        del known[identity]
