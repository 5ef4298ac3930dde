"""The parts of an exception that may be stored and logged: classes, places in the code, and our own messages.

The arguments of an exception and the variables of its frames may quote customers, so they are not read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final, cast

from nexmo_dispatch_webhooks.exceptions import WebhookError

__all__ = ["own_words", "place", "trace"]

_PACKAGE: Final = __name__.partition(".")[0]
#: The other packages of this distribution, of which the first raises errors of its own in handlers.
_SDK, _SHARED = "nexmo_dispatch_async", "nexmo_dispatch_core"
#: The innermost frames that are kept of an exception, the exceptions of a chain, the members of a group.
_FRAMES, _CHAIN, _MEMBERS = 12, 3, 8
#: The most letters of a line, and of all lines together.
_LINE, _ALL = 200, 4000


def place(error: BaseException) -> str:
    """Return the file and line where an exception was raised; empty when it was not raised."""
    frames = [*_frames(error)]
    return frames[-1].partition(" in ")[0] if frames else ""


def own_words(error: BaseException) -> str:
    """Return the message of an exception of ours, else nothing: others may quote a customer.

    So does one of the SDK about an argument, which is a `ValueError`; one about a store or a call does not.
    """
    of_the_sdk = _root(type(error).__module__) == _SDK and not isinstance(error, ValueError)
    return str(error) if (of_the_sdk or isinstance(error, WebhookError)) and _is_raised_here(error) else ""


def trace(error: BaseException) -> tuple[str, ...]:
    """Return the lines of a traceback without the message: `file:line in function`, outermost first.

    Those of the exception that caused it follow, under its class. The number and length of lines is bounded,
    since they are stored with an event.
    """
    lines: list[str] = []
    cause: BaseException | None = error
    for number in range(_CHAIN):
        if cause is None:
            break
        if number:
            lines.append(f"caused by {type(cause).__qualname__}")
        lines += _members(cause)
        frames = [*itertools.dropwhile(_is_ours, _frames(cause))] or [*_frames(cause)]
        if len(frames) > _FRAMES:
            lines.append(f"({len(frames) - _FRAMES} more)")
        lines += frames[-_FRAMES:]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    kept: list[str] = []
    letters = 0
    for line in lines:
        kept.append(line[-_LINE:])
        letters += len(kept[-1])
        if letters > _ALL:
            break
    return tuple(kept)


def _members(error: BaseException) -> list[str]:
    if not isinstance(error, BaseExceptionGroup):
        return []
    members = cast("BaseExceptionGroup[BaseException]", error).exceptions
    names = ", ".join(type(member).__qualname__ for member in members[:_MEMBERS])
    return [f"a group of {len(members)}: {names}"]


def _frames(error: BaseException) -> Iterator[str]:
    place = error.__traceback__
    while place is not None:
        code = place.tb_frame.f_code
        yield f"{code.co_filename}:{place.tb_lineno} in {code.co_qualname}"
        place = place.tb_next


def _is_ours(frame: str) -> bool:
    """Return whether a frame belongs to this package, between the caller and the handler."""
    return f"/{_PACKAGE}/" in frame.partition(" in ")[0].replace("\\", "/")


def _is_raised_here(error: BaseException) -> bool:
    """Return whether a package of ours raised the exception: a handler may raise our classes too."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    module = "" if place is None else str(place.tb_frame.f_globals.get("__name__"))
    return _root(module) in {_PACKAGE, _SDK, _SHARED}


def _root(module: str) -> str:
    return module.partition(".")[0]
