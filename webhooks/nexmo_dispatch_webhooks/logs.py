"""What the receiver logs: names, types and places, never a value that a customer or a handler supplied.

It sets up no handlers and no levels.
"""

from __future__ import annotations

import logging
import traceback

__all__ = ["log_failure", "logger"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_webhooks")


def log_failure(what: str, error: BaseException) -> None:
    """Type and place of an exception; not its message, which may quote what a customer wrote."""
    where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    logger.error("%s failed: %s\n%s", what, type(error).__qualname__, where)
