"""The `repr` of objects whose `__init__` raised: tracebacks and debuggers show these, too."""

import functools
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def shows_unfinished(show: Callable[[T], str]) -> Callable[[T], str]:
    """Decorate a `__repr__` that reads attributes, which an object whose `__init__` raised may not have."""

    @functools.wraps(show)
    def __repr__(self: T) -> str:  # noqa: N807 - the name that a traceback shows
        try:
            return show(self)
        except AttributeError as error:
            if error.obj is not self:  # a fault of what the object holds
                raise
            return f"<{type(self).__name__}: __init__ did not finish>"

    return __repr__
