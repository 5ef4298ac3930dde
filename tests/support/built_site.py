"""Reads a built site: its pages, their anchors, what they link to and what they load."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

__all__ = ["Page", "dead_links", "external_assets", "orphans", "read_site"]

# What a browser loads by itself, without a click.
_LOADED = {
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("object", "data"),
    ("embed", "src"),
    ("form", "action"),
}
_LOADING_RELATIONS = {
    "stylesheet",
    "icon",
    "preload",
    "preconnect",
    "dns-prefetch",
    "modulepreload",
    "manifest",
}
_ELSEWHERE = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_CSS_URL = re.compile(r"""(?:url\(|@import)\s*['"]?([^'")\s]+)""")


@dataclass
class Page:
    """One page of the site."""

    path: Path
    ids: set[str] = field(default_factory=set[str])
    links: list[str] = field(default_factory=list[str])
    assets: list[str] = field(default_factory=list[str])


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.page.ids.update(values[name] for name in ("id", "name") if name in values)
        self.page.assets += [value for name, value in values.items() if (tag, name) in _LOADED]
        self.page.assets += _CSS_URL.findall(values.get("style", ""))
        if tag == "a" and "href" in values:
            self.page.links.append(values["href"])
        if tag == "link" and _LOADING_RELATIONS & set(values.get("rel", "").split()):
            self.page.assets.append(values["href"])


def read_site(folder: Path) -> dict[Path, Page]:
    """Return the pages of a site by their paths."""
    # The page of errors is shown at any path, so its links are those of a server.
    pages = {path: Page(path) for path in sorted(folder.rglob("*.html")) if path.name != "404.html"}
    for path, page in pages.items():
        _Reader(page).feed(path.read_text("utf-8"))
    return pages


def _target(page: Page, link: str) -> tuple[Path, str]:
    path, _, anchor = link.partition("#")
    return (page.path.parent / unquote(path)).resolve() if path else page.path, unquote(anchor)


def dead_links(pages: dict[Path, Page]) -> list[str]:
    """Return the links and assets that lead nowhere: no file, or no such anchor in it."""
    dead: list[str] = []
    for page in pages.values():
        for link in page.links + page.assets:
            if _ELSEWHERE.match(link) or link.startswith(("mailto:", "data:", "javascript:")):
                continue
            target, anchor = _target(page, link)
            anchored = (
                not anchor or anchor.startswith("__") or target not in pages or anchor in pages[target].ids
            )
            if not target.exists() or not anchored:
                dead.append(f"{page.path.name}: {link}")
    return dead


def orphans(pages: dict[Path, Page], first: Path) -> list[str]:
    """Return the pages that no path of links from the first page leads to."""
    found, unread = {first}, [first]
    while unread:
        page = pages[unread.pop()]
        for link in page.links:
            target = page.path if _ELSEWHERE.match(link) else _target(page, link)[0]
            if target in pages and target not in found:
                found.add(target)
                unread.append(target)
    return [path.name for path in pages if path not in found]


def external_assets(pages: dict[Path, Page], folder: Path) -> list[str]:
    """Return what the pages and their styles load from another host."""
    loaded = [(page.path, asset) for page in pages.values() for asset in page.assets]
    loaded += [
        (path, asset) for path in folder.rglob("*.css") for asset in _CSS_URL.findall(path.read_text("utf-8"))
    ]
    return [f"{path.name}: {asset}" for path, asset in loaded if _ELSEWHERE.match(asset)]
