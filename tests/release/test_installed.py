"""The check of the installed wheel: the claimed Pythons, the lowest versions, the installed package."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.check_installed import PROGRAM, lowest
from tests.support.interpreters import claimed_versions, find_python
from tests.support.paths import ROOT


def test_the_running_python_is_claimed_and_found() -> None:
    """The search reads the classifiers, and what it finds is of the version that was asked for."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert version in claimed_versions()

    found = find_python(version)

    if found is not None:  # a Python of a system may have no name with its version
        probe = [found, "-Ic", "import sys; print(sys.version_info[:2])"]
        done = subprocess.run(probe, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(sys.version_info[:2])
    assert find_python("3.0") is None


def test_the_lowest_versions_are_the_floors_of_everything_that_users_install() -> None:
    """As constraints, which have no extras in brackets; nothing of the tests is among them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    constraints = lowest()

    names = {line.split("==")[0] for line in constraints}
    assert [line for line in constraints if not re.fullmatch(r"[\w.-]+==[\d.]+", line)] == []
    assert {re.split(r"[\[>]", text)[0] for text in project["dependencies"]} <= names
    assert {"rich", "typer", "phonenumbers"} <= names
    assert "pytest" not in names


@pytest.mark.long
def test_the_program_of_the_check_refuses_a_package_of_a_checkout(tmp_path: Path) -> None:
    """Otherwise a wheel without half of its files would pass beside the sources."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.read_text("utf-8"), "utf-8")

    done = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=25
    )

    assert done.returncode == 1
    assert "is not the installed package" in done.stderr
