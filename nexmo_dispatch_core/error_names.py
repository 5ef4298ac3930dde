"""The names of asynchronous message errors (contract 6.1), for the `reason` of callbacks that are made up.

It knows neither when an error occurs nor what it means: the classes are in `vocabulary.py`.
"""

from __future__ import annotations

from typing import Final

__all__ = ["REASONS", "reason_for"]

REASONS: Final[dict[int, str]] = {
    1000: "Throttled",
    1010: "Missing params",
    1020: "Invalid params",
    1021: "Invalid tag",
    1022: "Invalid template",
    1030: "Internal error",
    1040: "Invalid message",
    1050: "Number barred",
    1060: "Partner account barred",
    1070: "Partner quota exceeded",
    1080: "Account not enabled for REST",
    1090: "Message too long",
    1100: "Communication failed",
    1110: "Invalid signature",
    1120: "Illegal Sender Address - rejected",
    1130: "Invalid TTL",
    1140: "Facility not allowed",
    1150: "Invalid message class",
    1160: "Non White-listed Destination",
    1170: "Invalid or Missing Msisdn Param",
    1180: "Absent Subscriber Temporary",
    1190: "Absent Subscriber Permanent",
    1200: "Portability Error",
    1210: "Anti-Spam Rejection",
    1220: "Handset Busy",
    1230: "Network Error",
    1240: "Illegal Number",
    1241: "Too many send requests",
    1242: "Number pool missing",
    1250: "Unroutable",
    1251: "Routing rule",
    1260: "Destination unreachable",
    1270: "Subscriber Age Restriction",
    1280: "Number Blocked by Carrier",
    1282: "Rejected by provider",
    1290: "Insufficient Funds",
    1300: "Not part of the provider network",
    1310: "Not suitable device",
    1320: "Message already sent",
    1330: "Unknown",
    1331: "Provider error",
    1340: "Outside of the allowed window",
    1350: "Requires payment of phone matching fee",
    1360: "TTL was activated",
    1370: "Expired access token",
    1380: "Invalid resource",
    1381: "Resource too large",
    1382: "Resource type invalid",
}


def reason_for(code: int) -> str:
    """Return the name of a code, "Unknown" for one that the contract does not list."""
    return REASONS.get(code, "Unknown")
