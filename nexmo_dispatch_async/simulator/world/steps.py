"""A step of a workflow as the service understood it.

Parsing is in `api/validation.py` and `api/validation_fast_path.py`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, cast
from urllib.parse import urlsplit

import msgspec

from nexmo_dispatch_async.failover import FailoverCondition

__all__ = ["JSONObject", "SimulatedStep", "condition", "is_e164", "is_http"]

JSONObject = dict[str, object]

_MOST_DIGITS: Final = 15


class SimulatedStep(msgspec.Struct, frozen=True, gc=False):
    """One step.

    Its fields are strings and numbers only, and the message is parsed from the body on demand: with thousands
    of workflows in flight, parsed messages would fill the memory and slow the garbage collector down.
    """

    channel: str
    #: "number" or "id", and its value as sent
    from_key: str
    from_address: str
    to_key: str
    address: str
    #: the text of the whole request, and the index of this step in it
    body: str
    place: int
    content_type: str
    client_ref: str | None
    condition: FailoverCondition | None
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
        """The `message` object as sent."""
        document = cast("dict[str, list[JSONObject]]", msgspec.json.decode(self.body))
        step = document["workflow"][self.place] if "workflow" in document else document
        return cast("JSONObject", step["message"])

    @property
    def options(self) -> JSONObject:
        """The object named after the channel (contract 3.4.3)."""
        return cast("JSONObject", self.message[self.channel]) if self.has_options else {}


@lru_cache(maxsize=1024)
def condition(status: str, seconds: int) -> FailoverCondition:
    """Return a condition from a cache: most workflows share a few conditions."""
    return FailoverCondition(status, seconds)


def is_e164(number: str) -> bool:
    """Return whether a number has at most 15 digits and no leading 0 (contract 3.3)."""
    return number.isascii() and number.isdigit() and number[0] != "0" and len(number) <= _MOST_DIGITS


def is_http(url: str) -> bool:
    """Return whether a text is an http or https URL with a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an address such as http://[ or a port out of range
        return False
