"""From body to event: `parse_event`, the event structs, and the tables of the contract behind them.

Nothing here does input or output, checks a signature, or knows HTTP.
"""

from nexmo_dispatch_webhooks.events.error_codes import ErrorClass, classify_error
from nexmo_dispatch_webhooks.events.parsing import parse_event
from nexmo_dispatch_webhooks.events.structs import (
    Address,
    AudioContent,
    ButtonContent,
    Content,
    Event,
    FileContent,
    FinalReport,
    ImageContent,
    InboundMessage,
    Kind,
    LocationContent,
    MessageError,
    MessageStatus,
    ReplyContent,
    ReportedMessage,
    TextContent,
    UnknownContent,
    UnknownEvent,
    UnsupportedContent,
    Usage,
    VideoContent,
    WorkflowPosition,
)
from nexmo_dispatch_webhooks.events.timestamps import parse_timestamp
from nexmo_dispatch_webhooks.events.vocabulary import (
    BUILDER_NAMES,
    CHANNEL_NAMES,
    CHANNELS,
    FAILED_STATUSES,
    TERMINAL_STATUSES,
    Channel,
    ReportStatus,
    Status,
)

__all__ = [
    "BUILDER_NAMES",
    "CHANNELS",
    "CHANNEL_NAMES",
    "FAILED_STATUSES",
    "TERMINAL_STATUSES",
    "Address",
    "AudioContent",
    "ButtonContent",
    "Channel",
    "Content",
    "ErrorClass",
    "Event",
    "FileContent",
    "FinalReport",
    "ImageContent",
    "InboundMessage",
    "Kind",
    "LocationContent",
    "MessageError",
    "MessageStatus",
    "ReplyContent",
    "ReportStatus",
    "ReportedMessage",
    "Status",
    "TextContent",
    "UnknownContent",
    "UnknownEvent",
    "UnsupportedContent",
    "Usage",
    "VideoContent",
    "WorkflowPosition",
    "classify_error",
    "parse_event",
    "parse_timestamp",
]
