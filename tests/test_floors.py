"""What pyproject.toml allows is what is tested: the lowest versions, and every Python that it claims."""

import re
import tomllib
from typing import Any

import pytest

from tests.support.floors import floors
from tests.support.paths import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def project(**changes: Any) -> dict[str, Any]:
    """A small pyproject.toml."""
    return {
        "build-system": {"requires": ["builder>=1"]},
        "project": {"dependencies": ["a>=1.2"], "optional-dependencies": {"x": ["b[c]>=0.3"]}},
        "dependency-groups": {
            "test": ["d>=4; python_version < '3.15'", {"include-group": "more"}],
            "more": ["e>=5"],
            "dev": ["f>=6"],
        },
        **changes,
    }


def test_the_lowest_version_of_everything_that_tests_need() -> None:
    """To build, to run, of every extra, and of the tests with the groups that they include."""
    assert floors(project()) == [
        *("builder==1", "a==1.2", "b[c]==0.3"),
        *("d==4; python_version < '3.15'", "e==5"),
    ]


@pytest.mark.parametrize(
    "text", ["a", "a>1", "a==1", "a>=1,<2", "a>=1,!=1.1", "a~=1.0", "a>=1 and more", ">=1"]
)
def test_a_dependency_without_a_plain_floor_is_refused(text: str) -> None:
    """What has no floor cannot be tested there, and a ceiling would keep security fixes away."""
    with pytest.raises(ValueError, match="must read name>=version"):
        floors(project(project={"dependencies": [text], "optional-dependencies": {}}))


def test_every_dependency_of_the_project_has_a_floor() -> None:
    """Runtime dependencies and extras among them; `make floors` installs exactly these."""
    names = {re.split(r"[\[=]", line)[0] for line in floors(PROJECT)}

    assert {"aiohttp", "anyio", "cryptography", "msgspec", "pyjwt", "rich", "typer"} <= names
    assert {"opentelemetry-api", "pytest", "hatchling"} <= names


def test_no_framework_is_claimed_that_is_not_run() -> None:
    """The client needs asyncio: with anyio on trio it raises an error that says so."""
    frameworks = re.findall(r"Framework :: (.*)", "\n".join(PROJECT["project"]["classifiers"]))

    assert frameworks == ["AsyncIO", "aiohttp"]


def test_every_claimed_python_is_looked_for() -> None:
    """Classifiers, `requires-python`, the Makefile and the configuration of the checkers say the same."""
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    makefile = (ROOT / "Makefile").read_text("utf-8")

    lowest = claimed[0]
    assert claimed == [f"3.{minor}" for minor in range(int(lowest[2:]), int(lowest[2:]) + len(claimed))]
    assert PROJECT["project"]["requires-python"] == f">={lowest}"
    assert PROJECT["tool"]["mypy"]["python_version"] == lowest
    assert PROJECT["tool"]["pyright"]["pythonVersion"] == lowest
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + lowest.replace(".", "")
    assert f"FLOOR_PYTHON ?= python{lowest}\n" in makefile
    assert set(re.findall(r"python(3\.\d+)", makefile)) == set(claimed)
