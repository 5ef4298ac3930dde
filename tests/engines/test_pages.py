"""The page of Python that runs on a file runs on other stores with its paths replaced, and nothing else."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import sys
from types import ModuleType

import pytest

from nexmo_dispatch_core.jetstream.connection import Connection
from tests.support.nats_server import NatsCluster
from tests.support.paths import ROOT
from tests.support.postgres_server import PostgresServer
from tests.test_docs import fences

pytestmark = pytest.mark.engines

PAGE = ROOT / "docs" / "stores.md"
PATHS = re.compile(r'"(?:tracking|inbox|spring)\.db"')


def run_page(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the page with the URL of a store in the place of its paths."""
    ((_, code),) = fences(PAGE)
    changed, replaced = PATHS.subn(repr(store), code)
    assert replaced == 3
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    compiled = compile(changed, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

    result = eval(compiled, vars(module))  # noqa: S307 - our own page
    assert inspect.iscoroutine(result)
    asyncio.run(result)


def test_a_page_is_changed_by_its_strings_alone(
    database: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inbox, tracker and campaign work on one database, and leave their rows there."""
    run_page(database, monkeypatch)

    name = database.partition("?")[0].rpartition("/")[2]
    for table in ("inbox_events", "tracking_workflows", "campaign_recipients"):
        assert int(postgres.sql(f"SELECT count(*) FROM nexmo_dispatch.{table}", name)) >= 5  # noqa: S608


def test_the_page_runs_on_a_cluster_of_nats(cluster: NatsCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on NATS: a cluster that loses nothing needs no word more than its URL."""
    monitors = ",".join(f"http://127.0.0.1:{server.monitor}" for server in cluster.servers)
    url = f"{cluster.url('spring')}?monitor={monitors}"
    run_page(url, monkeypatch)

    async def look() -> None:
        connection = Connection(url, error=lambda failure: AssertionError(failure.text), name="test")
        await connection.open()
        for name in ("spring_inbox", "KV_spring_tracking", "spring_campaigns"):
            info = json.loads(await connection.request(f"$JS.API.STREAM.INFO.{name}"))
            assert info["config"]["num_replicas"] == 3
            assert info["state"]["messages"] >= 5
        await connection.aclose()

    asyncio.run(look())
