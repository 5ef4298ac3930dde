"""`Bursts`: one log line for many events with one cause, and the number of those that were not logged.

It logs nothing itself.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from typing import Final

from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["BURST", "Bursts", "cause_of"]

#: For so many seconds after a line, further lines with the same cause are counted and not logged.
BURST: Final = 60.0
#: More causes than a program has; peers and applications may make up more.
MOST: Final = 1000

_NUMBER = re.compile(r"\d+")


def cause_of(text: str) -> str:
    """Return a text without its numbers: two texts that differ only in sizes or ids have one cause."""
    return _NUMBER.sub("#", text)


class Bursts:
    """Says of each event whether it is logged: the first with its cause in a minute is.

    Args:
        monotonic: Gives seconds, for the length of a burst.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        # by cause: when its last line was written, and how many events came since without one
        self._causes: dict[tuple[object, ...], tuple[float, int]] = {}

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Bursts of {len(self._causes)} causes>"

    def __len__(self) -> int:
        return len(self._causes)

    def begin(self, *cause: object) -> str | None:
        """Return the end of the log line for an event; None if the event is counted and not logged.

        The end is `" (7 more since the last such line)"`, or nothing where no event was left out.

        Args:
            *cause: What events that share a line have in common; hashable.
        """
        now = self._monotonic()
        began, silent = self._causes.get(cause, (-math.inf, 0))
        if now - began < BURST:
            self._causes[cause] = began, silent + 1
            return None
        if len(self._causes) >= MOST:
            self._causes.clear()
        self._causes[cause] = now, 0
        return f" ({silent} more since the last such line)" if silent else ""
