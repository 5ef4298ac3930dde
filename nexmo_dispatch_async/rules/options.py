"""Rules about the options of channels and about conditions (contract 3.4.3, 3.5, 7.2, 7.3).

It does not look at addresses or contents.
"""

from msgspec import UNSET

from nexmo_dispatch_async.models.requests import (
    Failover,
    Message,
    MessengerOptions,
    ViberOptions,
    WhatsAppOptions,
)
from nexmo_dispatch_async.rules.report import Report, one_of, text
from nexmo_dispatch_async.rules.specs import MESSENGER_TAGS, ChannelSpec

__all__ = ["check_failover", "check_options"]


def check_options(report: Report, message: Message, spec: ChannelSpec | None) -> None:
    """Check the per-channel objects of a message."""
    if message.viber_service_msg is not UNSET:
        _check_viber(report, message.viber_service_msg)
        _check_channel(report, "viber_service_msg", spec)
    if message.messenger is not UNSET:
        _check_messenger(report, message.messenger)
        _check_channel(report, "messenger", spec)
    if message.whatsapp is not UNSET:
        _check_whatsapp(report, message.whatsapp)
        _check_channel(report, "whatsapp", spec)


def check_failover(report: Report, failover: object, message: object, spec: ChannelSpec | None) -> None:
    """Check the condition of a step."""
    if not isinstance(failover, Failover):
        report.add("type", "failover", "must be a Failover; use .until(...)")
        return
    expiry: object = failover.expiry_time
    if type(expiry) is not int:
        report.add("expiry", "failover.expiry_time", "must be a whole number of seconds, 15 to 86400")
    elif not 15 <= expiry <= 86_400:
        report.add("expiry", "failover.expiry_time", "must be 15 to 86400 seconds")
    elif isinstance(message, Message) and message.viber_service_msg is not UNSET:
        _check_ttl_trap(report, message.viber_service_msg, expiry)
    condition: object = failover.condition_status
    if condition == "read":
        if spec is not None and not spec.reads:
            advice = (
                f"is read, which {spec.name} never reports, so the next step always follows; use delivered"
            )
            report.add("condition-read", "failover.condition_status", advice)
    elif condition != "delivered":
        report.add("condition", "failover.condition_status", "must be delivered or read")


def _check_channel(report: Report, member: str, spec: ChannelSpec | None) -> None:
    if spec is not None and spec.options != member:
        report.add("options-channel", f"message.{member}", f"has no effect on {spec.name}; leave it out")


def _check_viber(report: Report, options: object) -> None:
    field = "message.viber_service_msg"
    if not isinstance(options, ViberOptions):
        report.add("type", field, "must be ViberOptions")
        return
    one_of(report, "viber-category", f"{field}.category", options.category, ("transaction", "promotion"))
    if options.type is not UNSET:
        text(report, f"{field}.type", options.type)
    ttl: object = options.ttl
    if ttl is UNSET:
        return
    if type(ttl) is not int:
        report.add("type", f"{field}.ttl", "must be a whole number of seconds")
    elif not 30 <= ttl <= 259_200:
        report.add("viber-ttl", f"{field}.ttl", "must be 30 to 259200 seconds")
    elif ttl > 86_400:
        report.add("viber-ttl-long", f"{field}.ttl", "is above 86400, Dispatch's documented maximum")


def _check_ttl_trap(report: Report, options: object, expiry: int) -> None:
    ttl: object = getattr(options, "ttl", UNSET)
    if type(ttl) is int and ttl < expiry:
        report.add(
            "viber-ttl-trap",
            "message.viber_service_msg.ttl",
            "is shorter than failover.expiry_time: Viber drops the message without a callback, "
            "and the next step still waits for the expiry; make them equal",
        )


def _check_messenger(report: Report, options: object) -> None:
    field = "message.messenger"
    if not isinstance(options, MessengerOptions):
        report.add("type", field, "must be MessengerOptions")
        return
    categories = ("response", "update", "message_tag")
    one_of(report, "messenger-category", f"{field}.category", options.category, categories)
    tagged = options.category == "message_tag"
    if options.tag is UNSET:
        if tagged:
            report.add("messenger-tag", f"{field}.tag", "is missing; the category message_tag needs one")
        return
    tag = text(report, f"{field}.tag", options.tag)
    if tag == "":
        report.add("messenger-tag", f"{field}.tag", "is empty; the category message_tag needs one")
    elif tag is not None and tag.upper() not in MESSENGER_TAGS:
        report.add(
            "messenger-tag-unknown", f"{field}.tag", "is not a tag seen in use; a wrong one fails with 1021"
        )
    if not tagged:
        report.add("messenger-tag-unused", f"{field}.tag", "has no effect without the category message_tag")


def _check_whatsapp(report: Report, options: object) -> None:
    if not isinstance(options, WhatsAppOptions):
        report.add("type", "message.whatsapp", "must be WhatsAppOptions")
        return
    one_of(report, "whatsapp-policy", "message.whatsapp.policy", options.policy, ("deterministic",))
    if options.locale is not UNSET:
        text(report, "message.whatsapp.locale", options.locale)
