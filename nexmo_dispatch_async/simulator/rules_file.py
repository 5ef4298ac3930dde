"""Reads the rules file of a simulator: who behaves how, what goes wrong, which switches are set.

It only spreads the tables to those who know them; the table of people is in `people.py`, that of faults in
`faults.py`.
"""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Final, cast

import msgspec

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator.world.faults import Faults
from nexmo_dispatch_async.simulator.world.people import People
from nexmo_dispatch_async.simulator.world.settings import Settings

__all__ = ["load_rules"]

_TABLES: Final = ("default", "people", "fault", "settings")


def load_rules(path: str | Path, *, people: People, faults: Faults, settings: Settings) -> None:
    """Add what a rules file says.

    Args:
        path: A TOML file with `[default]`, `[[people]]`, `[[fault]]` and `[settings]`, all optional.
        people: Learn the first two.
        faults: Learn the third.
        settings: Learn the fourth.

    Raises:
        ConfigurationError: The file cannot be read or says something that is not in the tables.
    """
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the rules file {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the rules are not TOML: {error}") from error
    unknown = sorted(document.keys() - set(_TABLES))
    if unknown:
        raise ConfigurationError(f"the rules have no table {unknown[0]!r}; known: {', '.join(_TABLES)}")
    _apply(document.get("settings", {}), settings)
    people.add_rules({name: table for name, table in document.items() if name in ("default", "people")})
    entries = document.get("fault", [])
    if not isinstance(entries, list):
        raise ConfigurationError("the rules write faults as [[fault]], one table a fault")
    for number, entry in enumerate(cast("list[object]", entries), 1):
        try:
            faults.add(cast("dict[str, object]", entry))
        except (ConfigurationError, TypeError, ValueError) as error:
            raise ConfigurationError(f"[[fault]] number {number}: {error}") from None


def _apply(table: object, settings: Settings) -> None:
    """Set the switches that a table names; decimals are written as texts."""
    known = {field.name for field in fields(Settings)}
    if not isinstance(table, dict):
        raise ConfigurationError("[settings] is a table")
    changes = cast("dict[str, object]", table)
    unknown = sorted(changes.keys() - known)
    if unknown:
        raise ConfigurationError(
            f"[settings] has no switch {unknown[0]!r}; known: {', '.join(sorted(known))}"
        )
    try:
        wanted = msgspec.convert(changes, Settings)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"[settings]: {error}") from error
    for name in changes:
        setattr(settings, name, getattr(wanted, name))
