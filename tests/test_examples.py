"""Every example runs unaided and ends well, as a reader would run it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

EXAMPLES = ROOT / "examples"
ARGUMENTS = {"bulk.py": ["--count", "500"]}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    """An example needs no account, no arguments and no network beyond loopback."""
    command = [sys.executable, "-W", "error", str(path), *ARGUMENTS.get(path.name, [])]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=25)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip(), "an example shows what it did"
