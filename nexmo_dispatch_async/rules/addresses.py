"""Rules about sender and recipient (contract 3.3, 7.1, 7.4).

It does not look at what is sent.
"""

from typing import cast

from msgspec import UNSET

from nexmo_dispatch_async.models.requests import Address, Step
from nexmo_dispatch_async.models.user_ids import is_user_id
from nexmo_dispatch_async.rules.report import Report, text
from nexmo_dispatch_async.rules.specs import (
    BARRED,
    BARRED_IDS,
    CRIMEA,
    SANCTIONED,
    SANCTIONED_IDS,
    SPECS,
    ChannelSpec,
)

__all__ = ["account", "check_route"]

_SENSITIVE = (*SANCTIONED, *CRIMEA)
# The sibling product refuses fewer (contract 3.3).
_FEWEST_DIGITS = 7


def check_route(report: Report, from_: object, to: object) -> ChannelSpec | None:
    """Check both addresses; return the channel of the recipient, None if it is unknown."""
    # The common case first, since this runs before every send: plain numbers on one channel.
    if type(from_) is Address and type(to) is Address and type(to.type) is str and from_.type == to.type:
        spec = SPECS.get(to.type)
        if (
            spec is not None
            and spec.plain_numbers
            and to.id is UNSET
            and from_.id is UNSET
            and _is_e164(to.number)
            and _is_e164(from_.number)
        ):
            _check_shortness(report, "to.number", cast("str", to.number))
            if cast("str", to.number).startswith(_SENSITIVE):
                _check_country(report, "to.number", cast("str", to.number), spec)
            return spec
    sender = _channel(report, "from", from_)
    spec = _channel(report, "to", to)
    if sender is not None and spec is not None and sender is not spec:
        report.add(
            "channel-mismatch", "to.type", f"is {spec.name} while from.type is {sender.name}; use one channel"
        )
    if isinstance(from_, Address) and sender is not None:
        _check_sender(report, from_, sender)
    if isinstance(to, Address) and spec is not None:
        _check_recipient(report, to, spec)
    return spec


def account(step: Step) -> tuple[str, str] | None:
    """Return channel and sender of a step on a platform with one account per application (contract 7.5)."""
    sender: object = step.from_
    kind: object = getattr(sender, "type", None)
    spec = SPECS.get(kind) if isinstance(kind, str) else None
    if spec is None or not spec.options:
        return None
    value: object = getattr(sender, spec.sender, UNSET)
    return (spec.options, value) if isinstance(value, str) else None


def _channel(report: Report, side: str, address: object) -> ChannelSpec | None:
    if not isinstance(address, Address):
        report.add("type", side, "must be an Address")
        return None
    kind: object = getattr(address, "type")  # noqa: B009 - as object: a step may hold anything
    spec = SPECS.get(kind) if isinstance(kind, str) else None
    if spec is None:
        report.add("channel", f"{side}.type", f"must be one of {', '.join(SPECS)}")
    return spec


def _check_sender(report: Report, address: Address, spec: ChannelSpec) -> None:
    field = f"from.{spec.sender}"
    value = _value(report, "from", address, spec.sender, spec)
    if value is None:
        return
    if spec.sender_is_phone:
        _check_phone(report, field, value)
    elif spec is SPECS["sms"]:
        _check_sms_sender(report, field, value)
    elif spec is SPECS["mms"] and not (_is_e164(value) and len(value) in {5, 6}):
        report.add("mms-numbers", field, "is not a US short code of 5 or 6 digits")


def _check_recipient(report: Report, address: Address, spec: ChannelSpec) -> None:
    # The first member that is set, else the first one, which is reported as missing.
    member = next((name for name in spec.recipient if getattr(address, name) is not UNSET), spec.recipient[0])
    field = f"to.{member}"
    value = _value(report, "to", address, member, spec)
    if value is None or not spec.recipient_is_phone:
        return
    if spec is SPECS["whatsapp"] and member == "id":
        _check_user_id(report, field, value)
        return
    _check_phone(report, field, value)
    _check_shortness(report, field, value)
    _check_country(report, field, value, spec)
    if spec is SPECS["mms"] and not (_is_e164(value) and value[0] == "1" and len(value) == 11):
        report.add("mms-numbers", field, "is not a US number: 1 and ten digits")


