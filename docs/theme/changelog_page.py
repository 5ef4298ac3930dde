"""Shows `CHANGELOG.md` of the repository as a page of the site; the file stays its only source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

CHANGELOG = Path(__file__).resolve().parents[2] / "CHANGELOG.md"
PAGE = "changelog.md"

_LINK = re.compile(r"(?<=\]\()(?!#|[a-z]+:)(?:docs/)?([^)\s]+)(?=\))")


def page_of(changelog: str) -> str:
    """Return the text of the page: the links of the file, which stands above `docs/`, lead on from inside."""
    return _LINK.sub(lambda link: link[1] if link[0].startswith("docs/") else f"../{link[1]}", changelog)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page; mkdocs calls this once."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=page_of(CHANGELOG.read_text("utf-8"))))
    return files
