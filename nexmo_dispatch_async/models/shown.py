"""Has `rich` show of a struct what its `__repr__` shows, and nothing else.

What a `__repr__` shows is for each struct to say.
"""

from typing import Any, cast

__all__ = ["AsShown"]


class AsShown:
    """Base, before `Struct`, of what has a `__repr__` of its own: msgspec would hand `rich` every field."""

    __slots__ = ()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = repr(self).removeprefix("<").removeprefix(type(self).__name__)
        # `rich` writes the name and the brackets itself.
        inside = shown[1:-1] if shown.startswith("(") else shown.removesuffix(">").strip()
        return cast("list[tuple[str, Any]]", [_Verbatim(inside)])


class _Verbatim(str):
    """A text that is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
