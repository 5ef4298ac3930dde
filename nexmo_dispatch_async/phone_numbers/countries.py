"""National numbering plans: calling code, trunk prefix, length.

The table suffices for the numbers of a country's own customers; the extra `phone` knows every country.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COUNTRIES", "Country"]


class Country(NamedTuple):
    """A numbering plan.

    Attributes:
        code: Calling code.
        trunk: Trunk prefix, which is dialled before a national number.
        shortest: Minimum number of digits of a national number.
        longest: Maximum number of digits of a national number.
    """

    code: str
    trunk: str
    shortest: int
    longest: int


#: By ISO 3166 code; ITU-T E.164 annexes and the national plans (length without the trunk prefix).
COUNTRIES = {
    "AT": Country("43", "0", 7, 12),
    "AU": Country("61", "0", 9, 9),
    "BE": Country("32", "0", 8, 9),
    "BG": Country("359", "0", 8, 9),
    "CA": Country("1", "1", 10, 10),
    "CH": Country("41", "0", 9, 9),
    "CZ": Country("420", "", 9, 9),
    "DE": Country("49", "0", 6, 11),
    "DK": Country("45", "", 8, 8),
    "EE": Country("372", "", 7, 8),
    "ES": Country("34", "", 9, 9),
    "FI": Country("358", "0", 6, 10),
    "FR": Country("33", "0", 9, 9),
    "GB": Country("44", "0", 9, 10),
    "GR": Country("30", "", 10, 10),
    "HR": Country("385", "0", 8, 9),
    "HU": Country("36", "06", 8, 9),
    "IE": Country("353", "0", 7, 9),
    "IN": Country("91", "0", 10, 10),
    "IT": Country("39", "", 8, 11),
    "LT": Country("370", "0", 8, 8),
    "LU": Country("352", "", 6, 9),
    "LV": Country("371", "", 8, 8),
    "NL": Country("31", "0", 9, 9),
    "NO": Country("47", "", 8, 8),
    "NZ": Country("64", "0", 8, 10),
    "PL": Country("48", "", 9, 9),
    "PT": Country("351", "", 9, 9),
    "RO": Country("40", "0", 9, 9),
    "SE": Country("46", "0", 7, 9),
    "SI": Country("386", "0", 8, 8),
    "SK": Country("421", "0", 9, 9),
    "TR": Country("90", "0", 10, 10),
    "US": Country("1", "1", 10, 10),
    "ZA": Country("27", "0", 9, 9),
}
