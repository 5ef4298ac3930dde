"""The places of ledgers and opt-out lists in a campaign file: paths, URLs, and variables that hold them.

A URL holds credentials, so a file names the variable that has it: `ledger = "$NEXMO_DISPATCH_STORE"`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from nexmo_dispatch_async.bulk.ledger.places import STORES, engine_of, is_url

__all__ = ["STORE", "Places", "without_urls"]

#: The variable that names the store, in commands and in the files that a ledger keeps.
STORE: Final = "NEXMO_DISPATCH_STORE"


class Places:
    """Reads places of a campaign file.

    Args:
        folder: Folder of relative paths.
        environ: The variables.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ

    def read(self, value: object) -> str:
        """Return a path or a URL.

        Raises:
            ValueError: The value is no text, its variable is not set, or the URL is that of no database.
        """
        if not isinstance(value, str):
            raise ValueError('must be a text in quotes, such as "…"')  # noqa: TRY004 - a wrong value
        if "\0" in value:
            raise ValueError("must not hold a NUL character")
        name = value.removeprefix("$")
        is_variable = value.startswith("$") and name.isidentifier()
        place = self._environ.get(name, "") if is_variable else value
        if is_variable and not place:
            raise ValueError(f"names the environment variable {name}, which is not set")
        if not is_url(place):
            return str(self._folder / place) if place else ""
        if engine_of(place) is None:
            raise ValueError(f"must be the path of a file, {STORES}")
        return place

    def read_all(self, value: object) -> tuple[str, ...]:
        """Return the places of a list; one text is a list of one.

        Raises:
            ValueError: See `read`.
        """
        values: list[object] = cast("list[object]", value) if isinstance(value, list) else [value]
        return tuple(self.read(each) for each in values)


def without_urls(text: str, values: Mapping[str, Any]) -> str:
    """Return the text of a campaign file with `$NEXMO_DISPATCH_STORE` in the place of each URL.

    Args:
        text: TOML that can be read.
        values: What it says.

    Returns:
        The text; `""` where a URL is spelled with escapes, and cannot be taken out.
    """
    for place in sorted(_stores(values), key=len, reverse=True):
        text = text.replace(place, f"${STORE}")
    return "" if any(is_url(place) for place in _stores(tomllib.loads(text))) else text


def _stores(values: Mapping[str, Any]) -> list[str]:
    """Return the places that are URLs or variables, as they stand in the file."""
    people = values.get("people", {})
    excluded = people.get("exclude", [])
    places = [values["campaign"]["ledger"], people.get("file", "")]
    places += [excluded] if isinstance(excluded, str) else excluded
    return [place for place in places if is_url(place) or place.startswith("$")]
