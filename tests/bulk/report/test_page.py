"""The page of a report: whole in itself, safe with any list, and readable on every screen and on paper."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Recipient, Result
from nexmo_dispatch_async.bulk.rejects import Reject
from nexmo_dispatch_async.bulk.report.figures import ChannelFigures, Flow, Report
from nexmo_dispatch_async.bulk.report.page import report_page
from nexmo_dispatch_async.bulk.report.pictures import bar, flow_picture
from nexmo_dispatch_async.bulk.report.report import report_of
from nexmo_dispatch_async.bulk.report.words import duration, text
from tests.bulk.callbacks import BEGIN
from tests.bulk.random_campaign import random_campaign
from tests.simulator.page.browser import Browser, Tab

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b[31m\u202e&amp;"


@pytest.fixture(scope="module")
def report() -> Report:
    async def make() -> Report:
        ledger = await random_campaign(300)
        return await report_of(ledger, name="Spring & summer", clock=lambda: BEGIN + 9000)

    return asyncio.run(make())


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return report_page(report, zone="Europe/Amsterdam")


class Outline(HTMLParser):
    """The tags that are open at each point, and all texts and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_whole_in_itself(page: str) -> None:
    """No script, nothing to load, every tag closed, every link within the page."""
    outline = Outline(page)

    assert outline.open == []
    tags = {tag for tag, _ in outline.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "form"}
    ids = {attributes["id"] for _, attributes in outline.tags if "id" in attributes}
    for _, attributes in outline.tags:
        assert not {"src", "srcset", "onclick", "style"} & attributes.keys()
        if "href" in attributes:
            assert (attributes["href"] or "").removeprefix("#") in ids
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert not re.search(r"https?://", page)


def test_the_numbers_of_the_report_stand_in_the_page(report: Report, page: str) -> None:
    """Sums, channels, flows, errors with their meaning, and why people were missed."""
    words = " ".join(" ".join(Outline(page).words).replace("\u00a0", " ").split())

    assert f"Messages reached {report.delivered} of {report.rows} rows" in words
    assert f"EUR {report.cost['EUR']}" in words
    assert f"EUR {report.cost_each['EUR']} for each person reached" in words
    for figures in report.channels:
        assert f"{figures.people} people count here" in words
    assert "counts on one: where the message was read, or else where the last one was delivered" in words
    for error in report.errors:
        assert error.meaning in words
    for reason in report.reasons:
        assert reason.why in words
    for missed in report.missed:
        assert missed.why in words
    assert "2026-11-02 19:00 CET" in words
    assert "not ended yet: numbers may still grow" in words


def test_reached_means_one_thing_on_the_page(page: str) -> None:
    """A person is reached by the first message that is delivered; what a channel counts has another word."""
    words = " ".join(" ".join(Outline(page).words).replace("\u00a0", " ").split())

    assert "A person is reached by the first message that is delivered, on any channel." in words
    assert "reached here" not in words


def test_one_person_counts_in_the_singular() -> None:
    """Numbers agree with their nouns."""
    figures = ChannelFigures(channel="sms", attempted=1, delivered=1, people=1)

    assert "1 person counts here" in report_page(Report(name="x", made_at=0, rows=1, channels=(figures,)))


def test_no_number_of_a_person_stands_in_the_page(page: str) -> None:
    """Keys of rows are masked, and fields do not appear."""
    assert not re.search(r"99900000\d{4}", page)
    assert "Name 1" not in page
    assert "Numbers of people are masked." in page


async def test_a_hostile_list_stays_text() -> None:
    """Names, keys, variants, languages and errors of a list are shown and never obeyed."""
    ledger = MemoryLedger()
    people = [
        Recipient(
            key=EVIL, address="999000000001", fields={}, bucket="b", variant=EVIL, language=EVIL, line=2
        )
    ]
    await ledger.add(people)
    (row,) = await ledger.claim(ClaimRequest(limit=1, now=BEGIN))
    await ledger.record([Result(id=row.id, state="refused", at=BEGIN, error=EVIL, code=EVIL)])

    rejects = [Reject(3, EVIL, EVIL, EVIL)]
    page = report_page(await report_of(ledger, name=EVIL, rejects=rejects, with_addresses=True))

    outline = Outline(page)
    assert outline.open == []
    assert not {"script", "img"} & {tag for tag, _ in outline.tags}
    assert "".join(outline.words).count("<script>alert(1)</script>") >= 6
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "This page may hold keys or numbers of people." in page


async def test_a_campaign_of_nothing_has_a_page() -> None:
    """An empty ledger is no error."""
    page = report_page(await report_of(MemoryLedger(), name=""))

    assert Outline(page).open == []
    assert "The campaign has no rows." in page


def test_what_does_not_fit_is_counted() -> None:
    """A list that was cut says so."""
    report = Report(name="x", made_at=0, rows=5000, missed_rows=5000, rejected=7)

    assert "7 lines of the list that never became a row; the first 0 of 7, the export has all" in report_page(
        report
    )


