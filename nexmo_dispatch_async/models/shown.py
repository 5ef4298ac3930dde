"""Makes `rich` show the same parts of a struct as its `__repr__`.

What a `__repr__` shows is for each struct to say.
"""

from typing import Any, cast

__all__ = ["AsShown"]


class AsShown:
    """Mixin, before `Struct`, for structs with a `__repr__`: msgspec would show `rich` every field."""

    __slots__ = ()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = repr(self).removeprefix("<").removeprefix(type(self).__name__)
        # `rich` writes the name and the brackets itself.
        inside = shown[1:-1] if shown.startswith("(") else shown.removesuffix(">").strip()
        return cast("list[tuple[str, Any]]", [_Verbatim(inside)])


class _Verbatim(str):
    """Text that is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
