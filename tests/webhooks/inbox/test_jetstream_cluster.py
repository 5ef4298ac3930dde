"""An inbox on a cluster of three servers: one of them dies or sleeps, and no acknowledged event is lost."""

from __future__ import annotations

import pytest

from tests.support.nats_server import NatsCluster
from tests.webhooks.inbox.jetstream_failures import Fault, survive

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]


@pytest.mark.parametrize("fault", ["kill", "suspend"])
async def test_a_server_that_fails_costs_a_wait(cluster: NatsCluster, fault: Fault) -> None:
    """Each acknowledged event is handled once, in the order of its conversation."""
    figures = await survive(cluster, fault, events=600, space=fault)

    assert (figures.lost, figures.twice, figures.disordered) == (0, 0, 0), str(figures)
    assert figures.acknowledged == 600


async def test_another_process_goes_on_when_the_holder_dies(cluster: NatsCluster) -> None:
    """What the dead process had handled without a mark is handled again: there is no transaction."""
    figures = await survive(cluster, "holder", events=600, space="holder")

    assert (figures.lost, figures.disordered) == (0, 0), str(figures)
    # what runs at the same time, and marks that wait for the next batch or for its response
    assert figures.twice <= 128, str(figures)
