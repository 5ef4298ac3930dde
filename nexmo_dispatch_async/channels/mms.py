"""Builders of MMS steps.

MMS goes from US short codes to US recipients only (contract 7.4).
"""

from collections.abc import Mapping
from typing import Any

from nexmo_dispatch_async.channels import _build
from nexmo_dispatch_async.models.requests import Image, Step

__all__ = ["image"]


def image(
    url: str,
    *,
    from_: str,
    to: str,
    caption: str | None = None,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build an image for MMS.

    Args:
        url: Where the image is fetched from (.jpg .jpeg .png .gif).
        caption: 1 to 3000 characters.
        from_: A US short code.
        to: The recipient's US number in E.164 without `+`.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _build.step(
        Image(_build.media(url, caption)),
        _build.number("mms", from_),
        _build.number("mms", to),
        client_ref,
        extra,
    )
