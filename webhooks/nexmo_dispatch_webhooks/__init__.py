"""Receiver toolkit for the callbacks of the Dispatch API; usable without the SDK package.

The adapters are not imported here: take `setup` from `nexmo_dispatch_webhooks.aiohttp`.
"""

import typing

from nexmo_dispatch_webhooks.environment import secrets_from_env
from nexmo_dispatch_webhooks.events import (
    Address,
    AudioContent,
    ButtonContent,
    Content,
    Event,
    FileContent,
    FinalReport,
    ImageContent,
    InboundMessage,
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
    WhatsAppUser,
    WorkflowPosition,
    parse_event,
)
from nexmo_dispatch_webhooks.exceptions import (
    BodyTooLargeError,
    ConfigurationError,
    CrossSiteRequestError,
    HandlerError,
    HandlerFailure,
    InboxError,
    InboxFullError,
    InboxLostError,
    InvalidBodyError,
    LostClaimError,
    MissingSignatureError,
    RequestRefusedError,
    RequestTimeoutError,
    RouterError,
    RouterFrozenError,
    SignatureVerificationError,
    StatementError,
    TokenTimeError,
    TransactionError,
    UnknownRecordError,
    UnsupportedMediaTypeError,
    WebhookError,
)
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.middleware import CallNext, Middleware, OuterCallNext, OuterMiddleware
from nexmo_dispatch_webhooks.receiver import Inbox, InboxSource, Receiver
from nexmo_dispatch_webhooks.routing import DispatchResult, Router
from nexmo_dispatch_webhooks.sansio import (
    Answer,
    HmacVerification,
    JwtVerification,
    PathSecretVerification,
    RawRequest,
    Verification,
    from_http,
)
from nexmo_dispatch_webhooks.signature import Claims, sign, verify
from nexmo_dispatch_webhooks.transaction import Transaction

if typing.TYPE_CHECKING:
    from nexmo_dispatch_webhooks.inbox import PostgresInbox, SqliteInbox
else:

    def __getattr__(name: str) -> object:
        """Import the inbox on first use: sqlite3 is for those who want it."""
        if name not in {"PostgresInbox", "SqliteInbox"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from nexmo_dispatch_webhooks import inbox

        globals().update(PostgresInbox=inbox.PostgresInbox, SqliteInbox=inbox.SqliteInbox)
        return globals()[name]


__all__ = [
    "Address",
    "Answer",
    "AudioContent",
    "BodyTooLargeError",
    "ButtonContent",
    "CallNext",
    "Claims",
    "ConfigurationError",
    "Content",
    "Context",
    "CrossSiteRequestError",
    "DispatchResult",
    "Event",
    "FileContent",
    "FinalReport",
    "HandlerError",
    "HandlerFailure",
    "HmacVerification",
    "ImageContent",
    "InboundMessage",
    "Inbox",
    "InboxError",
    "InboxFullError",
    "InboxLostError",
    "InboxSource",
    "InvalidBodyError",
    "JwtVerification",
    "LocationContent",
    "LostClaimError",
    "MessageError",
    "MessageStatus",
    "Middleware",
    "MissingSignatureError",
    "OuterCallNext",
    "OuterMiddleware",
    "PathSecretVerification",
    "PostgresInbox",
    "RawRequest",
    "Receiver",
    "ReplyContent",
    "ReportedMessage",
    "RequestRefusedError",
    "RequestTimeoutError",
    "Router",
    "RouterError",
    "RouterFrozenError",
    "SignatureVerificationError",
    "SqliteInbox",
    "StatementError",
    "TextContent",
    "TokenTimeError",
    "Transaction",
    "TransactionError",
    "UnknownContent",
    "UnknownEvent",
    "UnknownRecordError",
    "UnsupportedContent",
    "UnsupportedMediaTypeError",
    "Usage",
    "Verification",
    "VideoContent",
    "WebhookError",
    "WhatsAppUser",
    "WorkflowPosition",
    "from_http",
    "parse_event",
    "secrets_from_env",
    "sign",
    "verify",
]
