"""Reads the configuration file of a simulator: people, faults and switches.

The table of people is defined in `world/people.py`, that of faults in `world/faults.py`.
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

__all__ = ["load_config"]

_TABLES: Final = ("default", "people", "fault", "settings")


def load_config(path: str | Path, *, people: People, faults: Faults, settings: Settings) -> None:
    """Read a configuration file into people, faults and settings.

    Args:
        path: A TOML file with `[default]`, `[[people]]`, `[[fault]]` and `[settings]`, all optional.
        people: Receives `[default]` and `[[people]]`.
        faults: Receives `[[fault]]`.
        settings: Receives `[settings]`.

    Raises:
        ConfigurationError: The file cannot be read, or has an unknown table, key or value.
    """
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the configuration file {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the configuration file {path} is not TOML: {error}") from error
    unknown = sorted(document.keys() - set(_TABLES))
    if unknown:
        raise ConfigurationError(
            f"the configuration file has an unknown table {unknown[0]!r}; known: {', '.join(_TABLES)}"
        )
    _apply(document.get("settings", {}), settings)
    people.add_tables({name: table for name, table in document.items() if name in ("default", "people")})
    entries = document.get("fault", [])
    if not isinstance(entries, list):
        raise ConfigurationError("faults are written as [[fault]], one table per fault")
    for number, entry in enumerate(cast("list[object]", entries), 1):
        try:
            faults.add(cast("dict[str, object]", entry))
        except (ConfigurationError, TypeError, ValueError) as error:
            raise ConfigurationError(f"[[fault]] number {number}: {error}") from None


def _apply(table: object, settings: Settings) -> None:
    """Set the switches of a table; decimals are written as strings."""
    known = {field.name for field in fields(Settings)}
    if not isinstance(table, dict):
        raise ConfigurationError("[settings] must be a table")
    changes = cast("dict[str, object]", table)
    unknown = sorted(changes.keys() - known)
    if unknown:
        raise ConfigurationError(
            f"[settings] has an unknown switch {unknown[0]!r}; known: {', '.join(sorted(known))}"
        )
    try:
        values = msgspec.convert(changes, Settings)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"[settings]: {error}") from error
    for name in changes:
        setattr(settings, name, getattr(values, name))
