"""The data of requests and responses, as msgspec structs.

It holds no logic of sending or receiving.
"""

from nexmo_dispatch_async.models.findings import Finding, Severity
from nexmo_dispatch_async.models.requests import (
    Address,
    Audio,
    Content,
    Custom,
    Failover,
    File,
    Image,
    Link,
    Media,
    Message,
    MessengerOptions,
    Parameter,
    Step,
    Template,
    TemplateBody,
    Text,
    ViberOptions,
    Video,
    WhatsAppOptions,
)

__all__ = [
    "Address",
    "Audio",
    "Content",
    "Custom",
    "Failover",
    "File",
    "Finding",
    "Image",
    "Link",
    "Media",
    "Message",
    "MessengerOptions",
    "Parameter",
    "Severity",
    "Step",
    "Template",
    "TemplateBody",
    "Text",
    "ViberOptions",
    "Video",
    "WhatsAppOptions",
]
