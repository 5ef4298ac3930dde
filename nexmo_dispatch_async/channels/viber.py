"""Builders of Viber Service Message steps.

The first message to a person must be a `transaction` (contract 7.2); nothing here can know
which is the first.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from nexmo_dispatch_async.channels import _build
from nexmo_dispatch_async.channels._build import given
from nexmo_dispatch_async.models.requests import Content, Image, Step, Text, ViberOptions

__all__ = ["custom", "image", "template", "text"]

_CHANNEL = "viber_service_msg"


def text(
    text: str,
    *,
    from_: str,
    to: str,
    to_as: Literal["number", "id"] = "number",
    category: Literal["transaction", "promotion"] | None = None,
    ttl: int | None = None,
    type: str | None = None,  # noqa: A002 - the API's own name
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a text message for Viber Service Messages.

    Args:
        text: 1 to 1000 characters.
        from_: Your Viber Service Message ID.
        to: The recipient's number in E.164 without `+`.
        to_as: The member that carries the recipient: `number`, or `id` as on KPN's page (contract 9.3).
        category: `transaction` (the service's default) or `promotion`.
        ttl: Seconds after which Viber deletes an undelivered message, without a callback.
        type: For example `template`; only as agreed with your account manager.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(
        Text(text),
        from_,
        to,
        to_as,
        ViberOptions(given(category), given(ttl), given(type)),
        client_ref,
        extra,
    )


def image(
    url: str,
    *,
    from_: str,
    to: str,
    to_as: Literal["number", "id"] = "number",
    category: Literal["transaction", "promotion"] | None = None,
    ttl: int | None = None,
    type: str | None = None,  # noqa: A002 - the API's own name
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build an image for Viber Service Messages.

    Args:
        url: Where the image is fetched from (.jpg .jpeg .png).
        from_: Your Viber Service Message ID.
        to: The recipient's number in E.164 without `+`.
        to_as: The member that carries the recipient: `number`, or `id` as on KPN's page (contract 9.3).
        category: `transaction` (the service's default) or `promotion`.
        ttl: Seconds after which Viber deletes an undelivered message, without a callback.
        type: For example `template`; only as agreed with your account manager.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(
        Image(_build.media(url)),
        from_,
        to,
        to_as,
        ViberOptions(given(category), given(ttl), given(type)),
        client_ref,
        extra,
    )


def template(
    name: str,
    parameters: Sequence[str] = (),
    *,
    from_: str,
    to: str,
    to_as: Literal["number", "id"] = "number",
    category: Literal["transaction", "promotion"] | None = None,
    ttl: int | None = None,
    type: str | None = None,  # noqa: A002 - the API's own name
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a template message (MTM) for Viber Service Messages.

    Dispatch's own specification does not list templates for Viber (contract 3.4.1); lint() says so.

    Args:
        name: As set up by your account manager.
        parameters: Texts for `{{1}}`, `{{2}}`, … in this order, as a list or a tuple.
        from_: Your Viber Service Message ID.
        to: The recipient's number in E.164 without `+`.
        to_as: The member that carries the recipient: `number`, or `id` as on KPN's page (contract 9.3).
        category: `transaction` (the service's default) or `promotion`.
        ttl: Seconds after which Viber deletes an undelivered message, without a callback.
        type: For example `template`; only as agreed with your account manager.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(
        _build.template(name, parameters),
        from_,
        to,
        to_as,
        ViberOptions(given(category), given(ttl), given(type)),
        client_ref,
        extra,
    )


def custom(
    custom: Mapping[str, Any],
    *,
    from_: str,
    to: str,
    to_as: Literal["number", "id"] = "number",
    category: Literal["transaction", "promotion"] | None = None,
    ttl: int | None = None,
    type: str | None = None,  # noqa: A002 - the API's own name
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a message in the channel's own format for Viber Service Messages.

    Args:
        custom: Viber's own message object.
        from_: Your Viber Service Message ID.
        to: The recipient's number in E.164 without `+`.
        to_as: The member that carries the recipient: `number`, or `id` as on KPN's page (contract 9.3).
        category: `transaction` (the service's default) or `promotion`.
        ttl: Seconds after which Viber deletes an undelivered message, without a callback.
        type: For example `template`; only as agreed with your account manager.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _step(
        _build.custom(custom),
        from_,
        to,
        to_as,
        ViberOptions(given(category), given(ttl), given(type)),
        client_ref,
        extra,
    )


def _step(
    content: Content,
    from_: str,
    to: str,
    to_as: str,
    options: ViberOptions,
    client_ref: str | None,
    extra: Mapping[str, Any] | None,
) -> Step:
    address = _build.identity if to_as == "id" else _build.number
    return _build.step(
        content, _build.identity(_CHANNEL, from_), address(_CHANNEL, to), client_ref, extra, viber=options
    )
