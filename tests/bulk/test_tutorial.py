"""The tutorial of campaigns: its files and its commands, one after the other, say what the page says."""

from __future__ import annotations

import re
import shlex
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async.cli.app import app
from tests.bulk.service import running_service

PAGE = Path(__file__).parent.parent.parent / "docs" / "campaigns.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILES = {"csv": "customers.csv", "toml": "spring.toml"}


def conversations(block: str) -> list[tuple[str, str]]:
    """Return the commands of a block, and what follows each."""
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in block.split("$ ")[1:]]


def pattern(shown: str) -> str:
    """Return what fits a shown output: `…` is any text, over several lines if it stands alone."""
    lines = [
        "(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n"
        for line in shown.rstrip("\n").split("\n")
        if line
    ]
    return "".join(lines)


@pytest.mark.timeout(120)
def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a CSV to a report, with the exit codes of the page."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told: list[str] = []
    with running_service(monkeypatch, speed=600, callbacks=f"http://127.0.0.1:{port}/webhooks"):
        for kind, block in BLOCK.findall(PAGE.read_text("utf-8")):
            if kind in FILES:
                encoding = "utf-8-sig" if kind == "csv" else "utf-8"
                Path(FILES[kind]).write_text(block, encoding)
            elif kind == "console":
                for command, shown in conversations(block.replace(":8702", f":{port}")):
                    done = CliRunner().invoke(app, shlex.split(command)[1:])
                    told.append(command)
                    assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
                    assert re.fullmatch(pattern(shown), done.output), f"{command}\n{done.output}"
    assert len(told) >= 11
    assert "Held" not in Path("spring.html").read_text("utf-8")
    assert len(Path("missed.csv").read_text("utf-8").splitlines()) == 3
