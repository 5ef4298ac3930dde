"""Makes ledgers in SQLite files for the tests, and closes them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from nexmo_dispatch_async.bulk.ledger.conformance_claims import NOW
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger


class SqliteLedgers:
    """Makes ledgers, each in a file of its own."""

    now = NOW

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self._folder = folder
        self._shared = shared
        self._numbers = itertools.count()
        self._opened: list[SqliteLedger | OptOutList] = []

    def _clock(self) -> float:
        return self.now

    async def new(self, opt_outs: OptOutList | None = None) -> Ledger:
        if opt_outs is None and self._shared:
            opt_outs = await self.new_opt_outs()
        path = self._folder / f"ledger{next(self._numbers)}.db"
        ledger = await SqliteLedger.open(path, opt_outs=opt_outs, clock=self._clock)
        self._opened.append(ledger)
        return ledger

    async def new_opt_outs(self) -> OptOutList:
        opt_outs = OptOutList.open(self._folder / f"people{next(self._numbers)}.db", clock=self._clock)
        self._opened.append(opt_outs)
        return opt_outs

    def opt_outs_of(self, ledger: Any) -> OptOutList:
        assert isinstance(ledger, SqliteLedger)
        return ledger.opt_outs

    async def aclose(self) -> None:
        for opened in self._opened:
            await opened.aclose()
