"""Builders of WhatsApp steps.

Outside the Customer Care Window only templates may be sent (contract 7.1); see
`nexmo_dispatch_async.care_window`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nexmo_dispatch_async.channels import _build
from nexmo_dispatch_async.channels._build import given
from nexmo_dispatch_async.models.requests import (
    Audio,
    Content,
    File,
    Image,
    Link,
    Step,
    Text,
    Video,
    WhatsAppOptions,
)

__all__ = ["audio", "custom", "file", "image", "template", "text", "video"]


def text(
    text: str,
    *,
    from_: str,
    to: str,
    policy: str | None = None,
    locale: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a text message for WhatsApp.

    Args:
        text: 1 to 4096 characters.
        from_: Your WhatsApp Business number, digits only.
        to: The recipient's number in E.164 without `+`, or a user id such as `NL.13491208655302741918`.
        policy: `deterministic`, the only one left.
        locale: BCP 47, for example `en-GB`; give it with every template.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(Text(text), from_, to, policy, locale, client_ref, extra)


def image(
    url: str,
    *,
    from_: str,
    to: str,
    caption: str | None = None,
    policy: str | None = None,
    locale: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build an image for WhatsApp.

    Args:
        url: Where the image is fetched from (.jpg .jpeg .png).
        caption: 1 to 3000 characters.
        from_: Your WhatsApp Business number, digits only.
        to: The recipient's number in E.164 without `+`, or a user id such as `NL.13491208655302741918`.
        policy: `deterministic`, the only one left.
        locale: BCP 47, for example `en-GB`; give it with every template.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(Image(_build.media(url, caption)), from_, to, policy, locale, client_ref, extra)


def audio(
    url: str,
    *,
    from_: str,
    to: str,
    policy: str | None = None,
    locale: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build an audio message for WhatsApp.

    Args:
        url: Where the audio is fetched from (.aac .m4a .amr .mp3 .opus).
        from_: Your WhatsApp Business number, digits only.
        to: The recipient's number in E.164 without `+`, or a user id such as `NL.13491208655302741918`.
        policy: `deterministic`, the only one left.
        locale: BCP 47, for example `en-GB`; give it with every template.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(Audio(Link(url)), from_, to, policy, locale, client_ref, extra)


def video(
    url: str,
    *,
    from_: str,
    to: str,
    policy: str | None = None,
    locale: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a video for WhatsApp.

    Args:
        url: Where the video is fetched from (.mp4 .3gpp, H.264 and AAC only).
        from_: Your WhatsApp Business number, digits only.
        to: The recipient's number in E.164 without `+`, or a user id such as `NL.13491208655302741918`.
        policy: `deterministic`, the only one left.
        locale: BCP 47, for example `en-GB`; give it with every template.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(Video(Link(url)), from_, to, policy, locale, client_ref, extra)


def file(
    url: str,
    *,
    from_: str,
    to: str,
    caption: str | None = None,
    policy: str | None = None,
    locale: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a file for WhatsApp.

    Args:
        url: Where the file is fetched from (.pdf .doc(x) .ppt(x) .xls(x)).
        caption: 1 to 3000 characters.
        from_: Your WhatsApp Business number, digits only.
        to: The recipient's number in E.164 without `+`, or a user id such as `NL.13491208655302741918`.
        policy: `deterministic`, the only one left.
        locale: BCP 47, for example `en-GB`; give it with every template.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(File(_build.media(url, caption)), from_, to, policy, locale, client_ref, extra)


def template(
    name: str,
    parameters: Sequence[str] = (),
    *,
    from_: str,
    to: str,
    policy: str | None = None,
    locale: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a template message (MTM) for WhatsApp.

    Args:
        name: `namespace:name`, approved by WhatsApp.
        parameters: Texts for `{{1}}`, `{{2}}`, … in this order, as a list or a tuple.
        from_: Your WhatsApp Business number, digits only.
        to: The recipient's number in E.164 without `+`, or a user id such as `NL.13491208655302741918`.
        policy: `deterministic`, the only one left.
        locale: BCP 47, for example `en-GB`; give it with every template.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(_build.template(name, parameters), from_, to, policy, locale, client_ref, extra)


def custom(
    custom: Mapping[str, Any],
    *,
    from_: str,
    to: str,
    policy: str | None = None,
    locale: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a message in the channel's own format for WhatsApp.

    Args:
        custom: Everything of WhatsApp's own message object except `to` and `recipient_type`.
        from_: Your WhatsApp Business number, digits only.
        to: The recipient's number in E.164 without `+`, or a user id such as `NL.13491208655302741918`.
        policy: `deterministic`, the only one left.
        locale: BCP 47, for example `en-GB`; give it with every template.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(_build.custom(custom), from_, to, policy, locale, client_ref, extra)


def _step(
    content: Content,
    from_: str,
    to: str,
    policy: str | None,
    locale: str | None,
    client_ref: str | None,
    extra: Mapping[str, Any] | None,
) -> Step:
    options = WhatsAppOptions(policy=given(policy), locale=given(locale))
    sender, recipient = _build.number("whatsapp", from_), _build.person(to)
    return _build.step(content, sender, recipient, client_ref, extra, whatsapp=options)
