"""What the receiver logs: names, types and places, never a value that a customer or a handler supplied.

It sets up no handlers and no levels.
"""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from nexmo_dispatch_webhooks.traces import own_words, place

__all__ = ["BURST", "FailureLog", "current_event", "log_failure", "logger", "watchers"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_webhooks")
#: Who else learns of failures, and at which event: the client for tests, which raises them.
watchers: list[Callable[[str, BaseException, Any], None]] = []
#: The event whose handlers the current task runs; set only while a watcher is registered.
current_event: ContextVar[Any] = ContextVar("current_event", default=None)
#: For so many seconds after a traceback, the same failure is logged without one.
BURST: Final = 60.0
#: More different failures than a program has places where it fails.
_MOST: Final = 1000


class FailureLog:
    """Logs each failure in one line, and its traceback once per burst of failures of that kind and place.

    Args:
        monotonic: Gives seconds, for the length of a burst.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began: dict[tuple[type[BaseException], str], float] = {}

    def note(self, what: str, error: BaseException, more: str = "") -> None:
        """Log one failure.

        Args:
            what: `handler <name>` for whatever a handler failed with: the client for tests raises those.
            error: Only its types and places are logged, and its message where we wrote it.
            more: Goes to the end of the line, in parentheses.
        """
        now, key = self._monotonic(), (type(error), place(error))
        if now - self._began.get(key, -math.inf) < BURST:
            _log(what, error, more)
            return
        if len(self._began) >= _MOST:
            self._began.clear()
        self._began[key] = now
        _log(what, error, more, trace=True)


def log_failure(what: str, error: BaseException) -> None:
    """Log a rare failure, always with its traceback; see `FailureLog.note`."""
    _log(what, error, "", trace=True)


def _log(what: str, error: BaseException, more: str, *, trace: bool = False) -> None:
    words, where = own_words(error), place(error)
    logger.error(
        "%s failed: %s%s%s%s%s",
        what,
        type(error).__qualname__,
        words and f": {words}",
        where and f" at {where}",
        more and f" ({more})",
        # places only: `format_exception` would add the message
        "\n" + "".join(traceback.format_tb(error.__traceback__)).rstrip() if trace and where else "",
    )
    for watch in tuple(watchers):
        watch(what, error, current_event.get())
