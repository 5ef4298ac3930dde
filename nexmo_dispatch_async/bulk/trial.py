"""A test send: sends sample messages to the operator's own number; the ledger does not change."""

from __future__ import annotations

from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.records import Row
from nexmo_dispatch_async.bulk.rejects import RowError
from nexmo_dispatch_async.bulk.rows.numbers import RowNumbers
from nexmo_dispatch_async.bulk.templates.rendering import RenderedWorkflow, Renderer
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.sansio import decipher_dispatch

__all__ = ["send_trial"]

# Rows that are looked at for one of each variant, language and order of channels.
_LOOKED_AT = 10_000
_MOST = 50


async def send_trial(
    client: DispatchClient, template: Renderer, ledger: Ledger, number: str, *, country: str = ""
) -> list[Dispatch]:
    """Send one row of each variant, language and order of channels to a number.

    Args:
        client: Through which they are sent.
        template: Of the campaign.
        ledger: Where the rows are taken from.
        number: Where to, in any spelling.
        country: Of a number that is written without one.

    Raises:
        ConfigurationError: No row is pending, or the template does not tell which fields are numbers.
        RowError: The number cannot be read.
        APIError: The service did not take one.
    """
    own = RowNumbers(country)(number)
    kinds: dict[tuple[object, ...], Row] = {}
    after = 0
    while after < _LOOKED_AT and (rows := await ledger.scan("pending", after=after)):
        after = rows[-1].id
        for row in rows:
            kinds.setdefault((row.variant, row.language, row.channels, row.bucket), row)
    if not kinds:
        raise ConfigurationError("no row is pending: add rows before the test send")
    sent: list[Dispatch] = []
    for row in list(kinds.values())[:_MOST]:
        try:
            rendered = template.render(_to(row, own, template), f"{ledger.reference}-test")
        except RowError:
            continue  # that row will be refused; another of its kind may not
        _check(rendered, own)
        sent.append(await client.call(client.ready_request(rendered.body), decipher_dispatch))
    return sent


def _to(row: Row, number: str, template: Renderer) -> Row:
    return replace(row, fields={**row.fields, **dict.fromkeys(template.numbers, number)})


def _check(rendered: RenderedWorkflow, number: str) -> None:
    for step in rendered.workflow.steps:
        if number not in (step.to.number, step.to.id):
            raise ConfigurationError(
                "the template does not tell which field holds the recipient of each step: nothing was sent"
            )
