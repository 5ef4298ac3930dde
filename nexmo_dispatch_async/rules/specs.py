"""The capabilities of each channel, as a table (contract 3.3 to 3.5).

It does not check anything.
"""

from typing import Literal

from msgspec import Struct

__all__ = [
    "BARRED",
    "BARRED_IDS",
    "CRIMEA",
    "MESSENGER_TAGS",
    "SANCTIONED",
    "SANCTIONED_IDS",
    "SPECS",
    "ChannelSpec",
]


class ChannelSpec(Struct, frozen=True):
    """One channel.

    Attributes:
        name: Common name of the channel.
        sender: The member of `from` with the sender.
        recipient: The members of `to` with the recipient; the first one takes precedence.
        sender_is_phone: Whether the sender must be E.164.
        recipient_is_phone: Whether the recipient must be E.164, or on WhatsApp a user id in `id`.
        text_limit: Maximum length of a text.
        content: The kinds of content that the channel carries.
        doubtful: The kinds of content on which the sources disagree.
        reads: Whether the channel reports `read`.
        captions: Whether the channel shows captions.
        options: The member of `message` with the options of the channel.
        plain_numbers: Whether two E.164 numbers need no check but that of the country.
        carries_text: Whether text is one of its kinds of content.
        extensions: File extensions by kind of media.
    """

    name: str
    sender: Literal["number", "id"]
    recipient: tuple[Literal["number", "id"], ...]
    sender_is_phone: bool
    recipient_is_phone: bool
    text_limit: int
    content: frozenset[str]
    doubtful: frozenset[str]
    reads: bool
    captions: bool
    options: str
    plain_numbers: bool
    carries_text: bool
    extensions: dict[str, tuple[str, ...]]


_PICTURES = (".jpg", ".jpeg", ".png")
_RICH = frozenset({"text", "image", "audio", "video", "file", "custom"})
_NONE: frozenset[str] = frozenset()

SPECS: dict[str, ChannelSpec] = {
    "sms": ChannelSpec(
        name="SMS",
        sender="number",
        recipient=("number",),
        sender_is_phone=False,
        recipient_is_phone=True,
        text_limit=1000,
        content=frozenset({"text"}),
        doubtful=_NONE,
        reads=False,
        captions=False,
        options="",
        plain_numbers=True,
        carries_text=True,
        extensions={},
    ),
    "mms": ChannelSpec(
        name="MMS",
        sender="number",
        recipient=("number",),
        sender_is_phone=False,
        recipient_is_phone=True,
        text_limit=1000,
        content=frozenset({"image"}),
        doubtful=frozenset({"text"}),
        reads=False,
        captions=True,
        options="",
        plain_numbers=False,
        carries_text=False,
        extensions={"image": (*_PICTURES, ".gif")},
    ),
    "whatsapp": ChannelSpec(
        name="WhatsApp",
        sender="number",
        recipient=("number", "id"),
        sender_is_phone=True,
        recipient_is_phone=True,
        text_limit=4096,
        content=_RICH | {"template"},
        doubtful=_NONE,
        reads=True,
        captions=True,
        options="whatsapp",
        plain_numbers=True,
        carries_text=True,
        extensions={
            "image": _PICTURES,
            "audio": (".aac", ".m4a", ".amr", ".mp3", ".opus"),
            "video": (".mp4", ".3gpp"),
            "file": (".pdf", ".doc", ".docx", ".ppt", ".pptx", ".xls", ".xlsx"),
        },
    ),
    "viber_service_msg": ChannelSpec(
        name="Viber",
        sender="id",
        recipient=("number", "id"),
        sender_is_phone=False,
        recipient_is_phone=True,
        text_limit=1000,
        content=frozenset({"text", "image", "custom"}),
        doubtful=frozenset({"template"}),
        reads=True,
        captions=False,
        options="viber_service_msg",
        plain_numbers=False,
        carries_text=True,
        extensions={"image": _PICTURES},
    ),
    "messenger": ChannelSpec(
        name="Messenger",
        sender="id",
        recipient=("id",),
        sender_is_phone=False,
        recipient_is_phone=False,
        text_limit=640,
        content=_RICH,
        doubtful=_NONE,
        reads=True,
        captions=False,
        options="messenger",
        plain_numbers=False,
        carries_text=True,
        # Files are "and more" in the sources, so no list can be complete.
        extensions={"image": (*_PICTURES, ".gif"), "audio": (".mp3",), "video": (".mp4",)},
    ),
}

# Calling codes are prefix-free, so a prefix test is exact (contract 7.1).
BARRED = {"53": "Cuba", "98": "Iran", "850": "North Korea", "963": "Syria"}
SANCTIONED = {**BARRED, "249": "Sudan"}
# Prefixes of WhatsApp user ids: the two letters of the country (contract 5.5).
BARRED_IDS = {"CU": "Cuba", "IR": "Iran", "KP": "North Korea", "SY": "Syria"}
SANCTIONED_IDS = {**BARRED_IDS, "SD": "Sudan"}
# Shared with Russia and mainland Ukraine: a hint, never a certainty.
CRIMEA = ("7365", "7869", "7978", "38065", "380692")

# Names found in public SDKs; the list is open (contract 3.4.3).
MESSENGER_TAGS = frozenset(
    {
        "ACCOUNT_UPDATE",
        "APPOINTMENT_UPDATE",
        "CONFIRMED_EVENT_UPDATE",
        "FEATURE_FUNCTIONALITY_UPDATE",
        "GAME_EVENT",
        "HUMAN_AGENT",
        "ISSUE_RESOLUTION",
        "PAYMENT_UPDATE",
        "PERSONAL_FINANCE_UPDATE",
        "POST_PURCHASE_UPDATE",
        "RESERVATION_UPDATE",
        "SHIPPING_UPDATE",
        "TICKET_UPDATE",
        "TRANSPORTATION_UPDATE",
    }
)
