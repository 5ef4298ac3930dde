"""Postgres in trouble for minutes: figures are printed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.chaos import campaign_in_chaos, inbox_in_chaos
from tests.support.postgres_server import PostgresServer, binaries

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of its own, which is stopped at once now and then."""
    if binaries() is None:
        pytest.skip("there is no Postgres server: install the package `postgresql`")
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.mark.parametrize("seed", range(3))
async def test_effects_of_callbacks_are_made_once_and_in_order(server: PostgresServer, seed: int) -> None:
    """30,000 callbacks with repetitions, five processes, 40 troubles."""
    print(await inbox_in_chaos(server, workflows=100, statuses=300, troubles=40, processes=5, seed=seed))


async def test_each_recipient_has_one_outcome(server: PostgresServer) -> None:
    """20,000 recipients, four senders, 30 troubles."""
    print(await campaign_in_chaos(server, people=20_000, troubles=30, processes=4, seed=1))
