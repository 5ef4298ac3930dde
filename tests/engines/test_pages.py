"""The page of Python that runs on a file runs on Postgres with its paths replaced, and nothing else."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
from types import ModuleType

import pytest

from tests.support.paths import ROOT
from tests.support.postgres_server import PostgresServer
from tests.test_docs import fences

pytestmark = pytest.mark.engines

PAGE = ROOT / "docs" / "stores.md"
PATHS = re.compile(r'"(?:tracking|inbox|spring)\.db"')


def test_a_page_is_changed_by_its_strings_alone(
    database: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inbox, tracker and campaign work on one database, and leave their rows there."""
    ((_, code),) = fences(PAGE)
    changed, replaced = PATHS.subn(repr(database), code)
    assert replaced == 3
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    compiled = compile(changed, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

    result = eval(compiled, vars(module))  # noqa: S307 - our own page
    assert inspect.iscoroutine(result)
    asyncio.run(result)

    name = database.partition("?")[0].rpartition("/")[2]
    for table in ("inbox_events", "tracking_workflows", "campaign_recipients"):
        assert int(postgres.sql(f"SELECT count(*) FROM nexmo_dispatch.{table}", name)) >= 5  # noqa: S608
