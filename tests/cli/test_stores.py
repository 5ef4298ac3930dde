"""`nexmo-dispatch migrate` and `doctor --store` on a Postgres server, as a script reads them."""

import json
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.cli.stores import STORE
from tests.support.postgres_server import PostgresServer

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


def bad(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for finding in report["findings"] if finding["level"] == "bad"]


@pytest.mark.parametrize(
    ("change", "words", "cure"),
    [
        (("/test_", "/absent_"), "the server has no database absent_", "createdb"),
        (
            ("//postgres@", "//absent_role@"),
            "does not let the role absent_role in",
            "correct user and password",
        ),
    ],
)
def test_a_database_or_a_role_that_is_missing_is_named(
    database: str, change: tuple[str, str], words: str, cure: str
) -> None:
    """The server runs, so to start it is no cure."""
    code, report = run("doctor", "--store", database.replace(*change))

    (finding,) = bad(report)
    assert (code, finding["code"]) == (1, "store")
    assert words in finding["text"]
    assert cure in finding["cure"]


def test_a_role_without_rights_is_a_matter_of_rights(database: str, postgres: PostgresServer) -> None:
    """Without the tables it may not make them, so a receiver ends at its start; then it may not read them."""
    postgres.sql("CREATE ROLE doctor_role LOGIN")
    try:
        url = database.replace("//postgres@", "//doctor_role@")
        code, report = run("doctor", "--store", url)
        found = bad(report)
        assert code == 1
        assert {finding["code"] for finding in found} == {"postgres-tables"}
        assert all("are missing, and the role may not make them" in finding["text"] for finding in found)
        assert all("--grant ROLE" in finding["cure"] for finding in found)

        run("migrate", "--store", database)
        code, report = run("doctor", "--store", url)
        assert (code, [finding["code"] for finding in bad(report)]) == (1, ["postgres-rights"])
        assert "the role doctor_role" in bad(report)[0]["text"]
    finally:
        postgres.sql("DROP ROLE doctor_role")


def test_a_database_without_tables_says_that_they_are_missing(database: str) -> None:
    """`version 0 of 1` is no version."""
    _, report = run("doctor", "--store", database)

    assert not [finding for finding in report["findings"] if "version 0 of" in finding["text"]]


@pytest.mark.parametrize(
    ("module", "url", "extra"),
    [("psycopg", "postgresql://h/app", "postgres"), ("nats", "nats://h/app", "nats")],
)
def test_an_extra_that_is_missing_is_a_dependency(
    module: str, url: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To start the server is no cure."""
    monkeypatch.setitem(sys.modules, module, None)

    code, report = run("doctor", "--store", url)

    (finding,) = bad(report)
    assert (code, finding["code"]) == (1, "dependency-missing")
    assert f"pip install 'nexmo-dispatch-async[{extra}]'" in finding["cure"]
