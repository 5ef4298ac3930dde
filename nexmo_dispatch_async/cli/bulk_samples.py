"""One row of each kind, by variant, language, order of channels and sender: to test, and to approve."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from typing import Any, Final

import msgspec

from nexmo_dispatch_async.bulk.ledger.records import Recipient
from nexmo_dispatch_async.bulk.plan import intake_of
from nexmo_dispatch_async.bulk.rows.intake import Prepared
from nexmo_dispatch_async.bulk.settings import CampaignSettings

__all__ = ["kind_in_words", "messages_in_words", "samples_of"]

#: Rows that are looked at.
_LOOKED_AT: Final = 20_000


async def samples_of(settings: CampaignSettings, *, empty: bool = False) -> list[Prepared]:
    """Return one row of each kind, the first of those with the fewest empty fields, held-out rows apart.

    Args:
        settings: The settings of the campaign file.
        empty: Whether to add the first row without each field that the messages have other words for.

    Raises:
        SourceError: The rows cannot be read.
        ConfigurationError: A setting is wrong.
    """
    found: dict[tuple[object, ...], Prepared] = {}
    looked = 0
    async with aclosing(intake_of(settings).prepared(settings.source)) as batches:
        async for good, bad in batches:
            for prepared in good:
                recipient = prepared.recipient
                if recipient.skip is None:
                    kind = recipient.variant, recipient.language, recipient.channels, recipient.bucket
                    if kind not in found or _gaps(prepared) < _gaps(found[kind]):
                        found[kind] = prepared
                    for name, value in recipient.fields.items() if empty else ():
                        if not value.strip():
                            found.setdefault((name,), prepared)
            looked += len(good) + len(bad)
            if looked >= _LOOKED_AT:
                break
    return sorted({each.recipient.line: each for each in found.values()}.values(), key=_line)


def _gaps(sample: Prepared) -> int:
    """Return the number of empty fields, in whose place the messages have other words."""
    return sum(not value.strip() for value in sample.recipient.fields.values())


def _line(sample: Prepared) -> int:
    return sample.recipient.line


def kind_in_words(recipient: Recipient) -> str:
    """Return what tells a row from others: variant, language, order of channels or the first of them."""
    channels = recipient.channels or (recipient.bucket.partition("|")[0],)
    return ", ".join(filter(None, (recipient.variant, recipient.language, " > ".join(channels))))


def messages_in_words(sample: Prepared) -> Iterator[str]:
    """Yield each message of a row: its text, or else what it says in JSON; no number."""
    steps: list[dict[str, Any]] = msgspec.json.decode(sample.rendered.body)["workflow"]  # Any: JSON
    for channel, step in zip(sample.rendered.channels, steps, strict=True):
        message = step["message"]
        content = message["content"]
        yield f"{channel}: {_shown(content)}"


def _shown(content: dict[str, Any]) -> str:  # Any: JSON
    """Return a text, or a template with its parameters, or else the JSON."""
    if content["type"] == "text":
        return str(content["text"])
    if content["type"] == "template":
        template = content["template"]
        values = ", ".join(each["default"] for each in template.get("parameters", ()))
        return f"template {template['name']}{f' with {values}' if values else ''}"
    return msgspec.json.encode(content).decode()
