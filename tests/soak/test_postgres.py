"""Postgres in trouble for minutes: figures are printed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.chaos import campaign_in_chaos, inbox_in_chaos
from tests.support.postgres_server import PostgresServer, binaries
from tests.support.started import started

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of its own, which is stopped at once now and then."""
    if binaries() is None:
        pytest.skip("there is no Postgres server: install the package `postgresql`")
    with started(PostgresServer()) as server:
        yield server


async def test_effects_of_callbacks_are_made_once_and_in_order(server: PostgresServer) -> None:
    """100,000 callbacks, a sixth of them repetitions; two receivers, three handlers, 40 troubles."""
    sizes = {"workflows": 400, "statuses": 210, "troubles": 40, "receivers": 2, "handlers": 3}
    print(await inbox_in_chaos(server, **sizes, seed=1))


async def test_the_same_with_a_standby_that_is_promoted(postgres_pair: list[PostgresServer]) -> None:
    """20,000 callbacks."""
    sizes = {"workflows": 200, "statuses": 84, "troubles": 20, "receivers": 2, "handlers": 3}
    print(await inbox_in_chaos(*postgres_pair, **sizes, seed=1))


async def test_each_recipient_has_one_outcome(server: PostgresServer) -> None:
    """20,000 recipients, four senders, 30 troubles."""
    print(await campaign_in_chaos(server, people=20_000, troubles=30, processes=4, seed=1))


async def test_each_recipient_has_one_outcome_also_after_a_failover(
    postgres_pair: list[PostgresServer],
) -> None:
    """20,000 recipients, four senders, 20 troubles, one of them the loss of the primary."""
    print(await campaign_in_chaos(*postgres_pair, people=20_000, troubles=20, processes=4, seed=1))
