"""The inbox on a cluster of JetStream in full size; `make test-engines` has the same stories short."""

import pytest

from tests.support.nats_server import NatsCluster
from tests.webhooks.inbox.jetstream_failures import Fault, survive


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", ["kill", "suspend", "holder"])
async def test_a_cluster_that_loses_a_server_among_20_000_events(cluster: NatsCluster, fault: Fault) -> None:
    """Nothing acknowledged is lost; nothing is handled twice unless the process that handles dies."""
    figures = await survive(cluster, fault, events=20_000, space=fault)

    print(figures)
    assert (figures.lost, figures.disordered) == (0, 0)
    assert figures.twice == 0 or fault == "holder"
