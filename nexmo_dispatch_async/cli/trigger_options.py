"""The options of `nexmo-dispatch trigger`; the imports of its work would slow down every command."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from msgspec import Struct

__all__ = ["Kind", "TriggerOptions"]


class Kind(StrEnum):
    """What is posted: the status of a message, an inbound message, or the status of a final report."""

    SUBMITTED = "submitted"
    DELIVERED = "delivered"
    READ = "read"
    REJECTED = "rejected"
    UNDELIVERABLE = "undeliverable"
    INBOUND = "inbound"
    COMPLETED = "completed"
    ERROR = "error"


class TriggerOptions(Struct, frozen=True, kw_only=True):
    """What is posted, and what of it was given; see the help of the command."""

    kind: Kind
    channel: str = ""
    text: str | None = None
    sender: str | None = None
    recipient: str | None = None
    client_ref: str | None = None
    message_uuid: str | None = None
    dispatch_uuid: str | None = None
    error: int | None = None
    body: Path | None = None
    unsigned: bool = False
    wrong_signature: bool = False
    json: bool = False
