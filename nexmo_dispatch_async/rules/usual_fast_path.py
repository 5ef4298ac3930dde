"""The first look at a workflow: whether it is of the usual kind, which breaks no rule.

It reports nothing: what it does not know goes through the checks. They say the same about the usual kind, in
several times the time, and are a tenth of a send (docs/performance.md).
"""

from typing import Final

from msgspec import UNSET

from nexmo_dispatch_async.models.requests import Address, Failover, Message, Step, Text
from nexmo_dispatch_async.rules.report import encodable
from nexmo_dispatch_async.rules.specs import CRIMEA, SANCTIONED, SPECS

__all__ = ["is_usual"]

# By channel: the longest text, and whether `read` is reported; only channels that take two plain numbers.
_TEXT: Final = {
    channel: (spec.text_limit, spec.reads)
    for channel, spec in SPECS.items()
    if spec.plain_numbers and spec.carries_text
}
# The first digits of numbers that need the checks.
_SENSITIVE: Final = frozenset(code[:2] for code in (*SANCTIONED, *CRIMEA))


def is_usual(steps: tuple[object, ...]) -> bool:  # noqa: PLR0912 - flat on purpose: a call costs more than a comparison
    """Return whether all steps are texts from number to number with conditions where they belong.

    True means that no rule that is an error in the table is broken; False means nothing.
    """
    if type(steps) is not tuple or not steps:
        return False
    remaining = len(steps)
    last_person: str | None = None
    for step in steps:
        remaining -= 1
        if type(step) is not Step:
            return False
        sender = step.from_
        recipient = step.to
        message = step.message
        if type(sender) is not Address or type(recipient) is not Address or type(message) is not Message:
            return False
        channel: object = recipient.type
        if type(channel) is not str or channel not in _TEXT or sender.type != channel:
            return False
        limit, reads = _TEXT[channel]
        if sender.id is not UNSET or recipient.id is not UNSET:
            return False
        if (
            step.extra is not UNSET
            or sender.extra is not UNSET
            or recipient.extra is not UNSET
            or message.extra is not UNSET
        ):
            return False
        number: object = sender.number
        person: object = recipient.number
        if type(number) is not str or type(person) is not str:
            return False
        # A text below "1" is empty or has a leading zero.
        if number < "1" or not (number.isascii() and number.isdigit()) or len(number) > 15:
            return False
        if person != last_person:  # the same person on another channel, more often than not
            if person < "1" or not (person.isascii() and person.isdigit()) or len(person) > 15:
                return False
            if person[:2] in _SENSITIVE:
                return False
            last_person = person
        if (
            message.whatsapp is not UNSET
            or message.viber_service_msg is not UNSET
            or message.messenger is not UNSET
        ):
            return False
        content = message.content
        if type(content) is not Text or content.extra is not UNSET:
            return False
        words: object = content.text
        if type(words) is not str or not 0 < len(words) <= limit or not (words.isascii() or encodable(words)):
            return False
        failover = step.failover
        if remaining:
            if type(failover) is not Failover or failover.extra is not UNSET:
                return False
            expiry: object = failover.expiry_time
            if type(expiry) is not int or not 15 <= expiry <= 86_400:
                return False
            condition = failover.condition_status
            if condition != "delivered" and (condition != "read" or not reads):
                return False
        elif failover is not UNSET:
            return False
        ref: object = step.client_ref
        if ref is not UNSET and (type(ref) is not str or len(ref) > 40 or not ref.isascii()):
            return False
    return True
