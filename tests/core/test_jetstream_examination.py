"""What `doctor` says about servers and streams of JetStream, each finding with its cure."""

from __future__ import annotations

import json
import time

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async.bulk.ledger.conformance_claims import people
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_core.findings import Finding
from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.examination import examine
from tests.core.test_jetstream import StoreError
from tests.support.nats_server import NatsCluster, NatsServer

pytestmark = pytest.mark.engines


async def findings(url: str, *, behind: float = 0.0) -> dict[str, Finding]:
    """Return the findings by their codes; the clock of this machine may be wrong."""
    connection = Connection(url, error=StoreError, name="test")
    await connection.open()
    try:
        found = await examine(connection, clock=lambda: time.time() - behind)
    finally:
        await connection.aclose()
    assert all(finding.cure for finding in found if finding.level != "good")
    return {finding.code: finding for finding in found}


async def test_a_single_server_may_lose_a_campaign(nats_server: NatsServer, nats_url: str) -> None:
    """One replica, no sync, no limit: bad for a campaign, whose lost `sending` messages a person twice."""
    url = f"{nats_url}?monitor=http://127.0.0.1:{nats_server.monitor}"
    async with await JetStreamLedger.open(nats_url, "spring", accept_loss=True):
        found = await findings(url)

    levels = {code: finding.level for code, finding in found.items()}
    assert levels == {
        "nats-version": "good",
        "nats-cluster": "warning",
        "nats-sync": "bad",
        "nats-replicas": "bad",
        "nats-clock": "good",
    }
    assert "messages a person twice" in found["nats-sync"].text


async def test_clocks_that_differ_and_a_stream_that_is_nearly_full(nats_url: str) -> None:
    """Both are said before they matter; without a monitoring port the sync is not known."""
    async with await JetStreamLedger.open(nats_url, "spring", accept_loss=True, max_bytes=30_000) as ledger:
        await ledger.add(people(5))
        connection = ledger._connection
        await connection.request(
            f"$JS.API.STREAM.UPDATE.{ledger._stream.name}",
            json.dumps(await limited(ledger, 1.1)).encode(),
        )
        found = await findings(nats_url, behind=60.0)

    assert found["nats-clock"].text == "the clock of the server is 60.0 s ahead of this one"
    assert found["nats-full"].level == "warning"
    assert "monitor=" in found["nats-sync"].cure


async def limited(ledger: JetStreamLedger, factor: float) -> dict[str, object]:
    """Return the settings of the stream with a limit just above what it holds."""
    name = ledger._stream.name
    info = json.loads(await ledger._connection.request(f"$JS.API.STREAM.INFO.{name}"))
    settings: dict[str, object] = info["config"]
    return settings | {"max_bytes": int(info["state"]["bytes"] * factor)}


async def test_a_durable_cluster_is_good(cluster: NatsCluster) -> None:
    """Three servers, three replicas, each write on the disk."""
    monitors = ",".join(f"http://127.0.0.1:{server.monitor}" for server in cluster.servers)
    url = f"{cluster.url('x')}?monitor={monitors}"
    async with await JetStreamLedger.open(url, "spring"):
        found = await findings(url)

    assert {finding.level for finding in found.values()} == {"good"}, found


def test_the_command_looks_at_a_space(nats_url: str) -> None:
    """What works with a risk ends with 0, a server that is not there with 1; no password is shown."""
    done = CliRunner().invoke(app, ["doctor", "--store", nats_url, "--json"])
    assert done.exit_code == 0, done.output
    codes = [finding["code"] for finding in json.loads(done.stdout)["findings"]]
    assert codes == ["nats-version", "nats-cluster", "nats-sync", "nats-streams"]

    for url in ("nats://a:open-sesame@127.0.0.1:1/x", "mysql://a:open-sesame@127.0.0.1:1/x"):
        done = CliRunner().invoke(app, ["doctor", "--store", url])
        assert done.exit_code == 1
        assert "open-sesame" not in done.output
