"""`docs/architecture.md` is the tree and the arrows as they stand."""

import re
from pathlib import Path

from tests.support.paths import ROOT
from tests.test_architecture import SDK_LAYERS

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PACKAGES = ("nexmo_dispatch_async", "webhooks/nexmo_dispatch_webhooks", "nexmo_dispatch_core")
# Modules that every package has, and that say nothing about it.
UNNAMED = {"__init__.py", "__main__.py", "_version.py"}

# The names at the beginning of a line of a tree, before its description.
NAMES = re.compile(r"^( *)((?:[\w/]+(?:\.py|/)(?: +|$))+)")


def drawn(package: str) -> list[str]:
    """Return the paths of the modules in the tree of a package."""
    lines = PAGE.split(f"```\n{package}/", 1)[1].split("```", 1)[0].splitlines()[1:]
    folders: list[str] = []
    found: list[str] = []
    for line in lines:
        match = NAMES.match(line)
        assert match is not None, line
        depth = len(match[1]) // 2 - 1
        names = match[2].split()
        del folders[depth:]
        if names[0].endswith("/"):
            folders.append(names[0])
        else:
            found.extend("".join(folders) + name for name in names)
    return found


def test_every_module_is_drawn_once() -> None:
    """A reader finds every module in the tree, in its folder, and no module that is gone."""
    for package in PACKAGES:
        base = ROOT / package
        modules = {
            path.relative_to(base).as_posix() for path in base.rglob("*.py") if path.name not in UNNAMED
        }
        found = drawn(package)

        assert modules - set(found) == set(), f"add these modules to the tree of {package}"
        assert set(found) - modules == set(), f"remove these modules from the tree of {package}"
        assert len(found) == len(set(found))


def test_the_arrows_are_those_of_the_tests() -> None:
    """The list of layers on the page is the one that the imports are checked against."""
    block = PAGE.split("## Arrows", 1)[1].split("```", 2)[1]

    assert [set(line.split()) for line in block.strip().splitlines()] == SDK_LAYERS


def test_the_paths_of_a_reader_lead_to_files() -> None:
    """Every module that "Where to look" names is there."""
    section = PAGE.split("## Where to look", 1)[1].split("## ", 1)[0]
    named = set(re.findall(r"`([\w/]+\.py)`", section))
    missing = [name for name in named if not any((ROOT / package / name).is_file() for package in PACKAGES)]

    assert len(named) > 20
    assert missing == []
    assert Path(__file__).name in PAGE
