"""Builders of SMS steps.

The service chooses the encoding itself; `nexmo_dispatch_async.sms_segments` says which and how many parts.
"""

from collections.abc import Mapping
from typing import Any

from nexmo_dispatch_async.channels import _build
from nexmo_dispatch_async.models.requests import Step, Text

__all__ = ["text"]


def text(
    text: str,
    *,
    from_: str,
    to: str,
    client_ref: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Step:
    """Build a text message for SMS.

    Args:
        text: 1 to 1000 characters.
        from_: A number you own, digits only, or an alphanumeric sender name where the country permits it.
        to: The recipient's number in E.164 without `+`, for example `447700900123`.
        client_ref: Your reference, up to 40 characters, repeated in the callbacks.
        extra: Members of the step that this package does not know (contract 9.30).
    """
    return _build.step(Text(text), _build.number("sms", from_), _build.number("sms", to), client_ref, extra)
