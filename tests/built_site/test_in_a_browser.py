"""The built site in a real browser, from its folder: no server, no network."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.simulator.page.browser import Browser, Tab
from tests.support.paths import ROOT

SITE = ROOT / "site"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if path.name != "404.html")
#: A page of each kind: prose, wide tables, a drawing, the reference, a long list of code.
SOME = [f"{name}.html" for name in ("index", "tutorial", "errors", "failover", "runbook", "reference/client")]


@pytest.fixture
async def tab(devtools: str) -> AsyncIterator[Tab]:
    """A tab in which nothing went wrong, and which asked no other host."""
    async with Browser(devtools) as browser:
        tab = await browser.open((SITE / "index.html").as_uri())
        yield tab
        errors, elsewhere = tab.errors, [url for url in tab.requested if url.startswith("http")]
        await tab.close()
    assert errors == []
    assert elsewhere == []


async def test_the_search_works_from_a_folder(tab: Tab) -> None:
    """A word of one page leads to that page."""
    await tab.until("document.querySelector('.md-search__input') !== null")
    await tab.run("document.querySelector('#__search').click()")
    await tab.click(".md-search__input")
    await tab.type("quarantine")
    await tab.press(" ")  # the search listens to keys

    await tab.until("document.querySelectorAll('.md-search-result__item').length > 1")
    found = await tab.text(".md-search-result__list")

    assert "inbox" in found.lower()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("width", "dark", "pages"),
    [(390, False, PAGES), (390, True, SOME), (1280, False, SOME), (1280, True, SOME)],
    ids=["phone", "phone in the dark", "desktop", "desktop in the dark"],
)
async def test_pages_fit_their_screen(tab: Tab, width: int, dark: bool, pages: list[str]) -> None:
    """Nothing makes a page itself scroll sideways; code and tables scroll by themselves."""
    await tab.look(width=width, dark=dark)
    for name in pages:
        await tab.call("Page.navigate", url=(SITE / name).as_uri())
        await tab.until(
            f"location.pathname.endsWith('/{Path(name).name}') && document.readyState === 'complete'"
        )
        wide = await tab.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        scheme = await tab.run("document.body.getAttribute('data-md-color-scheme')")

        assert (name, wide, scheme) == (name, 0, "slate" if dark else "default")
