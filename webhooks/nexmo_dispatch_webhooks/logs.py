"""What the receiver logs: names, types and places, never a value that a customer or a handler supplied.

It sets up no handlers and no levels.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

__all__ = ["current_event", "log_failure", "logger", "watchers"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_webhooks")
#: Who else learns of failures, and at which event: the client for tests, which raises them.
watchers: list[Callable[[str, BaseException, Any], None]] = []
#: The event whose handlers the current task runs; set only while somebody watches.
current_event: ContextVar[Any] = ContextVar("current_event", default=None)


def log_failure(what: str, error: BaseException) -> None:
    """Type and place of an exception; not its message, which may quote what a customer wrote.

    *what* is `handler <name>` for whatever a handler failed with: the client for tests raises those.
    """
    where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    logger.error("%s failed: %s\n%s", what, type(error).__qualname__, where)
    for watch in tuple(watchers):
        watch(what, error, current_event.get())
