"""What the receiver logs: names, types and places, never a value that a customer or a handler supplied.

It sets up no handlers and no levels.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from nexmo_dispatch_core.bursts import Bursts, cause_of
from nexmo_dispatch_webhooks.safe_traces import own_words, place

__all__ = ["FailureLog", "current_event", "log_failure", "logger", "watchers"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_webhooks")
#: Who else learns of failures, and at which event: the client for tests, which raises them.
watchers: list[Callable[[str, BaseException, Any], None]] = []
#: The event whose handlers the current task runs; set only while a watcher is registered.
current_event: ContextVar[Any] = ContextVar("current_event", default=None)


class FailureLog:
    """Logs one failure, with its traceback, of each burst of failures of one class at one place.

    Args:
        monotonic: Gives seconds, for the length of a burst.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._bursts = Bursts(monotonic)

    def note(self, what: str, error: BaseException, more: str = "") -> None:
        """Log one failure, or count it for the next line; the inbox keeps what failed with each event.

        Args:
            what: `handler <name>` for whatever a handler failed with: the client for tests raises those.
            error: Only its types and places are logged, and its message where we wrote it.
            more: Goes to the end of the line, in parentheses.
        """
        count = self._bursts.begin(cause_of(what), type(error), place(error))
        if count is not None:
            _log(what, error, more, count)
        for watch in tuple(watchers):
            watch(what, error, current_event.get())


def log_failure(what: str, error: BaseException) -> None:
    """Log a rare failure, always with its traceback; see `FailureLog.note`."""
    _log(what, error)
    for watch in tuple(watchers):
        watch(what, error, current_event.get())


def _log(what: str, error: BaseException, more: str = "", count: str = "") -> None:
    words, where = own_words(error), place(error)
    logger.error(
        "%s failed: %s%s%s%s%s%s",
        what,
        type(error).__qualname__,
        words and f": {words}",
        where and f" at {where}",
        more and f" ({more})",
        count,
        # places only: `format_exception` would add the message
        "\n" + "".join(traceback.format_tb(error.__traceback__)).rstrip() if where else "",
    )
