"""Builders of replies: a step on the channel of an inbound message, from the address it was written to.

Any text is free content, which WhatsApp and Messenger deliver for 24 hours after the customer wrote (contract
7.1, 7.3). Whether the channel carries the content is for `Workflow.lint()` to say.
"""

from collections.abc import Mapping
from typing import Any, Protocol, cast

from nexmo_dispatch_async.channels import _build
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models.requests import Address, Audio, Content, File, Image, Link, Step, Text, Video
from nexmo_dispatch_async.models.user_ids import is_user_id

__all__ = ["Received", "audio", "file", "image", "text", "video"]


class _End(Protocol):
    @property
    def number(self) -> str | None: ...
    @property
    def id(self) -> str | None: ...


class Received(Protocol):
    """The part of an inbound message that a reply needs; the receiver's `InboundMessage` has it."""

    @property
    def channel(self) -> str:
        """The channel."""
        ...

    @property
    def from_(self) -> _End:
        """The customer."""
        ...

    @property
    def to(self) -> _End:
        """Your own address."""
        ...


def text(
    text: str, *, to: Received, client_ref: str | None = None, extra: Mapping[str, Any] | None = None
) -> Step:
    """Build a text message that answers an inbound message.

    Example:
        @router.inbound_message()
        async def on_message(event: InboundMessage, client: DispatchClient) -> None:
            await client.send(reply.text("Thank you!", to=event))

    Args:
        text: 1 to 1000 characters on SMS and Viber, 640 on Messenger, 4096 on WhatsApp.
        to: The inbound message.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).

    Raises:
        ConfigurationError: *to* is no inbound message, or names no sender or no recipient.
    """
    return _step(Text(text), to, client_ref, extra)


def image(
    url: str,
    *,
    to: Received,
    caption: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build an image that answers an inbound message; see `text`.

    Args:
        url: URL from which the service fetches the image.
        to: The inbound message.
        caption: 1 to 3000 characters; WhatsApp and MMS show it.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).

    Raises:
        ConfigurationError: See `text`.
    """
    return _step(Image(_build.media(url, caption)), to, client_ref, extra)


def audio(
    url: str, *, to: Received, client_ref: str | None = None, extra: Mapping[str, Any] | None = None
) -> Step:
    """Build an audio message that answers an inbound message; see `text`.

    Args:
        url: URL from which the service fetches the audio.
        to: The inbound message.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).

    Raises:
        ConfigurationError: See `text`.
    """
    return _step(Audio(Link(url)), to, client_ref, extra)


def video(
    url: str, *, to: Received, client_ref: str | None = None, extra: Mapping[str, Any] | None = None
) -> Step:
    """Build a video that answers an inbound message; see `text`.

    Args:
        url: URL from which the service fetches the video.
        to: The inbound message.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).

    Raises:
        ConfigurationError: See `text`.
    """
    return _step(Video(Link(url)), to, client_ref, extra)


def file(
    url: str,
    *,
    to: Received,
    caption: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a file that answers an inbound message; see `text`.

    Args:
        url: URL from which the service fetches the file.
        to: The inbound message.
        caption: 1 to 3000 characters; WhatsApp shows it.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).

    Raises:
        ConfigurationError: See `text`.
    """
    return _step(File(_build.media(url, caption)), to, client_ref, extra)


def _step(content: Content, event: Received, client_ref: str | None, extra: Mapping[str, Any] | None) -> Step:
    _check(event)
    channel = event.channel
    own = _address(channel, event.to, by_id=channel in ("messenger", "viber_service_msg"))
    if own is None:
        raise ConfigurationError("the inbound message does not say to which of your addresses it was written")
    customer = _address(channel, event.from_, by_id=channel == "messenger") or _hidden(event)
    if customer is None:
        raise ConfigurationError("the inbound message names no sender, so it cannot be answered")
    return _build.step(content, own, customer, client_ref, extra)


def _check(event: object) -> None:
    """Refuse anything but an inbound message: a status has your own address in the place of the sender."""
    kind = getattr(event, "kind", "inbound-message")
    if kind != "inbound-message" or not all(hasattr(event, name) for name in ("channel", "from_", "to")):
        what = kind if kind != "inbound-message" else type(event).__name__
        raise ConfigurationError(f"reply to an inbound message, and not to a {what}")


def _address(channel: str, end: _End, *, by_id: bool) -> Address | None:
    """Return one end of the inbound message as an end of a step (contract 3.3, 5.5.1)."""
    value = (end.id or end.number) if by_id else (end.number or end.id)
    if not value:
        return None
    if by_id or (channel == "whatsapp" and is_user_id(value)):
        return _build.identity(channel, value)
    return _build.number(channel, value)


def _hidden(event: object) -> Address | None:
    """Return the user id of a WhatsApp sender who hides the number (contract 5.5)."""
    user = cast("object", getattr(event, "whatsapp_user", None))
    names = (getattr(user, name, None) for name in ("user_id", "wa_id"))
    value = next((name for name in names if isinstance(name, str) and name), None)
    return None if value is None else _build.person(value)
