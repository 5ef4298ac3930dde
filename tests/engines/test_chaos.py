"""Postgres in trouble: each callback has its effects once and in order, each recipient one outcome."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.chaos import campaign_in_chaos, inbox_in_chaos
from tests.support.postgres_server import PostgresServer, binaries
from tests.support.started import started

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of its own, which is stopped at once now and then."""
    if binaries() is None:
        pytest.skip("there is no Postgres server: install the package `postgresql`")
    with started(PostgresServer()) as server:
        yield server


async def test_effects_of_callbacks_are_made_once_and_in_order(server: PostgresServer) -> None:
    """Whatever happens to three processes and to the server."""
    print(
        await inbox_in_chaos(server, workflows=20, statuses=10, troubles=4, receivers=2, handlers=1, seed=1)
    )


async def test_each_recipient_has_one_outcome(server: PostgresServer) -> None:
    """Whatever happens to three senders and to the server."""
    print(await campaign_in_chaos(server, people=600, troubles=4, processes=3, seed=1))
