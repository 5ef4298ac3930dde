"""`MalformedRequestFilter`: one log line for a malformed request, where aiohttp writes a traceback.

It installs itself nowhere: logging is the application's.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable

from aiohttp.http_exceptions import HttpProcessingError

from nexmo_dispatch_core.bursts import Bursts

__all__ = ["MalformedRequestFilter"]


class MalformedRequestFilter(logging.Filter):
    """For aiohttp's own logger: `logging.getLogger("aiohttp.server").addFilter(MalformedRequestFilter())`.

    A malformed request never reaches the receiver: aiohttp answers 400 and logs an error with a traceback and
    the address of the client, which any client could trigger at will. On unknown paths it does the same for
    an `Expect` header that is no text. Such a record becomes a short warning, and
    further ones of its kind are counted for a minute; all other records pass unchanged.

    Args:
        monotonic: Gives seconds, for the length of a burst.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._bursts = Bursts(monotonic)

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the first record of a burst of malformed requests, and drop the others."""
        error = record.exc_info[1] if record.exc_info else None
        code = error.code if isinstance(error, HttpProcessingError) else 500
        if isinstance(error, HttpProcessingError) or _quotes_what_was_expected(error):
            kind = type(error).__name__
            more = self._bursts.begin(kind)
            if more is None:
                return False
            record.msg, record.args = "refused with %d: malformed HTTP (%s)%s", (code, kind, more)
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return True


def _quotes_what_was_expected(error: BaseException | None) -> bool:
    """Return whether aiohttp failed to quote the bytes of an `Expect` header in its answer."""
    return isinstance(error, UnicodeEncodeError) and any(
        frame.f_code.co_name == "_default_expect_handler"
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )
