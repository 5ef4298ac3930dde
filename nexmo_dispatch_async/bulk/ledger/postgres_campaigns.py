"""The campaigns of a database that workers may send for."""

from __future__ import annotations

from typing import Final, LiteralString, Self

import msgspec

from nexmo_dispatch_async.bulk.ledger.postgres_tables import CAMPAIGNS, fetch
from nexmo_dispatch_async.bulk.ledger.records import Control
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError
from nexmo_dispatch_core.postgres import schema
from nexmo_dispatch_core.postgres.database import Database
from nexmo_dispatch_core.postgres.failures import Failure
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["OpenCampaigns"]

_OPEN: Final[LiteralString] = """
SELECT c.name, c.control FROM nexmo_dispatch.campaigns AS c WHERE EXISTS (
    SELECT 1 FROM nexmo_dispatch.campaign_lanes AS l WHERE l.campaign = c.id AND EXISTS (
        SELECT 1 FROM nexmo_dispatch.campaign_states WHERE lane = l.id AND state = 0
    )
) OR EXISTS (
    SELECT 1 FROM nexmo_dispatch.campaign_states AS s WHERE s.campaign = c.id AND s.state = 1
) ORDER BY c.id
"""


class OpenCampaigns:
    """Lists the campaigns of a database with rows to send.

    Args:
        url: `postgresql://user@host/database`; everything that libpq takes.

    Raises:
        ConfigurationError: The URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        try:
            self._database = Database(url, error=_error, name="nexmo-dispatch worker", connections=1)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<OpenCampaigns in {self._database.shown}>"

    async def __aenter__(self) -> Self:
        await schema.require(self._database, CAMPAIGNS, _error)
        await self._database.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._database.aclose()

    async def names(self) -> list[str]:
        """Return the names of campaigns with pending rows, the oldest first; none that is stopped.

        Raises:
            LedgerError: The database cannot be read.
        """
        rows = await self._database.run(lambda connection: fetch(connection, _OPEN, {}))
        return [
            name
            for name, control in rows
            if control is None or msgspec.json.decode(control, type=Control).state != "stop"
        ]


def _error(failure: Failure) -> LedgerError:
    return LedgerError(failure.text)
