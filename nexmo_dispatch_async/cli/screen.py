"""All output of the command, with the control characters of any text escaped.

Texts come from customers, from servers and from files. Their escape sequences could move the cursor, rewrite
lines or set the title of a window, and bidirectional overrides make a line read as another one. So no other
module of the command prints.
"""

from __future__ import annotations

import json
import logging
import traceback

from rich.console import Console
from rich.text import Text

__all__ = ["Part", "ScreenHandler", "printable", "report", "show"]

#: A text, or a text and its style in rich.
Part = str | tuple[str, str]


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text with its control, format and separator characters escaped as in JSON.

    These are ESC, C0 and C1, bidirectional overrides, separators of lines and paragraphs, and lone
    surrogates. Escaped JSON has the same value as before.

    Args:
        text: Any text.
        lines: Keep line ends and tabs; `\r\n` counts as one line end.
    """
    if text.isprintable():
        return text
    if lines:
        text = text.replace("\r\n", "\n")
    kept = "\n\t" if lines else ""
    return "".join(
        character if character.isprintable() or character in kept else json.dumps(character)[1:-1]
        for character in text
    )


def show(*parts: Part, to: Console | None = None, error: bool = False, lines: bool = False) -> None:
    """Print a line without markup and without wrapping.

    Args:
        *parts: The parts of the line, printed without separators.
        to: The console; None for standard output.
        error: Print to standard error; ignored if *to* is given.
        lines: Whether the text may have several lines.
    """
    console = to or Console(highlight=False, stderr=error)
    text = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        text.append(_encodable(printable(words, lines=lines), console.encoding), style or None)
    console.print(text, soft_wrap=True, highlight=False)


class ScreenHandler(logging.Handler):
    """Prints warnings and errors of the libraries to standard error."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, with the lines of its traceback."""
        try:
            show(self.format(record), error=True, lines=True)
        except Exception:  # noqa: BLE001 - as in `logging`: a failure to log must not stop the program
            self.handleError(record)


def report(error: Exception) -> None:
    """Print an exception that nothing caught, with its traceback."""
    show("".join(traceback.format_exception(error)).rstrip(), error=True, lines=True)


def _encodable(text: str, encoding: str) -> str:
    """Return a text with the characters that the encoding of the terminal lacks escaped."""
    return text.encode(encoding, "backslashreplace").decode(encoding)
