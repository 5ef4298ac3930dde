"""`nexmo-dispatch doctor --store FILE`: what is wrong with a file on SQLite, while a process uses it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.cli.doctor_file import examine_file
from nexmo_dispatch_async.cli.stores import STORE
from nexmo_dispatch_core.findings import Finding
from nexmo_dispatch_webhooks import Event
from nexmo_dispatch_webhooks.inbox import SqliteInbox
from tests.webhooks.inbox.support import frozen, put, status_bytes

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


async def handle(event: Event) -> None: ...


async def fail(event: Event) -> None:
    raise RuntimeError("broken")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def codes(findings: list[Finding]) -> dict[str, str]:
    return {finding.code: finding.level for finding in findings}


async def test_a_running_inbox_is_looked_at_and_not_held_up(tmp_path: Path) -> None:
    """All is good; the look makes no file, and the process stores on while a look is open."""
    path = tmp_path / "inbox.db"
    inbox = SqliteInbox(path, busy_timeout=0)
    await inbox.start(frozen(handle))
    try:
        await put(inbox, status_bytes(1))
        await inbox.idle()
        before = names(tmp_path)

        findings = examine_file(path, inbox.settings.clock())
        await put(inbox, status_bytes(2))

        assert set(codes(findings).values()) == {"good"}, findings
        assert {"sqlite-access", "sqlite-room", "sqlite-kind", "inbox-lag", "inbox-quarantined"} == set(
            codes(findings)
        )
        assert names(tmp_path) == before
    finally:
        await inbox.aclose()

    after = names(tmp_path)
    assert set(codes(examine_file(path, inbox.settings.clock())).values()) == {"good"}
    assert names(tmp_path) == after


async def test_what_waits_and_what_failed_is_a_risk(tmp_path: Path) -> None:
    """An event that no process handles for an hour, and a record in quarantine."""
    inbox = SqliteInbox(tmp_path / "inbox.db", clock=lambda: 1000.0)
    await inbox.start(frozen(fail))
    await put(inbox, status_bytes(1))
    await inbox.idle()
    await put(inbox, b"[]")
    await inbox.aclose()

    findings = examine_file(tmp_path / "inbox.db", 4600.0)

    assert codes(findings) | {"inbox-lag": "warning", "inbox-quarantined": "warning"} == codes(findings)
    texts = " ".join(finding.text for finding in findings)
    assert "1 event waits for a handler, the oldest for 3600 s" in texts
    assert "nexmo-dispatch inbox summary inbox.db" in " ".join(finding.cure for finding in findings)


@as_root
async def test_a_companion_of_root_is_bad(tmp_path: Path) -> None:
    """Root may use it, so nothing else tells that the service cannot."""
    async with SqliteInbox(tmp_path / "inbox.db") as inbox:
        await inbox.summary()
    os.chown(tmp_path / "inbox.db", 65534, -1)
    (tmp_path / "inbox.db-worker").touch()

    (owner,) = [each for each in examine_file(tmp_path / "inbox.db", 0.0) if each.code == "sqlite-owner"]

    assert owner.level == "bad"
    assert "inbox.db-worker of inbox.db do not belong to its owner (uid 65534)" in owner.text


async def test_other_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger, no database, no folder, a file that is not there yet, and a disk that is nearly full."""
    async with await SqliteLedger.open(tmp_path / "spring.db"):
        pass
    (tmp_path / "text.db").write_text("no database " * 1000)

    assert "the ledger of a campaign" in str(examine_file(tmp_path / "spring.db", 0.0))
    assert codes(examine_file(tmp_path / "text.db", 0.0))["sqlite-kind"] == "bad"
    assert "(SQLITE_NOTADB): the file is another one, or" in str(examine_file(tmp_path / "text.db", 0.0))
    assert codes(examine_file(tmp_path / "nowhere" / "inbox.db", 0.0)) == {"sqlite-access": "bad"}
    assert codes(examine_file(tmp_path / "inbox.db", 0.0)) == {"sqlite-missing": "warning"}
    assert not (tmp_path / "inbox.db").exists()
    little = shutil.disk_usage("/")._replace(free=1024**2)

    def disk_usage(_: object) -> object:
        return little

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert codes(examine_file(tmp_path / "spring.db", 0.0))["sqlite-room"] == "warning"


@pytest.mark.parametrize("way", ["argument", "url", "variable"])
def test_the_command_takes_a_file(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a path, as `sqlite:///`, and from the variable."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE mine (x)")
    arguments = {"argument": ["--store", str(path)], "url": ["--store", f"sqlite:///{path}"]}
    monkeypatch.setenv(STORE, str(path))

    done = CliRunner().invoke(app, ["doctor", "--json", *arguments.get(way, ["--only", "store"])])

    report: dict[str, Any] = json.loads(done.stdout)
    assert (done.exit_code, report["bad"]) == (0, 0)
    assert [finding["code"] for finding in report["findings"]] == [
        "sqlite-access",
        "sqlite-room",
        "sqlite-kind",
    ]
