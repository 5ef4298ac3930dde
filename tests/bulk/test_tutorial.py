"""The tutorial of campaigns: its files and its commands, one after the other, say what the page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async.cli import bulk_run
from nexmo_dispatch_async.cli.app import app
from tests.bulk.service import running_service
from tests.support.pages import blocks, conversations, output_pattern
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "campaigns.md"
FILES = {"csv": "customers.csv", "toml": "spring.toml"}


@pytest.mark.timeout(120)
def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold_port: Callable[[], int]) -> None:
    """From a CSV to a report, with the exit codes of the page."""
    monkeypatch.chdir(tmp_path)
    # On a busy machine the few sends of the page would take long enough for a line about them.
    monkeypatch.setattr(bulk_run, "_TOLD_EVERY_S", 60.0)
    port = hold_port()
    told: list[str] = []
    with running_service(monkeypatch, speed=600, callbacks=f"http://127.0.0.1:{port}/webhooks"):
        for kind, _, block, _ in blocks(PAGE):
            if kind in FILES:
                encoding = "utf-8-sig" if kind == "csv" else "utf-8"
                Path(FILES[kind]).write_text(block, encoding)
            elif kind == "console":
                for command, shown in conversations(block.replace(":8702", f":{port}")):
                    done = CliRunner().invoke(app, shlex.split(command)[1:])
                    told.append(command)
                    assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
                    assert re.fullmatch(output_pattern(shown), done.output), f"{command}\n{done.output}"
    assert len(told) >= 11
    assert "Held" not in Path("spring.html").read_text("utf-8")
    assert len(Path("missed.csv").read_text("utf-8").splitlines()) == 3
