"""The pages of the built site, run by `make docs` after it has built them."""

import importlib
import json
import re
from html import unescape
from pathlib import Path

import pytest

from tests.support.built_site import Page, dead_links, external_assets, orphans, read_site
from tests.support.paths import ROOT

SITE = ROOT / "site"


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    found = read_site(SITE)
    assert SITE / "index.html" in found, "the site is not built: run make docs"
    return found


def test_no_link_is_dead(pages: dict[Path, Page]) -> None:
    """Every link and every asset leads to a file of the site, and every anchor to a place in it."""
    assert len(pages) > 40
    assert dead_links(pages) == []


def test_no_page_is_an_orphan(pages: dict[Path, Page]) -> None:
    """A reader who follows links from the first page finds every page."""
    assert orphans(pages, SITE / "index.html") == []


def test_nothing_comes_from_another_host(pages: dict[Path, Page]) -> None:
    """Scripts, styles, fonts and pictures are files of the site: it works without a network."""
    assert external_assets(pages, SITE) == []


def test_every_program_is_a_page_that_the_first_page_links_to(pages: dict[Path, Page]) -> None:
    """A reader copies it whole, and without leaving the site."""
    for program in sorted((ROOT / "examples").glob("*.py")):
        name = f"examples/{program.stem}.html"
        assert name in pages[SITE / "index.html"].links
        shown = unescape(re.sub(r"<[^>]*>", "", (SITE / name).read_text("utf-8")))
        assert program.read_text("utf-8").strip() in shown


def test_the_changelog_is_found_by_its_words(pages: dict[Path, Page]) -> None:
    """A reader who updates looks for "changelog" and for "breaking"."""
    found = (SITE / "search" / "search_index.json").read_text("utf-8")
    entries = [each for each in json.loads(found)["docs"] if each["location"].startswith("changelog.html")]

    assert "changelog.html" in pages[SITE / "index.html"].links
    assert any("breaks" in each["text"].lower() for each in entries)


@pytest.mark.parametrize("package", ["nexmo_dispatch_async", "nexmo_dispatch_webhooks"])
def test_every_public_name_is_in_the_reference(pages: dict[Path, Page], package: str) -> None:
    """What a user may import has its docstring on the site."""
    places = {each for page in pages.values() for each in page.ids if each.startswith(f"{package}.")}
    documented = {place.rpartition(".")[2] for place in places}
    missing = [name for name in importlib.import_module(package).__all__ if name not in documented]

    # Each channel has a heading and its functions; unions and callables have no docstring.
    channels = {"messenger", "mms", "reply", "sms", "viber", "whatsapp"}
    types = {"SendOutcome", "Event", "Content", "CallNext", "Middleware", "OuterCallNext", "OuterMiddleware"}
    assert set(missing) - channels - types == set()


def test_the_search_puts_the_runbook_first() -> None:
    """The person on call types the words of a log line, which stand on other pages as well."""
    index = json.loads((SITE / "search" / "search_index.json").read_text("utf-8"))
    boosts = [
        entry.get("boost", 1) for entry in index["docs"] if entry["location"].startswith("runbook.html")
    ]

    assert len(boosts) > 5
    assert min(boosts) > 1
