"""The built site in a real browser, from its folder: no server, no network."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.simulator.page.browser import Browser, Tab
from tests.support.pages import PAGES as SOURCES
from tests.support.pages import blocks, conversations
from tests.support.paths import ROOT

SITE = ROOT / "site"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if path.name != "404.html")
#: A page of each kind: prose, wide tables, a drawing, the reference, a long list of code.
SOME = [f"{name}.html" for name in ("index", "tutorial", "errors", "failover", "runbook", "reference/client")]

#: Presses the copy button of each block with a prompt, and returns what arrives in the clipboard.
COPIED = """
(() => {
  const copied = [];
  document.addEventListener("copy", ({target}) =>
    copied.push(target.value.slice(target.selectionStart, target.selectionEnd)));
  for (const code of document.querySelectorAll("pre > code:has(.gp)"))
    code.closest("pre").querySelector("[data-clipboard-target]").click();
  return copied;
})()
"""


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


async def test_the_copy_button_copies_commands(tab: Tab) -> None:
    """A reader pastes a block into a shell: no prompt and no output is in it, on whatever page."""
    seen = 0
    for source in SOURCES:
        shown = [conversations(block.code) for block in blocks(source) if block.language == "console"]
        if not shown or source.parent.name != "docs":
            continue
        await tab.go((SITE / source.with_suffix(".html").name).as_uri())
        await tab.until(
            f"location.pathname.endsWith('/{source.stem}.html') && document.readyState === 'complete'"
            " && document.querySelector('pre [data-clipboard-target]') !== null"
        )

        assert await tab.run(COPIED) == ["\n".join(command for command, _ in block) for block in shown]
        seen += len(shown)
    assert seen > 20
