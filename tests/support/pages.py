"""What stands on a page of the documentation: blocks of code, files, conversations with a shell, links."""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT

__all__ = [
    "PAGES",
    "REPOSITORY",
    "Block",
    "anchors",
    "awaits_outside_of_functions",
    "blocks",
    "conversations",
    "links",
    "local_path",
    "name_of",
    "output_pattern",
    "uses_earlier_blocks",
]

PAGES = sorted([ROOT / "README.md", ROOT / "webhooks" / "README.md", *(ROOT / "docs").rglob("*.md")])
REPOSITORY: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]

_BLOCK = re.compile(r'^( *)```(\w+)(?: title="([^"]+)")? *\n(.*?)^ *```', re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A block of code: its language, the file that it is the text of, its text, and its first line."""

    language: str
    title: str
    code: str
    line: int


def name_of(page: Path) -> str:
    """Return the path of a page in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page, from top to bottom."""
    text = page.read_text("utf-8")
    for match in _BLOCK.finditer(text):
        line = text[: match.start(4)].count("\n") + 1
        yield Block(match[2], match[3] or "", textwrap.dedent(match[4]), line)


def awaits_outside_of_functions(code: str) -> bool:
    """Return whether a block of Python needs a loop around it."""
    compiled = compile(code, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return bool(compiled.co_flags & 0x80)  # inspect.CO_COROUTINE


def uses_earlier_blocks(codes: Iterable[str]) -> bool:
    """Return whether a block of Python needs a name that only an earlier one makes."""
    known: set[str] = set()
    for code in codes:
        made, used = _names(code)
        if (used - made) & known:
            return True
        known |= made
    return False


def _names(code: str) -> tuple[set[str], set[str]]:
    """Return the names that a block makes, at any depth, and those that it reads."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree: ast.AST = compile(code, "page", "exec", flags=flags, dont_inherit=True)
    made: set[str] = set()
    used: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                made.add(name)
            case ast.ClassDef(name=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                made.add(name)
            case ast.alias(name=name, asname=other):
                made.add((other or name).partition(".")[0])
            case _:
                pass
    return made, used


def conversations(block: str) -> list[tuple[str, str]]:
    """Return the commands of a block, and what follows each."""
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in block.split("$ ")[1:]]


def output_pattern(shown: str) -> str:
    """Return what fits a shown output: `…` is any text, over several lines if it stands alone."""
    lines = [
        "(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n"
        for line in shown.rstrip("\n").split("\n")
        if line
    ]
    return "".join(lines)


def links(page: Path) -> list[str]:
    """Return the targets of the links and pictures of a page."""
    return _LINK.findall(page.read_text("utf-8"))


def local_path(page: Path, link: str) -> tuple[Path, str] | None:
    """Return the file and the anchor of a link; None for a link that leaves the repository."""
    raw = REPOSITORY.replace("//github.com/", "//raw.githubusercontent.com/")
    for prefix in (f"{REPOSITORY}/blob/main/", f"{REPOSITORY}/tree/main/", f"{raw}/main/"):
        if link.startswith(prefix):
            path, _, anchor = link.removeprefix(prefix).partition("#")
            return ROOT / path, anchor
    if re.match(r"[a-z]+:", link):
        return None
    path, _, anchor = link.partition("#")
    return (page.parent / path).resolve() if path else page, anchor


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: its headings, in the form that code hosts give them, and its own ids."""
    text = page.read_text("utf-8")
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
