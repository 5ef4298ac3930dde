"""`MalformedRequestFilter`: one line of log for a request that is not HTTP, where aiohttp writes a traceback.

It installs itself nowhere: logging is the application's.
"""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError

__all__ = ["MalformedRequestFilter"]


class MalformedRequestFilter(logging.Filter):
    """For aiohttp's own logger: `logging.getLogger("aiohttp.server").addFilter(MalformedRequestFilter())`.

    What is not HTTP never reaches the receiver: aiohttp answers 400 and logs an error with a traceback and
    the address of the client, which anybody on the network can make it do for ever. Such a record becomes a
    short warning; all others pass as they are.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the record of a malformed request; keep every record."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = (
                "refused with %d: malformed HTTP (%s)",
                (error.code, type(error).__name__),
            )
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return True
