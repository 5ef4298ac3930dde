"""What kind of trouble an error code of contract 6 is: wait, give up, mend the account, mend the request.

A class is a reading of the code, not a promise of the service. Callbacks carry the same codes; the receiver,
which works without this package, has its own copy of the table.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["ERROR_CLASSES", "ErrorClass", "class_of_code"]

ErrorClass = Literal["temporary", "permanent", "configuration", "request", "unknown"]

# Contract 6.1, last column: T, P, C and R.
_TEMPORARY = (1000, 1030, 1100, 1180, 1220, 1230, 1241, 1290, 1330, 1331, 1460, 1461, 1490)
_PERMANENT = (
    *(1050, 1190, 1200, 1210, 1240, 1250, 1251, 1260, 1270, 1280, 1282),
    *(1300, 1310, 1320, 1360, 2001, 2002, 2003),
)
_CONFIGURATION = (
    *(1060, 1070, 1080, 1110, 1140, 1160, 1242, 1350, 1370),
    *(1470, 1472, 1473, 1474, 1475, 1476, 1480, 1481, 1482, 1483, 1484),
)
_REQUEST = (
    *(1010, 1020, 1021, 1022, 1040, 1090, 1120, 1130, 1150, 1170, 1340, 1380, 1381, 1382),
    *(1400, 1410, 1420, 1430, 1431, 1440, 1450, 1451),
)

ERROR_CLASSES: dict[int, ErrorClass] = {
    **dict.fromkeys(_TEMPORARY, "temporary"),
    **dict.fromkeys(_PERMANENT, "permanent"),
    **dict.fromkeys(_CONFIGURATION, "configuration"),
    **dict.fromkeys(_REQUEST, "request"),
}

# Contract 6.2, where the status alone would say something else. It has names instead of numbers.
_NAMES: dict[str, ErrorClass] = {
    "low-balance": "configuration",
    "unprovisioned": "configuration",
    "account-suspended": "configuration",
    "application-suspended": "configuration",
    "invalid-ip": "configuration",
    "unavailable-legal": "permanent",
    "throttled": "temporary",
    "rate-limit": "temporary",
}


def class_of_code(code: str) -> ErrorClass | None:
    """Return the class of a number of contract 6.1 or a name of 6.2, `None` for any other code."""
    if code.isascii() and code.isdecimal() and len(code) == 4:
        return ERROR_CLASSES.get(int(code))
    return _NAMES.get(code)
