"""`nexmo-dispatch migrate` and `doctor --store` on a Postgres server, as a script reads them."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.cli.stores import STORE

pytestmark = pytest.mark.engines


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_a_database_from_its_first_table_to_its_health(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`migrate` makes the tables once, and `doctor` finds them, by argument or variable."""
    code, report = run("migrate", "--store", database)
    assert code == 0
    assert {version["before"] for version in report["tables"].values()} == {0}
    monkeypatch.setenv(STORE, database)
    _, report = run("migrate")
    assert all(version["before"] == version["after"] for version in report["tables"].values())

    for arguments in (("doctor", "--store", database), ("doctor", "--only", "store")):
        code, report = run(*arguments)
        assert (code, report["bad"]) == (0, 0)
        assert "postgres-tables" in {finding["code"] for finding in report["findings"]}
        assert all(finding["code"].startswith("postgres-") for finding in report["findings"])


@pytest.mark.parametrize(
    "url", ["postgresql://app:hidden@127.0.0.1:9/app", "mysql://app:hidden@127.0.0.1/app"]
)
def test_a_database_that_cannot_be_reached_is_named_without_its_password(url: str) -> None:
    """The code is `store`, the exit code 1, and the URL is not shown."""
    code, report = run("doctor", "--store", url)

    assert (code, report["bad"]) == (1, 1)
    assert [finding["code"] for finding in report["findings"]] == ["store"]
    assert "hidden" not in str(report)
