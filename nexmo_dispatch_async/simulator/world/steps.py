"""A step of a workflow as the service understood it.

It is only kept here; how it is read from a request is in `validation.py` and `quick.py`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, cast
from urllib.parse import urlsplit

import msgspec

from nexmo_dispatch_async.failover import Condition

__all__ = ["JSONObject", "Step", "condition", "is_e164", "is_http"]

JSONObject = dict[str, object]

_MOST_DIGITS: Final = 15


class Step(msgspec.Struct, frozen=True, gc=False):
    """One step.

    It holds texts and numbers only, and the message stays in the body it came in until somebody looks at it:
    thousands of workflows in flight would keep the garbage collector busy, and the memory full.
    """

    channel: str
    #: "number" or "id", and what it was, as it was sent
    from_key: str
    from_address: str
    to_key: str
    address: str
    #: the text of the whole request, and which of its steps this is
    body: str
    place: int
    content_type: str
    client_ref: str | None
    condition: Condition | None
    ttl: int | None = None
    #: whether the message has an object named after its channel
    has_options: bool = False

    @property
    def sender(self) -> dict[str, str]:
        """The `from` that callbacks echo."""
        return {"type": self.channel, self.from_key: self.from_address}

    @property
    def recipient(self) -> dict[str, str]:
        """The `to` that callbacks echo."""
        return {"type": self.channel, self.to_key: self.address}

    @property
    def message(self) -> JSONObject:
        """The `message` object as it was sent."""
        document = cast("dict[str, list[JSONObject]]", msgspec.json.decode(self.body))
        step = document["workflow"][self.place] if "workflow" in document else document
        return cast("JSONObject", step["message"])

    @property
    def options(self) -> JSONObject:
        """The object named after the channel (contract 3.4.3)."""
        return cast("JSONObject", self.message[self.channel]) if self.has_options else {}


@lru_cache(maxsize=1024)
def condition(status: str, seconds: int) -> Condition:
    """Return what a step waits for; most workflows wait for the same."""
    return Condition(status, seconds)


def is_e164(number: str) -> bool:
    """Say whether a number is at most 15 digits, the country code first (contract 3.3)."""
    return number.isascii() and number.isdigit() and number[0] != "0" and len(number) <= _MOST_DIGITS


def is_http(url: str) -> bool:
    """Say whether a text is an http or https URL with a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an address such as http://[ or a port out of range
        return False
