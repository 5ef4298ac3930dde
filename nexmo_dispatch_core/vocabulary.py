"""The words of the contract: channels, statuses and error codes, with the class of each error code.

It contains tables and look-ups only. A word that is in no table is kept, not refused.
"""

from __future__ import annotations

from typing import Literal, get_args

__all__ = [
    "BUILDER_NAMES",
    "CHANNELS",
    "CHANNEL_NAMES",
    "ERROR_CLASSES",
    "FAILED_STATUSES",
    "REPORT_STATUSES",
    "STATUSES",
    "TEMPLATES",
    "TERMINAL_STATUSES",
    "Channel",
    "ErrorClass",
    "ReportStatus",
    "Status",
    "classify_code",
    "classify_error",
]

# For arguments, so that an editor completes them; events have plain text, since every set is open.
Channel = Literal["sms", "mms", "whatsapp", "viber", "viber_service_msg", "messenger"]
Status = Literal["submitted", "delivered", "read", "rejected", "undeliverable", "accepted", "seen"]
ReportStatus = Literal["completed", "error"]

#: The channels of Dispatch, in the spelling of contract 3.3.
CHANNELS = frozenset({"sms", "mms", "whatsapp", "viber_service_msg", "messenger"})
#: Every spelling of a channel in contract 5.8 and 5.11, to the one of contract 3.3.
CHANNEL_NAMES = {
    **{name: name for name in CHANNELS},
    "viber_sevice_msg": "viber_service_msg",
    "viber_service": "viber_service_msg",
    "viber_service_message": "viber_service_msg",
    "viber": "viber_service_msg",  # seen once, in the v1 format (contract 5.8)
}
#: Channels whose builder in the SDK has another name.
BUILDER_NAMES = {"viber": "viber_service_msg"}

#: The statuses of contract 5.3; `accepted` and `seen` appear in prose only.
STATUSES: dict[str, str] = {name: name for name in get_args(Status)}
#: Statuses that end a message; after `delivered` a `read` may follow (contract 5.3).
TERMINAL_STATUSES = frozenset({"delivered", "read", "rejected", "undeliverable"})
#: Terminal statuses of a message that did not arrive.
FAILED_STATUSES = frozenset({"rejected", "undeliverable"})
#: The statuses of a final report (contract 5.4).
REPORT_STATUSES: dict[str, str] = {name: name for name in get_args(ReportStatus)}
#: The templates of a workflow (contract 3.1).
TEMPLATES = {"failover": "failover"}

#: A class is a reading of the code, not a promise of the service; it does not decide about failover (6.1).
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

# Contract 6.2, by name, where the status alone would give another class.
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


def classify_error(code: int | None) -> ErrorClass:
    """Return whether to wait (temporary), give up (permanent), or correct the account or the request.

    Args:
        code: A code of contract 6.1; any other code, and None, is `unknown`.
    """
    return ERROR_CLASSES.get(code, "unknown") if code is not None else "unknown"


def classify_code(code: str) -> ErrorClass | None:
    """Return the class of a number of contract 6.1 or of a name of 6.2, None for any other code."""
    if code.isascii() and code.isdecimal() and len(code) == 4:
        return ERROR_CLASSES.get(int(code))
    return _NAMES.get(code)
