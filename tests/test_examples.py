"""Every example runs unaided and ends well."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ARGUMENTS = {"bulk.py": ["--count", "500"]}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An example needs no account, no arguments and no network beyond loopback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), *ARGUMENTS.get(path.name, [])])

    runpy.run_path(str(path), run_name="__main__")

    assert capsys.readouterr().out.strip(), "an example shows what it did"


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.long] * (path.name != "send.py")) for path in EXAMPLES],
    ids=lambda path: path.name,
)
def test_example_runs_in_a_process(path: Path, tmp_path: Path) -> None:
    """The same from a shell: an example imports all that it needs, and exits with 0 without a warning."""
    command = [sys.executable, "-W", "error", str(path), *ARGUMENTS.get(path.name, [])]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=25)

    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr  # lines of the log stand there too
    assert done.stdout.strip()
