"""The v2 shape of applications, `/applications/v2`: conversion of bodies (contract 4.1, 4.3).

It has no state: both shapes show the same applications.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication, SimulatedApplications
from nexmo_dispatch_async.simulator.world.violations import InvalidBody, Violation

__all__ = ["body", "flat", "page"]


class _Hook(msgspec.Struct):
    address: str
    http_method: str = "POST"


class _Webhooks(msgspec.Struct):
    status_url: _Hook | None = None
    inbound_url: _Hook | None = None


class _Messages(msgspec.Struct):
    webhooks: _Webhooks
    version: str = "v0.1"


class _Capabilities(msgspec.Struct):
    messages: _Messages


class _Capable(msgspec.Struct):
    capabilities: _Capabilities


class _Keys(msgspec.Struct):
    public_key: str


class _Keyed(msgspec.Struct):
    keys: _Keys


def flat(document: Mapping[str, object]) -> Mapping[str, object]:
    """Return the flat fields of a request in either shape (contract 4.1, 9.8)."""
    fields = dict(document)
    try:
        fields["public_key"] = msgspec.convert(document, _Keyed).keys.public_key
    except msgspec.ValidationError:
        fields.pop("public_key", None)
    try:
        messages = msgspec.convert(document, _Capable).capabilities.messages
    except msgspec.ValidationError:
        return fields
    fields.setdefault("type", "messages")
    fields["version"] = messages.version
    for name, hook in (("status", messages.webhooks.status_url), ("inbound", messages.webhooks.inbound_url)):
        if hook is not None:
            fields[f"{name}_url"] = hook.address
            fields[f"{name}_method"] = hook.http_method
    return fields


def body(application: SimulatedApplication, *, private_key: str | None = None) -> dict[str, object]:
    """Return the v2-shaped object; the private key is shown only at creation (contract 4.3)."""
    keys = {"public_key": application.public_key}
    if private_key is not None:
        keys["private_key"] = private_key
    capabilities: dict[str, object] = {}
    for capability, hooks in application.hooks().items():
        shown: dict[str, object] = {
            "webhooks": {
                f"{hook}_url": {"address": url, "http_method": method} for hook, url, method in hooks
            },
        }
        if capability == "messages":
            shown |= {"version": application.version, "authenticate_inbound_media": False}
        capabilities[capability] = shown
    return {
        "id": application.id,
        "name": application.name,
        "keys": keys,
        "privacy": {"improve_ai": False},
        "capabilities": capabilities,
        "_links": {"self": {"href": f"/v2/applications/{application.id}"}},
    }


def page(applications: SimulatedApplications, number: str | None, size: str | None) -> dict[str, object]:
    """Return a page of the list; pages are counted from 1 (contract 4.3, 4.4).

    Raises:
        InvalidBody: The page or its size is not a number in its range.
    """
    found: list[Violation] = []
    place, length = _number(number, 1), _number(size, 10)
    if place is None or place < 1:
        found.append(Violation("page", "must be a number from 1"))
    if length is None or not 1 <= length <= 100:
        found.append(Violation("page_size", "must be between 1 and 100"))
    if place is None or length is None or found:
        raise InvalidBody(found)
    total = len(applications)
    pages = max(1, -(-total // length))
    places = {"self": place, "first": 1, "last": pages}
    if place < pages:
        places["next"] = place + 1
    if place > 1:
        places["prev"] = place - 1
    return {
        "page_size": length,
        "page": place,
        "total_items": total,
        "total_pages": pages,
        "_embedded": {
            "applications": [body(one) for one in list(applications)[(place - 1) * length : place * length]]
        },
        "_links": {
            name: {"href": f"/v2/applications?page_size={length}&page={at}"} for name, at in places.items()
        },
    }


def _number(text: str | None, default: int) -> int | None:
    if text is None:
        return default
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
