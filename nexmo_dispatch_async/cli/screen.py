"""All output of the command, with the control characters of any text escaped.

Texts come from customers, from servers and from files. Their escape sequences could move the cursor, rewrite
lines or set the title of a window, and bidirectional overrides make a line read as another one. So no other
module of the command prints.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from typing import Any, NoReturn

import msgspec
from rich.console import Console
from rich.text import Text

__all__ = ["Part", "Screen", "ScreenHandler", "leave_broken_pipe", "printable", "report", "show", "show_json"]

#: A text, or a text and its style in rich.
Part = str | tuple[str, str]


class Screen(Console):
    """A console that ends the command with 0 when the reader of its output has gone, as `head` does.

    Args:
        error: Whether it is standard error.
    """

    def __init__(self, *, error: bool = False) -> None:
        super().__init__(highlight=False, stderr=error)

    def on_broken_pipe(self) -> NoReturn:
        """End the command: what it would print has no reader."""
        self.quiet = True
        leave_broken_pipe()


def leave_broken_pipe() -> NoReturn:
    """End the process with 0, and let the interpreter find nothing to write to the broken pipe.

    Raises:
        SystemExit: Always.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    raise SystemExit(0)


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
    console = to or Screen(error=error)
    text = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        text.append(_encodable(printable(words, lines=lines), console.encoding), style or None)
    console.print(text, soft_wrap=True, highlight=False)


def show_json(value: Any, *, to: Console | None = None) -> None:
    """Print a value as one line of JSON.

    Args:
        value: Anything that msgspec encodes.
        to: The console; None for standard output.
    """
    show(msgspec.json.encode(value).decode(), to=to)


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
