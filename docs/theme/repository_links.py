"""Lets pages link to files of the repository: on the site such a link leads to the code host.

A page in `docs/` may link to `../LICENSE`, which works in a checkout and at the code host. The site holds
only the pages, so the link gets the address of the repository, which stands in `pyproject.toml` alone. A
program such as `../examples/otp.py` is a page of the site, and so is `../CHANGELOG.md`: see
`program_pages.py` and `changelog_page.py`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from posixpath import normpath, relpath

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]

# A link, or a picture, to a relative path; code blocks are left alone by `outside_of_code`.
_LINK = re.compile(r"(?<=\]\()(?!#|[a-z]+:)([^)\s#]+)(#[^)\s]*)?(?=\))")
_PROGRAM = re.compile(r"examples/(\w+)\.py")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def with_repository_links(markdown: str, page: str) -> str:
    """Return the text of a page whose links to files outside of `docs/` lead somewhere on the site as well.

    Args:
        markdown: The text.
        page: Path of the page in `docs/`.
    """
    folder = Path("docs", page).parent.as_posix()

    def absolute(match: re.Match[str]) -> str:
        path = normpath(f"{folder}/{match[1]}")
        if program := _PROGRAM.fullmatch(path):
            return relpath(f"docs/examples/{program[1]}.md", folder)
        if path == "CHANGELOG.md":
            return relpath("docs/changelog.md", folder) + (match[2] or "")
        inside = path.startswith("docs/")
        return match[0] if inside else f"{REPOSITORY}/blob/main/{path}{match[2] or ''}"

    return "".join(
        part if _CODE.fullmatch(part) else _LINK.sub(absolute, part) for part in outside_of_code(markdown)
    )


def outside_of_code(markdown: str) -> list[str]:
    """Return the text in pieces, of which each is either code or contains none."""
    pieces: list[str] = []
    end = 0
    for match in _CODE.finditer(markdown):
        pieces += [markdown[end : match.start()], match[0]]
        end = match.end()
    return [*pieces, markdown[end:]]


def on_page_markdown(markdown: str, page: object, **_: object) -> str:
    """Rewrite the links of a page; mkdocs calls this for each."""
    return with_repository_links(markdown, page.file.src_uri)  # type: ignore[attr-defined]  # mkdocs has no types here
