"""`MalformedRequestFilter`: one log line for a malformed request, where aiohttp writes a traceback.

It installs itself nowhere: logging is the application's.
"""

from __future__ import annotations

import logging
import traceback

from aiohttp.http_exceptions import HttpProcessingError

__all__ = ["MalformedRequestFilter"]


class MalformedRequestFilter(logging.Filter):
    """For aiohttp's own logger: `logging.getLogger("aiohttp.server").addFilter(MalformedRequestFilter())`.

    A malformed request never reaches the receiver: aiohttp answers 400 and logs an error with a traceback and
    the address of the client, which any client could trigger at will. On unknown paths it does the same for
    an `Expect` header that is no text. Such a record becomes a short warning; all others pass unchanged.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the record of a malformed request; keep every record."""
        error = record.exc_info[1] if record.exc_info else None
        code = error.code if isinstance(error, HttpProcessingError) else 500
        if isinstance(error, HttpProcessingError) or _quotes_what_was_expected(error):
            record.msg, record.args = "refused with %d: malformed HTTP (%s)", (code, type(error).__name__)
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return True


def _quotes_what_was_expected(error: BaseException | None) -> bool:
    """Return whether aiohttp failed to quote the bytes of an `Expect` header in its answer."""
    return isinstance(error, UnicodeEncodeError) and any(
        frame.f_code.co_name == "_default_expect_handler"
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )
