"""A server for as long as a block lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

__all__ = ["started"]


class _Server(Protocol):
    def start(self) -> None: ...

    def remove(self) -> None: ...


S = TypeVar("S", bound=_Server)


@contextmanager
def started(server: S) -> Iterator[S]:
    """Start a server, and remove it in the end: also when the time of a test is over while it starts."""
    try:
        server.start()
        yield server
    finally:
        server.remove()
