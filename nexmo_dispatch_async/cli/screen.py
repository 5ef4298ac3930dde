"""The one place where the command prints: what a terminal would act on is escaped, whoever wrote it.

Texts come from customers, from servers and from files. Their escape sequences could move the cursor, rewrite
lines or set the title of a window, and characters that turn the direction of writing make a line read as
another one. So no other module of the command prints.
"""

from __future__ import annotations

import json
import logging
import traceback

from rich.console import Console
from rich.text import Text

__all__ = ["Part", "ScreenHandler", "printable", "report", "show"]

#: A text, or a text and the style of rich that it is printed in.
Part = str | tuple[str, str]


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text whose control, format and separating characters are escapes, as JSON writes them.

    That covers ESC, C0 and C1, overrides of the direction, separators of lines and paragraphs, and half
    surrogates. JSON that is escaped so stays the same JSON.

    Args:
        text: whatever it is.
        lines: keep the ends of lines and tabs; `\r\n` is one end of a line.
    """
    if text.isprintable():
        return text
    if lines:
        text = text.replace("\r\n", "\n")
    kept = "\n\t" if lines else ""
    return "".join(
        letter if letter.isprintable() or letter in kept else json.dumps(letter)[1:-1] for letter in text
    )


def show(*parts: Part, to: Console | None = None, error: bool = False, lines: bool = False) -> None:
    """Print a line, without markup and as long as it is.

    Args:
        *parts: what stands on it, with nothing in between.
        to: where to; a console of our own if None.
        error: to the standard error output, when *to* is None.
        lines: the text may have several lines.
    """
    console = to or Console(highlight=False, stderr=error)
    text = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        text.append(_encodable(printable(words, lines=lines), console.encoding), style or None)
    console.print(text, soft_wrap=True, highlight=False)


class ScreenHandler(logging.Handler):
    """Prints warnings and errors of the libraries to the standard error output."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; its traceback has lines."""
        try:
            show(self.format(record), error=True, lines=True)
        except Exception:  # noqa: BLE001 - the rule of `logging`: what cannot be logged stops nothing
            self.handleError(record)


def report(error: Exception) -> None:
    """Print an exception that nothing caught, with its traceback."""
    show("".join(traceback.format_exception(error)).rstrip(), error=True, lines=True)


def _encodable(text: str, encoding: str) -> str:
    """A text in which letters that the terminal's encoding lacks are escapes."""
    return text.encode(encoding, "backslashreplace").decode(encoding)
