"""The Python of every page runs, and every link between pages leads somewhere."""

import ast
import asyncio
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tests.support.pages import (
    PAGES,
    anchors,
    awaits_outside_of_functions,
    blocks,
    links,
    local_path,
    name_of,
    uses_earlier_blocks,
)
from tests.support.paths import ROOT

#: Pages whose code needs the server of a store: the fixture of its URL, which they read from STORE_URL.
STORES = {"nats.md": "nats_url"}
#: Pages that import what takes a second, and whose code another module runs as well.
LONG = {"frameworks.md"}
#: What a newcomer reads on the first page.
BEGINNING = (ROOT / "docs" / "index.md").read_text("utf-8").partition("## Programs to copy")[0]
#: Characters of a line of code that the site shows on a desktop without a scrollbar.
VISIBLE = 84
#: What pages tell a reader to export.
ENVIRONMENT = {
    "NEXMO_DISPATCH_CLIENT_ID": "client-id",
    "NEXMO_DISPATCH_CLIENT_SECRET": "client-secret",
    "NEXMO_DISPATCH_APPLICATION_ID": "7d1c2f6a-0b0e-4b57-9a2e-3f1f0a9f6c11",
    "NEXMO_DISPATCH_SIGNATURE_SECRETS": "a1b2c3d4=signature-secret",
}


def fences(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the line number and the code of each Python block but whole files."""
    return ((each.line, each.code) for each in blocks(page) if each.language == "python" and not each.title)


def pages_with_code() -> list[ParameterSet]:
    return [
        pytest.param(
            page,
            marks=[pytest.mark.engines] * (page.name in STORES) + [pytest.mark.long] * (page.name in LONG),
        )
        for page in PAGES
        if any(fences(page))
    ]


@pytest.mark.parametrize("page", pages_with_code(), ids=name_of)
def test_python_of_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The blocks of a page run top to bottom in one namespace, `await` at the top level allowed."""
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of_page_lead_somewhere(page: Path) -> None:
    """Links into the repository point at files that exist, with anchors that exist."""
    broken: list[str] = []
    for link in links(page):
        found = local_path(page, link)
        if found is None:
            continue
        target, anchor = found
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_the_readme_works_on_the_page_of_the_package() -> None:
    """A package index shows the README without the repository: every link and picture is absolute."""
    relative = [link for link in links(ROOT / "README.md") if not link.startswith("https://")]

    assert relative == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_whose_blocks_do_not_run_alone_says_how_to_run_them(page: Path) -> None:
    """With `await` outside of functions, or names of an earlier block, a block fails in a file of its own."""
    codes = [code for _, code in fences(page)]
    needs_it = uses_earlier_blocks(codes) or any(awaits_outside_of_functions(code) for code in codes)

    assert not needs_it or "](run_examples.md)" in page.read_text("utf-8")


def test_every_page_has_its_place_in_the_navigation() -> None:
    """No page is an orphan: each stands once in the navigation of the site, and on its first page."""
    docs = ROOT / "docs"
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8").split("\nnav:\n", 1)[1]
    placed = re.findall(r"(?:- |: )([\w./-]+\.md)$", navigation, re.MULTILINE)
    index = (docs / "index.md").read_text("utf-8")

    paths = sorted(page.relative_to(docs).as_posix() for page in docs.rglob("*.md"))

    assert sorted(placed) == sorted([*paths, "changelog.md"])  # a page that the site makes of CHANGELOG.md
    assert "](../CHANGELOG.md)" in index
    assert [path for path in paths if path != "index.md" and f"]({path})" not in index] == []


def test_the_index_gives_each_reader_one_page() -> None:
    """A row with two links is a question, and each page stands in one row only."""
    rows = re.findall(r"^\|.*\|$", BEGINNING.split("## Where to begin", 1)[1], re.MULTILINE)[2:]

    targets = [re.findall(r"\]\(([^)]+)\)", row) for row in rows]

    assert len(rows) > 5
    assert [len(each) for each in targets] == [1] * len(rows)
    assert len({each for (each,) in targets}) == len(rows)


def test_a_newcomer_reads_two_minutes_before_the_first_green_test() -> None:
    """At 250 words a minute; the rest of ten minutes is for the installation, the files and the code."""
    tutorial = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    before, green, _ = tutorial.partition("1 passed in")

    assert green
    assert "dispatch.wait(" in before  # what the caller's own code learns
    assert len(BEGINNING.split()) + len(before.split()) <= 500


@pytest.mark.parametrize(
    "path", [*(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.py")], ids=name_of
)
def test_what_a_reader_is_told_to_open_is_in_reach(path: Path) -> None:
    """The wheel has neither `docs/` nor `tests/`: a page links to their files, and a program names pages."""
    text = path.read_text("utf-8")
    for_contributors = path.name in {"architecture.md", "contract.md"}

    assert for_contributors or not re.findall(r"(?<![/(\w])(?:tests|docs)/[\w/]+\.(?:py|md)\b", text)


def test_the_first_program_of_the_tutorial_needs_no_scrollbar() -> None:
    """A reader sees each line of it whole."""
    (program,) = (each for each in blocks(ROOT / "docs" / "tutorial.md") if each.title == "parcel.py")

    assert [line for line in program.code.splitlines() if len(line) > VISIBLE] == []
