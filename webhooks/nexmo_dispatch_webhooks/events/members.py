"""The member names of the contract, per object, to tell documented members from unknown ones.

The module contains tables only. A member that is in no table is kept, not refused.
"""

from __future__ import annotations

__all__ = [
    "ADDRESS_MEMBERS",
    "CONTENT_MEMBERS",
    "DESTINATION_MEMBERS",
    "ERROR_MEMBERS",
    "INBOUND_MEMBERS",
    "LINKS",
    "LINK_MEMBERS",
    "MESSAGE_MEMBERS",
    "PROFILE_MEMBERS",
    "REPORTED_MEMBERS",
    "REPORT_LINKS",
    "REPORT_MEMBERS",
    "SMS_MEMBERS",
    "STATUS_MEMBERS",
    "USAGE_MEMBERS",
    "WHATSAPP_MEMBERS",
    "WHATSAPP_USER_MEMBERS",
    "WORKFLOW_MEMBERS",
]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The members that the contract names, per object: 5.2, 5.4, 5.5, 5.6, and 5.8 for the v1 format.
_V1 = _names(
    "channel message_type context context_status destination sms whatsapp workflow profile text image audio "
    "video file location button reply order sticker vcard contact custom unsupported provider_message "
    "reaction content origin _self"
)
STATUS_MEMBERS = _V1 | _names(
    "message_uuid to from timestamp status error errors usage client_ref _links dispatch_uuid"
)
INBOUND_MEMBERS = _V1 | _names("message_uuid to from timestamp direction message usage client_ref status")
REPORT_MEMBERS = _names("dispatch_uuid template status timestamp usage _links")
REPORTED_MEMBERS = _names("message_uuid href channel usage status")
ADDRESS_MEMBERS = _names("type number id")
USAGE_MEMBERS = _names("price currency")
LINKS = _names("dispatch workflow")
LINK_MEMBERS = _names("href dispatch_uuid")
REPORT_LINKS = _names("messages")
MESSAGE_MEMBERS = _names("content sms")
#: The payload of each content type of 5.5.2 that has an object; `name` of a file is of the v1 format.
CONTENT_MEMBERS = {
    "image": _names("url caption"),
    "audio": _names("url"),
    "video": _names("url caption"),
    "file": _names("url caption name"),
    "button": _names("payload subtype text"),
    "reply": _names("id title description"),
    "location": _names("lat long latitude longitude name address url"),
}
#: Objects whose members 5.5 and 5.8 name; those inside of `context` and of `whatsapp` are not named.
SMS_MEMBERS = _names("num_messages keyword count_total total_count")
PROFILE_MEMBERS = _names("name username")
#: The service spells these members in three ways (contract 5.8).
WORKFLOW_MEMBERS = _names("id workflow_id items_number item_number items_total total_items")
DESTINATION_MEMBERS = _names("network_code")
WHATSAPP_MEMBERS = _names("conversation pricing sender recipient referral")
WHATSAPP_USER_MEMBERS = _names("user_id parent_user_id wa_id")
ERROR_MEMBERS = _names("code reason type title detail instance")
