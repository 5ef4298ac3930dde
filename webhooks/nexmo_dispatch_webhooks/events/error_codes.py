"""The asynchronous error codes of contract 6.1 and the class of each.

The class is a reading, not a promise of the service: it does not decide about failover (contract 6.1).
"""

from __future__ import annotations

from typing import Literal

ErrorClass = Literal["temporary", "permanent", "configuration", "request", "unknown"]

__all__ = ["ERROR_CLASSES", "ErrorClass", "classify_error"]

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


def classify_error(code: int | None) -> ErrorClass:
    """Say whether to wait (temporary), give up (permanent), or mend the account or the request."""
    return ERROR_CLASSES.get(code, "unknown") if code is not None else "unknown"
