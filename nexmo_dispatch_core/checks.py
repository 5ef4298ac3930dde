"""Checks of settings at construction, so that a wrong setting does not fail in a later call.

Every message contains the setting, the rule and the value; for a value that may be a secret, only its type.
Each package makes one `Checks` with its own error class.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeGuard, cast

__all__ = ["DAY", "LARGEST", "Checks", "unencodable", "unstorable"]

#: The longest lease, timeout and interval of a store, in seconds.
DAY: Final = 86_400.0
#: The largest whole number that every store takes.
LARGEST: Final = (1 << 63) - 1
#: Bits of a number that a message shows.
_LONG = 128
#: The first second after the year 9999: milliseconds of this century are beyond it.
_YEAR_10000 = 253_402_300_800
_NUL = "holds a NUL character, which not every store takes: leave it out"


class Checks:
    """Refuses wrong settings.

    Args:
        error: The class of the errors to raise; it takes the message.
    """

    def __init__(self, error: Callable[[str], Exception]) -> None:
        self._error = error

    def instance(self, name: str, value: object, kind: type, *, advice: str = "") -> None:
        """Require an instance of a class, and not the class itself.

        Args:
            name: The setting.
            value: What was given.
            kind: The class.
            advice: What to do instead, for the message.

        Raises:
            Exception: An error of the class of these checks, as in every method here.
        """
        if not isinstance(value, kind):
            given = f"{value.__qualname__} itself" if isinstance(value, type) else type(value).__qualname__
            raise self._error(
                f"{name} must be of type {kind.__qualname__}, not {given}{advice and f': {advice}'}"
            )

    def count(
        self, name: str, value: object, *, least: int = 1, most: float = math.inf, advice: str = ""
    ) -> None:
        """Require a whole number from *least* to *most*; *advice* says what to write instead."""
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            rule = f"at least {least}" if math.isinf(most) else f"from {least} to {most}"
            advice = advice and f": {advice}"
            raise self._error(f"{name} must be a whole number, {rule}, not {_shown(value)}{advice}")

    def seconds(
        self,
        name: str,
        value: object,
        *,
        least: float = 0.0,
        most: float = math.inf,
        zero: bool = True,
        none: bool = False,
    ) -> None:
        """Require a number of seconds from *least* to *most*.

        Args:
            name: The setting.
            value: What was given.
            least: The smallest number.
            most: The largest number.
            zero: Whether 0 is allowed.
            none: Whether None is allowed.
        """
        if value is None and none:
            return
        if not _is_number(value) or not least <= value <= most or not (value or zero):
            rule = f"at least {least:g}" if zero else "above 0"
            rule += "" if math.isinf(most) else f" and at most {most:.0f}"
            rule += ", or None" if none else ""
            advice = ": write its total_seconds()" if isinstance(value, timedelta) else ""
            raise self._error(f"{name} must be a number of seconds, {rule}, not {_shown(value)}{advice}")

    def epoch(self, name: str, value: object) -> None:
        """Require epoch seconds, which a store compares with the times of its rows.

        A store may take any text, such as that of a `datetime`, for later than every number.
        """
        if not _is_number(value) or not -_YEAR_10000 < value < _YEAR_10000:
            raise self._error(
                f"{name} must be epoch seconds, a finite number below the year 10000, "
                f"not {_shown(value)}: write datetime.timestamp()"
            )

    def number(self, name: str, value: object, *, least: float = 0.0, most: float = math.inf) -> None:
        """Require a number from *least* to *most*."""
        if not _is_number(value) or not least <= value <= most:
            rule = f"at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
            raise self._error(f"{name} must be a number, {rule}, not {_shown(value)}")

    def replicas(self, value: object) -> None:
        """Require a number of replicas that JetStream elects a leader among, or None."""
        if value is not None and (isinstance(value, bool) or value not in (1, 3, 5)):
            raise self._error("replicas must be 1, 3 or 5, or None")

    def function(self, name: str, value: object) -> None:
        """Require a function or another callable."""
        if not callable(value):
            raise self._error(f"{name} must be a function, not {_shown(value)}")

    def texts(self, **texts: object) -> None:
        """Require texts that can be stored and sent, by their names; no message shows a text."""
        for name, text in texts.items():
            if not isinstance(text, str):
                raise self._error(f"{name} must be text, not {type(text).__qualname__}")
            if why := unstorable(text):
                raise self._error(f"{name} {why}")

    def path(self, name: str, value: object) -> None:
        """Require the path of a file."""
        if not isinstance(value, str | os.PathLike):
            raise self._error(f"{name} must be the path of a file, not {type(value).__qualname__}")
        if "\0" in os.fsdecode(cast("str | os.PathLike[str]", value)):
            raise self._error(f"{name} {_NUL}")

    def share(self, name: str, value: object, *, none: bool = False) -> None:
        """Require a number above 0 and at most 1, or None where *none* is true."""
        if (value is not None or not none) and not (_is_number(value) and 0 < value <= 1):
            rule = "above 0 and at most 1" + (", or None" if none else "")
            raise self._error(f"{name} must be a number {rule}, not {_shown(value)}: write 0.05 for 5 %")

    def choice(self, name: str, value: object, choices: tuple[str, ...]) -> None:
        """Require one of several words."""
        if value not in choices:
            raise self._error(f"{name} must be {' or '.join(choices)}, not {_shown(value)}")


def unencodable(text: str) -> str:
    """Return why a text has no bytes in UTF-8, in words that follow its name; `""` if it has."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half a surrogate pair, which is no character: repair the text"
    return ""


def unstorable(text: str) -> str:
    """Return why not every store takes a text, in words that follow its name; `""` if each does."""
    return unencodable(text) or (_NUL if "\0" in text else "")


def _is_number(value: object) -> TypeGuard[float]:
    # `math.isnan` fails for a whole number beyond all floats; only NaN differs from itself
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124


def _shown(value: object) -> str:
    """Return a number as text, and the type of any other value, which may be a misplaced secret."""
    if isinstance(value, int) and value.bit_length() > _LONG:  # Python writes no number of 4,300 digits
        return f"a number of {value.bit_length()} bits"
    return repr(value) if isinstance(value, int | float) or value is None else type(value).__qualname__