def _value(report: Report, side: str, address: Address, member: str, spec: ChannelSpec) -> str | None:
    """Return the value of a member if it is a non-empty text, else report a finding and return None."""
    field = f"{side}.{member}"
    raw: object = getattr(address, member)
    other = "id" if member == "number" else "number"
    if raw is UNSET:
        hint = "" if getattr(address, other) is UNSET else f"; {spec.name} reads {member}, not {other}"
        report.add("address-member", field, f"is missing{hint}")
        return None
    if getattr(address, other) is not UNSET:
        report.add("address-extra", f"{side}.{other}", f"is ignored; {spec.name} reads {member}")
        text(report, f"{side}.{other}", getattr(address, other))
    value = text(report, field, raw, '; write it in quotes, for example "447700900123"')
    if value is not None and not 1 <= len(value) <= 50:
        report.add("address-length", field, "has more than 50 characters" if value else "is empty")
    return value or None


def _check_user_id(report: Report, field: str, value: str) -> None:
    """Check the user id of a person on WhatsApp who hides the number (contract 5.5)."""
    if not is_user_id(value):
        advice = "is no WhatsApp user id (two letters, a point, digits); a number goes into to.number"
        report.add("whatsapp-user-id", field, advice)
        return
    country = value[:2].upper()
    if country in BARRED_IDS:
        advice = f"is of a person in {BARRED_IDS[country]}, where WhatsApp may not be used"
        report.add("whatsapp-country", field, advice)
    if country in SANCTIONED_IDS:
        advice = f"is of a person in {SANCTIONED_IDS[country]}, which is under sanctions"
        report.add("sanctioned-country", field, advice)


def _is_e164(value: object) -> bool:
    return type(value) is str and value.isdigit() and value.isascii() and len(value) <= 15 and value[0] != "0"


def _check_phone(report: Report, field: str, value: str) -> None:
    if not _is_e164(value):
        report.add("e164", field, _advise(value))


def _check_shortness(report: Report, field: str, value: str) -> None:
    if len(value) < _FEWEST_DIGITS and _is_e164(value):
        advice = "has fewer than 7 digits, too few for a country code and a number"
        report.add("short-number", field, advice)


def _advise(value: str) -> str:
    """Return the advice about a number that is not E.164, without repeating the number."""
    bare = value.strip()
    if is_user_id(bare):
        return "is a WhatsApp user id; it goes into id on the channel whatsapp, and nowhere else"
    if bare.startswith("+"):
        return "must be digits only; leave out the leading +"
    if bare.startswith("00"):
        return "must begin with the country code; leave out the leading 00"
    if bare.startswith("0"):
        return 'must begin with the country code; NumberNormalizer("NL") adds it to a national number'
    if "$" in bare or any(character.isalpha() for character in bare):
        return "must be digits only; this looks like a placeholder or a name"
    if not (value.isascii() and value.isdigit()):
        return "must be digits only; leave out blanks, dashes and brackets"
    return "must have at most 15 digits"


def _check_sms_sender(report: Report, field: str, value: str) -> None:
    # Not E.164-checked: a sender may be a name (contract 9.22).
    if value.isascii() and value.isdigit():
        return
    if value[0] == "+" and value[1:].isdigit():
        advice = "begins with +; write a number in digits only"
    elif len(value) > 11:
        advice = "is a name of more than 11 characters, which carriers cut or refuse; shorten it"
    else:
        advice = "is a name; in countries that forbid sender names the SMS fails with 1120"
    report.add("sms-sender", field, advice)


def _check_country(report: Report, field: str, value: str, spec: ChannelSpec) -> None:
    if spec is SPECS["whatsapp"]:
        for code, country in BARRED.items():
            if value.startswith(code):
                report.add(
                    "whatsapp-country", field, f"is in {country}, where WhatsApp may not be used; use SMS"
                )
        if value.startswith(CRIMEA):
            report.add("whatsapp-crimea", field, "may be in Crimea, where WhatsApp may not be used")
    for code, country in SANCTIONED.items():
        if value.startswith(code):
            report.add("sanctioned-country", field, f"is in {country}, which is under sanctions")