def test_the_flow_is_as_high_as_its_rows() -> None:
    """Ribbons of a node add up to the node, and none leaves the picture."""
    flows = [
        Flow("accepted", "1 whatsapp", 90),
        Flow("accepted", "nothing heard", 10),
        Flow("1 whatsapp", "2 sms", 40),
        Flow("1 whatsapp", "read", 50),
        Flow("2 sms", "delivered", 30),
        Flow("2 sms", "not reached", 10),
    ]
    picture = flow_picture(flows)

    height = float(re.findall(r'viewBox="0 0 860 (\d+)"', picture)[0])
    nodes = re.findall(r'class="node \w+" x="([\d.]+)" y="([\d.]+)" width="12" height="([\d.]+)"', picture)
    assert all(float(y) + float(h) <= height for _, y, h in nodes)
    assert [float(h) for _, _, h in nodes] == [250.0, 225.0, 100.0, 125.0, 75.0, 25.0, 25.0]
    assert flow_picture([]) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "\u2013"),
        (0, "0 s"),
        (59, "59 s"),
        (312, "5 min 12 s"),
        (3600, "1 h"),
        (90000, "1 d 1 h"),
        (3605, "1 h"),
    ],
)
def test_times_in_two_units(seconds: float | None, words: str) -> None:
    """No more precise than a person reads."""
    assert duration(seconds).replace("\u00a0", " ") == words


def test_a_bar_of_nothing_is_empty() -> None:
    """No division by zero, no bar beyond its track."""
    assert 'width="0.00"' in bar(0, 0)
    assert 'width="100.00"' in bar(5, 5)


def test_hidden_letters_are_made_visible() -> None:
    """What would turn the reading direction is replaced."""
    assert text("a\u202eb\x00") == "<bdi>a\ufffdb\ufffd</bdi>"


# --- in a browser


@pytest.fixture
async def tab(devtools: str, page: str, tmp_path: Path) -> AsyncIterator[Tab]:
    file = tmp_path / "report.html"
    file.write_text(page, "utf-8")
    async with Browser(devtools) as browser:
        tab = await browser.open(file.as_uri())
        await tab.until("document.readyState === 'complete'")
        yield tab


OVERFLOWING = """
[...document.querySelectorAll("section *, header *")].filter(
  (e) => e.getBoundingClientRect().right > document.documentElement.clientWidth - 16
    && getComputedStyle(e).position !== "absolute" && e.closest(".skip, thead") === null
).map((e) => e.outerHTML.slice(0, 80))
"""


@pytest.mark.parametrize("width", [390, 640, 721, 1280])
async def test_nothing_sticks_out(tab: Tab, width: int) -> None:
    """A phone of 390 pixels shows everything without scrolling sideways."""
    await tab.look(width=width, height=844)

    assert await tab.run("document.documentElement.scrollWidth") <= width
    assert await tab.run(OVERFLOWING) == []


async def test_the_browser_finds_nothing_to_complain_about(tab: Tab) -> None:
    """The policy of the page stops nothing that it needs, and it asks for nothing but itself."""
    assert tab.errors == []
    assert {url.partition("/report.html")[1] for url in tab.requested} == {"/report.html"}


CONTRASTS = """
(() => {
  const light = (c) => {
    const [r, g, b] = c.match(/[\\d.]+/g).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (c !== "rgba(0, 0, 0, 0)") return c;
    }
    return "rgb(255, 255, 255)";
  };
  const ratios = [...document.querySelectorAll("h1, h2, h3, p, a, th, td, dt, dd, small")].map((e) => {
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
  return Math.min(...ratios);
})()
"""


@pytest.mark.parametrize("dark", [False, True])
async def test_texts_stand_out_from_their_ground(tab: Tab, dark: bool) -> None:
    """By day and by night, by the 4.5 to 1 of the accessibility guidelines."""
    await tab.look(dark=dark)

    assert await tab.run(CONTRASTS) >= 4.5


async def test_the_page_can_be_read_by_keyboard(tab: Tab) -> None:
    """The first stop leads past the links, the links lead to the sections."""
    await tab.press("Tab")
    assert await tab.text(":focus") == "To the numbers"
    await tab.press("Enter")
    await tab.until("location.hash === '#numbers'")


async def test_paper_is_white_and_keeps_the_pictures(tab: Tab) -> None:
    """A dark screen prints on white; links to sections are left out; bars are drawn, not backgrounds."""
    await tab.look(width=718, dark=True)
    await tab.call("Emulation.setEmulatedMedia", media="print")

    seen: Any = await tab.run(
        """({
          ground: getComputedStyle(document.body).backgroundColor,
          ink: getComputedStyle(document.body).color,
          nav: getComputedStyle(document.querySelector("nav")).display,
          flow: document.querySelector(".flow").getBoundingClientRect().width,
          bar: document.querySelector(".bar .plain").tagName,
        })"""
    )
    assert (seen["ground"], seen["ink"], seen["nav"]) == ("rgb(255, 255, 255)", "rgb(28, 32, 36)", "none")
    assert seen["flow"] > 600
    assert await tab.run(OVERFLOWING.replace("- 16", "+ 1")) == []
    assert seen["bar"] == "rect"
