"""Ports that a test names before its server listens there, and that no other program gets meanwhile."""

from __future__ import annotations

import socket
import sys
from types import TracebackType
from typing import Self

__all__ = ["HeldPort"]


class HeldPort:
    """A port of loopback that refuses connections until a server of the test listens there.

    A port that was only found to be free may be gone when the server starts, or when it starts again: the
    system gives it to a server or a client of another test. While a socket is bound to a port, Linux gives it
    to no program that asks for any port; and where that socket does not listen, a server that asks for this
    port gets it, if both have SO_REUSEADDR, as servers have. Elsewhere it does not: there the port is free.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let others have the port."""
        self._socket.close()
