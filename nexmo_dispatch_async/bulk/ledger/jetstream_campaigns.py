"""The campaigns of a space on NATS that workers may send for."""

from __future__ import annotations

import asyncio
from typing import Self

import msgspec

from nexmo_dispatch_async.bulk.ledger import jetstream_rows as form
from nexmo_dispatch_async.bulk.ledger.jetstream_journal import campaign_stream, require
from nexmo_dispatch_async.bulk.ledger.records import Control
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError
from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.failures import Failure
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["OpenCampaigns"]


class OpenCampaigns:
    """Lists the campaigns of a space with rows to send.

    Args:
        url: `nats://user@one:4222,two:4222/space`; see `read_address`.

    Raises:
        ConfigurationError: The URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        try:
            self._connection = Connection(url, error=_error, name="nexmo-dispatch worker")
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._stream = campaign_stream(self._connection)

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<OpenCampaigns in {self._connection.shown}>"

    async def __aenter__(self) -> Self:
        await self._connection.open()
        try:
            await require(self._stream, create=True)
        except BaseException:
            await self._connection.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.aclose()

    async def names(self) -> list[str]:
        """Return the names of campaigns with pending rows, by the age of their plans; none that is stopped.

        Raises:
            LedgerError: The stream cannot be read.
        """
        heads = await self._stream.subjects(f"{self._connection.space}.campaigns.*.head")
        found = await asyncio.gather(*(self._look(head.removesuffix(".head")) for head in heads))
        return [name for _, name in sorted(one for one in found if one is not None)]

    async def _look(self, root: str) -> tuple[int, str] | None:
        """Return the sequence and the name of a campaign; None where there is nothing to send."""
        head, marker, control = await asyncio.gather(
            *(self._stream.last(f"{root}.{name}") for name in ("head", "last", "control"))
        )
        if head is None or marker is None or not form.decode_marker(marker.data).pending:
            return None
        if control is not None and msgspec.json.decode(control.data, type=Control).state == "stop":
            return None
        return head.seq, form.decode_head(head.data).name


def _error(failure: Failure) -> LedgerError:
    return LedgerError(failure.text)
