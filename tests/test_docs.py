"""The Python of every page runs, and every link between pages leads somewhere."""

import ast
import asyncio
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tests.support.paths import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "webhooks" / "README.md", *(ROOT / "docs").glob("*.md")])
#: Pages whose code needs the server of a store: the fixture of its URL, which they read from STORE_URL.
STORES = {"nats.md": "nats_url"}
FENCE = re.compile(r"^```python *\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def fences(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the line number and the code of each Python block of a page."""
    text = page.read_text("utf-8")
    for match in FENCE.finditer(text):
        yield text[: match.start(1)].count("\n") + 1, textwrap.dedent(match[1])


def pages_with_code() -> list[ParameterSet]:
    return [
        pytest.param(page, marks=[pytest.mark.engines] * (page.name in STORES))
        for page in PAGES
        if page.exists() and any(fences(page))
    ]


@pytest.mark.parametrize("page", pages_with_code(), ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The blocks of a page run top to bottom in one namespace, `await` at the top level allowed."""
    monkeypatch.chdir(tmp_path)
    if page.name in STORES:
        monkeypatch.setenv("STORE_URL", str(request.getfixturevalue(STORES[page.name])))
    module = ModuleType("page")  # frameworks look for the module of a handler, to read its annotations
    monkeypatch.setitem(sys.modules, "page", module)
    namespace: dict[str, Any] = vars(module)  # Any: whatever the page defines

    with asyncio.Runner() as runner:
        for line, code in fences(page):
            source = "\n" * (line - 1) + code
            compiled = compile(
                source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
            )
            result = eval(compiled, namespace)  # noqa: S307 - our own pages
            if inspect.iscoroutine(result):
                runner.run(result)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: its headings, in the form that code hosts give them, and its own ids."""
    text = page.read_text("utf-8")
    headings = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.exists()], ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_of_page_lead_somewhere(page: Path) -> None:
    """Relative links point at files that exist, with anchors that exist."""
    broken: list[str] = []
    for link in LINK.findall(page.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []
