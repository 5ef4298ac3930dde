"""Time zones of telephone numbers, for quiet hours of people whose zone the list does not name.

A country with several zones gives all of them: nothing is sent unless it is open in each.
"""

from __future__ import annotations

from functools import lru_cache

from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["NumberZones"]

_UNKNOWN = "Etc/Unknown"


class NumberZones:
    """Knows the zones of numbers, by the tables of `phonenumbers`.

    Raises:
        ConfigurationError: The extra `phone` is not installed.
    """

    def __init__(self) -> None:
        try:
            from phonenumbers.tzdata import TIMEZONE_DATA, TIMEZONE_LONGEST_PREFIX
        except ImportError:
            raise ConfigurationError(
                "time zones of numbers need phonenumbers: pip install 'nexmo-dispatch-async[phone]', "
                "or name a column with the zones"
            ) from None
        table: dict[str, tuple[str, ...]] = TIMEZONE_DATA
        longest: int = TIMEZONE_LONGEST_PREFIX

        @lru_cache(maxsize=4096)
        def find(start: str) -> str:
            for size in range(len(start), 0, -1):
                if (zones := table.get(start[:size])) is not None:
                    return "|".join(zone for zone in zones if zone != _UNKNOWN)
            return ""

        self._find = find
        self._longest = longest

    def __call__(self, number: str) -> str:
        """Return the IANA names of the zones of a number, joined by `|`; `""` if none is known.

        Args:
            number: In E.164 digits; anything else has no zone.
        """
        return self._find(number[: self._longest]) if number.isdigit() else ""
