"""The meaning of error codes for the owner of a list, and the action for each class (contract 6.1).

It is a table; `nexmo_dispatch_core.vocabulary` says which class a code has.
"""

from __future__ import annotations

from typing import Final

from nexmo_dispatch_async.bulk.ledger.records import SkipReason
from nexmo_dispatch_core.vocabulary import ErrorClass, classify_code

__all__ = ["CLASS_WORDS", "REFUSAL_WORDS", "SKIP_WORDS", "class_of", "meaning_of"]

_MEANINGS: Final[dict[int, str]] = {
    1000: "More messages at once than the account may submit",
    1010: "A mandatory parameter is missing",
    1020: "A parameter has an invalid value",
    1021: "The Messenger tag is invalid",
    1022: "The template or one of its parameters is invalid",
    1030: "The platform failed to process the message",
    1040: "The message cannot be processed, for example because of an unknown number prefix",
    1050: "The recipient is on a block list",
    1060: "The account may not send",
    1070: "The account or provider is out of credit or quota",
    1080: "The account is not enabled for this interface",
    1090: "The message is too long",
    1100: "The message was not submitted: the platform could not reach the network",
    1110: "The signature of the request was refused",
    1120: "The sender is not allowed in the recipient's country",
    1130: "The time to live is invalid",
    1140: "The account lacks a feature that the message needs",
    1150: "The class of the message is invalid",
    1160: "The number is not on the list of approved numbers of a trial account",
    1170: "The recipient's number is missing or invalid",
    1180: "The phone was off or out of coverage",
    1190: "The number is no longer in use",
    1200: "The number moved to another network and could not be resolved",
    1210: "The carrier's filter took the message for spam",
    1220: "The phone was busy",
    1230: "The network failed for a while",
    1240: "The recipient opted out, or is on a block list",
    1241: "Too many messages to this number",
    1242: "The pool of sender numbers is not set up",
    1250: "There is no route to the number",
    1251: "A rule of the destination leaves no route",
    1260: "The destination could not be reached",
    1270: "The content is closed to the subscriber's age",
    1280: "The carrier blocks the number",
    1282: "The provider refused the content",
    1290: "The recipient's prepaid credit is used up",
    1300: "The recipient does not use this channel",
    1310: "The device cannot receive the message",
    1320: "The message was sent before",
    1330: "The carrier gave no known reason",
    1331: "The provider failed or did not answer",
    1340: "The recipient wrote too long ago for a free text: use a template",
    1350: "The Facebook page has to pay for matching phone numbers",
    1360: "The message's time was over before it could be delivered",
    1370: "The Facebook page has to be linked anew",
    1380: "The media file cannot be fetched",
    1381: "The media file is too large",
    1382: "The type of the media file is not supported",
    1400: "The channel is not supported",
    1410: "The parameters do not fit the channel",
    1420: "The sender is invalid",
    1430: "The recipient is invalid",
    1431: "Several recipients were given",
    1440: "The type of the message is invalid",
    1450: "The client reference is invalid",
    1451: "The context is invalid",
    1460: "The daily limit is reached",
    1461: "The provider's automatic limit is reached",
    1470: "Blocked by a rule against fraud",
    1472: "Blocked by a rule against fraud",
    1473: "Blocked by a rule against fraud",
    1474: "Blocked by a rule against fraud",
    1475: "Blocked by a rule against fraud",
    1476: "The sender is on a do-not-originate list",
    1480: "A filter of the regulator refused the entity",
    1481: "A filter of the regulator refused the header",
    1482: "A filter of the regulator refused the content",
    1483: "A filter of the regulator found no consent",
    1484: "The message does not comply with the regulator's rules",
    1490: "Parts of the SMS timed out, so its outcome is unknown",
}

#: What each class of error asks for.
CLASS_WORDS: Final[dict[ErrorClass, str]] = {
    "temporary": "temporary",
    "permanent": "permanent",
    "configuration": "account or settings",
    "request": "message or list",
    "unknown": "not documented",
}

#: Why a row was skipped.
SKIP_WORDS: Final[dict[SkipReason, str]] = {
    "suppressed": "On the opt-out list",
    "capped": "Has had as many messages as the cap allows",
    "expired": "Its time was over before it was its turn",
    "hold_out": "Held out to compare with",
    "dropped": "Given up by an operator",
    "excluded": "Got a message from another campaign",
}

#: Why a row was refused or is unknown, by the class of the error.
REFUSAL_WORDS: Final[dict[str, str]] = {
    "RowError": "The row could not be rendered, or breaks a rule",
    "InvalidWorkflowError": "The message breaks a rule",
    "BadRequestError": "The service found a fault in the message",
    "PaymentRequiredError": "The account has no credit",
    "PermissionDeniedError": "The account may not send this",
    "NotFoundError": "The service does not know the application",
    "ConflictError": "The service took it for something that it has already",
    "RefusedError": "The service refused the message",
}


def meaning_of(code: str) -> str:
    """Return what a code means; for one that is not documented, that it is not."""
    number = int(code) if code.isascii() and code.isdecimal() and len(code) == 4 else 0
    return _MEANINGS.get(number, "Not documented")


def class_of(code: str) -> ErrorClass:
    """Return the class of a code, `unknown` for one that is not documented."""
    return classify_code(code) or "unknown"
