"""Where to read on: URLs of pages of the documentation that resolve on the machine that shows them.

A distribution that declares the address of its documentation has its pages there. Otherwise the page is a
file: the copy in the installed package, or that of a checkout.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["TITLES", "page_url", "read_on"]

_DISTRIBUTION: Final = "nexmo-dispatch-async"
_LABEL: Final = "documentation"
#: The copies of pages in an installed package; the pages of a checkout.
_FOLDERS: Final = (Path(__file__).parent / "pages", Path(__file__).parent.parent / "docs")

#: The titles of pages that log lines and errors name.
TITLES: Final = {
    "command": "The command `nexmo-dispatch`",
    "inbox": "The inbox",
    "nats": "On NATS JetStream",
    "rules": "Rules before the wire",
}


@cache
def page_url(page: str) -> str:
    """Return the URL of a page.

    Args:
        page: Its name, such as `rules`.
    """
    site = site_of(_urls())
    if site:
        return f"{site}/{page}.html"
    files = [folder / f"{page}.md" for folder in _FOLDERS]
    return next((file.as_uri() for file in files if file.is_file()), f"docs/{page}.md")


def read_on(page: str) -> str:
    """Return where to find a page: its URL, or its title where no copy is on this machine.

    Args:
        page: Its name, one of those with a title here.
    """
    url = page_url(page)
    return url if "://" in url else f"the page «{TITLES[page]}» of the documentation"


def site_of(urls: list[str]) -> str:
    """Return the address of the documentation among the project's URLs, `""` without one.

    Args:
        urls: As in the metadata of a distribution: `Documentation, https://…`.
    """
    for text in urls:
        label, _, url = text.partition(",")
        if label.strip().lower() == _LABEL:
            return url.strip().rstrip("/")
    return ""


def _urls() -> list[str]:
    from importlib import metadata

    try:
        return metadata.metadata(_DISTRIBUTION).get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return []
