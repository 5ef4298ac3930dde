"""Makes ledgers in SQLite files for the tests, and closes them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.people import People
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from tests.bulk.ledger.conformance import NOW


class SqliteLedgers:
    """Makes ledgers, each in a file of its own."""

    now = NOW

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self._folder = folder
        self._shared = shared
        self._numbers = itertools.count()
        self._opened: list[SqliteLedger | People] = []

    def _clock(self) -> float:
        return self.now

    async def new(self, people: People | None = None) -> Ledger:
        if people is None and self._shared:
            people = await self.new_people()
        path = self._folder / f"ledger{next(self._numbers)}.db"
        ledger = await SqliteLedger.open(path, people=people, clock=self._clock)
        self._opened.append(ledger)
        return ledger

    async def new_people(self) -> People:
        people = People.open(self._folder / f"people{next(self._numbers)}.db", clock=self._clock)
        self._opened.append(people)
        return people

    def people_of(self, ledger: Any) -> People:
        assert isinstance(ledger, SqliteLedger)
        return ledger.people

    async def aclose(self) -> None:
        for opened in self._opened:
            await opened.aclose()
