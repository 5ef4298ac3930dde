"""What the receiver logs: names, types and places, never a value that a customer or a handler supplied.

It sets up no handlers and no levels.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from nexmo_dispatch_webhooks.exceptions import WebhookError

__all__ = ["current_event", "log_failure", "logger", "watchers"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_webhooks")
#: Who else learns of failures, and at which event: the client for tests, which raises them.
watchers: list[Callable[[str, BaseException, Any], None]] = []
#: The event whose handlers the current task runs; set only while somebody watches.
current_event: ContextVar[Any] = ContextVar("current_event", default=None)


def log_failure(what: str, error: BaseException) -> None:
    """Type and place of an exception; its message only where we wrote it, others may quote a customer.

    *what* is `handler <name>` for whatever a handler failed with: the client for tests raises those.
    """
    where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    said = f": {error}" if isinstance(error, WebhookError) and _is_raised_here(error) else ""
    logger.error("%s failed: %s%s\n%s", what, type(error).__qualname__, said, where)
    for watch in tuple(watchers):
        watch(what, error, current_event.get())


def _is_raised_here(error: BaseException) -> bool:
    """Whether this package raised it: a handler may fill our classes with words of its own."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    module = "" if place is None else str(place.tb_frame.f_globals.get("__name__"))
    return module.partition(".")[0] == __name__.partition(".")[0]
