"""The checks of wheel, sdist and metadata find what they look for; `make dist` runs them on the real ones."""

import tomllib
from typing import Any

import pytest

from tests.support.distributions import metadata_problems, package_files, sdist_problems, wheel_problems
from tests.support.paths import ROOT
from tests.support.release_tag import problems

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
TRACKED = [
    ".ci/run",
    "README.md",
    "docs/rules.md",
    "nexmo_dispatch_async/py.typed",
    "nexmo_dispatch_core/py.typed",
    "tests/conftest.py",
    "webhooks/README.md",
    "webhooks/nexmo_dispatch_webhooks/py.typed",
    "webhooks/nexmo_dispatch_webhooks/routing.py",
]
INFO = [
    f"x-1.dist-info/{name}"
    for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
]
WHEEL = [
    "nexmo_dispatch_async/py.typed",
    "nexmo_dispatch_core/pages/rules.md",
    "nexmo_dispatch_core/py.typed",
    "nexmo_dispatch_webhooks/py.typed",
    "nexmo_dispatch_webhooks/routing.py",
    *INFO,
]
SDIST = [f"x-1/{name}" for name in [*TRACKED[1:], "PKG-INFO"]]


def test_archives_as_the_repository_has_them_have_no_problem() -> None:
    """The packages alone in the wheel, the receiver without its folder, and all sources in the sdist."""
    assert package_files(TRACKED) == {name for name in WHEEL if ".dist-info" not in name}
    assert wheel_problems(WHEEL, TRACKED) == []
    assert sdist_problems(SDIST, TRACKED) == []


@pytest.mark.parametrize("name", WHEEL)
def test_a_file_that_a_wheel_lacks_is_found(name: str) -> None:
    """Whichever it is."""
    (problem, *_) = wheel_problems([each for each in WHEEL if each != name], TRACKED)

    assert problem.endswith(name.removeprefix("x-1.dist-info/"))


@pytest.mark.parametrize(
    "name",
    [
        "tests/conftest.py",
        "webhooks/nexmo_dispatch_webhooks/py.typed",
        "nexmo_dispatch_core/notes.db",
        "x-1.dist-info/y",
    ],
)
def test_a_file_that_is_no_part_of_a_wheel_is_found(name: str) -> None:
    """Tests, a second copy of the receiver, and what lay in the folder when the wheel was built."""
    assert len(wheel_problems([*WHEEL, name], TRACKED)) == 1


def test_what_an_sdist_lacks_or_has_too_much_is_found() -> None:
    """A page that the tests need, and a file of a machine."""
    found = sdist_problems([*SDIST[1:], "x-1/.venv/pip.conf"], TRACKED)

    assert found == [
        "missing in the sdist: README.md",
        "in the sdist and not in the repository: .venv/pip.conf",
    ]


def metadata(*without: str, extra: str = "") -> str:
    """Return the metadata that the project's table asks for, less the lines that begin so."""
    lines = [
        f"Name: {PROJECT['name']}",
        f"License-Expression: {PROJECT['license']}",
        f"Requires-Python: {PROJECT['requires-python']}",
        "Description-Content-Type: text/markdown",
        *(f"Classifier: {each}" for each in PROJECT["classifiers"]),
        *(f"Requires-Dist: {each}" for each in PROJECT["dependencies"]),
    ]
    for name, texts in PROJECT["optional-dependencies"].items():
        lines += [f"Provides-Extra: {name}", *(f"Requires-Dist: {each}; extra == '{name}'" for each in texts)]
    kept = [line for line in lines if not line.startswith(without)] if without else lines
    return "\n".join([*kept, *extra.splitlines(), "", "The README"])


def test_metadata_as_pyproject_says_have_no_problem() -> None:
    """Dependencies with and without extras, in whatever spelling."""
    assert metadata_problems(metadata(), PROJECT) == []


@pytest.mark.parametrize(
    "field",
    [
        "Name",
        "License-Expression",
        "Requires-Python",
        "Description-Content-Type",
        "Classifier: Typing",
        "Provides-Extra: cli",
        "Requires-Dist: aiohttp",
        "Requires-Dist: typer",
    ],
)
def test_a_field_that_the_metadata_lack_is_found(field: str) -> None:
    """Whatever an index shows or pip goes by."""
    assert len(metadata_problems(metadata(field), PROJECT)) == 1


def test_a_dependency_that_pyproject_does_not_name_is_found() -> None:
    """A user would install it unasked."""
    assert metadata_problems(metadata(extra="Requires-Dist: leftpad>=1"), PROJECT) == [
        "Requires-Dist has leftpad>=1"
    ]


def test_only_the_tag_of_a_described_version_is_released() -> None:
    """The tag names the version of the package, and the changelog tells of it."""
    module, changelog = (
        '"""The version."""\n\n__version__ = "1.2.3"\n',
        "# Changelog\n\n## [1.2.3] - 2030-01-01\n",
    )

    assert problems("v1.2.3", module, changelog) == []
    assert problems("v1.2.4", module, changelog) == ["the tag is v1.2.4, and the version 1.2.3: tag v1.2.3"]
    assert problems("v1.2.3", module, "## [Unreleased]\n## [1.2.30]\n") == [
        "CHANGELOG.md has no heading ## [1.2.3]"
    ]
    assert len(problems("v", "", changelog)) == 1
