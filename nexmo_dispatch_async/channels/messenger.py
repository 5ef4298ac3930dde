"""Builders of Facebook Messenger steps.

The person must have written first; later than 24 h after that a message needs a tag (contract 7.3).
"""

from collections.abc import Mapping
from typing import Any, Literal

from nexmo_dispatch_async.channels import _build
from nexmo_dispatch_async.channels._build import given
from nexmo_dispatch_async.models.requests import (
    Audio,
    Content,
    File,
    Image,
    Link,
    MessengerOptions,
    Step,
    Text,
    Video,
)

__all__ = ["audio", "custom", "file", "image", "text", "video"]


def text(
    text: str,
    *,
    from_: str,
    to: str,
    category: Literal["response", "update", "message_tag"] | None = None,
    tag: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a text message for Facebook Messenger.

    Args:
        text: 1 to 640 characters.
        from_: Your Page ID.
        to: The recipient's page-scoped ID (PSID), known from their inbound message.
        category: `response` (the service's default), `update` or `message_tag`.
        tag: Required with `message_tag`, for example `CONFIRMED_EVENT_UPDATE`.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(Text(text), from_, to, MessengerOptions(given(category), given(tag)), client_ref, extra)


def image(
    url: str,
    *,
    from_: str,
    to: str,
    category: Literal["response", "update", "message_tag"] | None = None,
    tag: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build an image for Facebook Messenger.

    Args:
        url: Where the image is fetched from (.jpg .jpeg .png .gif).
        from_: Your Page ID.
        to: The recipient's page-scoped ID (PSID), known from their inbound message.
        category: `response` (the service's default), `update` or `message_tag`.
        tag: Required with `message_tag`, for example `CONFIRMED_EVENT_UPDATE`.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(
        Image(_build.media(url)), from_, to, MessengerOptions(given(category), given(tag)), client_ref, extra
    )


def audio(
    url: str,
    *,
    from_: str,
    to: str,
    category: Literal["response", "update", "message_tag"] | None = None,
    tag: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build an audio message for Facebook Messenger.

    Args:
        url: Where the audio is fetched from (.mp3).
        from_: Your Page ID.
        to: The recipient's page-scoped ID (PSID), known from their inbound message.
        category: `response` (the service's default), `update` or `message_tag`.
        tag: Required with `message_tag`, for example `CONFIRMED_EVENT_UPDATE`.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(
        Audio(Link(url)), from_, to, MessengerOptions(given(category), given(tag)), client_ref, extra
    )


def video(
    url: str,
    *,
    from_: str,
    to: str,
    category: Literal["response", "update", "message_tag"] | None = None,
    tag: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a video for Facebook Messenger.

    Args:
        url: Where the video is fetched from (.mp4).
        from_: Your Page ID.
        to: The recipient's page-scoped ID (PSID), known from their inbound message.
        category: `response` (the service's default), `update` or `message_tag`.
        tag: Required with `message_tag`, for example `CONFIRMED_EVENT_UPDATE`.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(
        Video(Link(url)), from_, to, MessengerOptions(given(category), given(tag)), client_ref, extra
    )


def file(
    url: str,
    *,
    from_: str,
    to: str,
    category: Literal["response", "update", "message_tag"] | None = None,
    tag: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a file for Facebook Messenger.

    Args:
        url: Where the file is fetched from (.zip .csv .pdf and more).
        from_: Your Page ID.
        to: The recipient's page-scoped ID (PSID), known from their inbound message.
        category: `response` (the service's default), `update` or `message_tag`.
        tag: Required with `message_tag`, for example `CONFIRMED_EVENT_UPDATE`.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(
        File(_build.media(url)), from_, to, MessengerOptions(given(category), given(tag)), client_ref, extra
    )


def custom(
    custom: Mapping[str, Any],
    *,
    from_: str,
    to: str,
    category: Literal["response", "update", "message_tag"] | None = None,
    tag: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a message in the channel's own format for Facebook Messenger.

    Args:
        custom: The inside of Messenger's own `message` object.
        from_: Your Page ID.
        to: The recipient's page-scoped ID (PSID), known from their inbound message.
        category: `response` (the service's default), `update` or `message_tag`.
        tag: Required with `message_tag`, for example `CONFIRMED_EVENT_UPDATE`.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(
        _build.custom(custom), from_, to, MessengerOptions(given(category), given(tag)), client_ref, extra
    )


def _step(
    content: Content,
    from_: str,
    to: str,
    options: MessengerOptions,
    client_ref: str | None,
    extra: Mapping[str, Any] | None,
) -> Step:
    sender, recipient = _build.identity("messenger", from_), _build.identity("messenger", to)
    return _build.step(content, sender, recipient, client_ref, extra, messenger=options)
