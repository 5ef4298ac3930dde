"""`docs/architecture.md` is the tree and the arrows as they stand."""

import ast
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


#: What awaits a socket: a read or a write of it, or the calls with which ASGI hands them over.
AWAITS_THE_NETWORK = re.compile(
    r"\.(?:readany|write_eof|next_msg)\([^()]*\)$|^Connection\.connect\(|^(?:receive|send)\("
)
#: Programs for development, of which the page says so.
FOR_DEVELOPMENT = {"simulator", "cli", "testing.py"}


def awaited(path: Path) -> list[str]:
    """Return the source of what a module awaits."""
    return [
        ast.unparse(node.value)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Await)
    ]


def test_the_files_that_await_the_network_are_named() -> None:
    """All of them, and no other, so that a reader who looks for a socket opens seven files."""
    paragraph = PAGE.split("**Which files await the network.**", 1)[1].split("**", 1)[0]
    named = {Path(name) for name in re.findall(r"`([\w/]+\.py)`", paragraph)}

    found = {
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if not FOR_DEVELOPMENT & set(path.parts)
        and (
            any(AWAITS_THE_NETWORK.search(source) for source in awaited(path))
            or "urlopen(" in path.read_text("utf-8")
        )
    }

    assert all(any(path.parts[-len(name.parts) :] == name.parts for path in found) for name in named)
    assert len(found) == len(named) == 7
