"""Log lines and errors name pages so that a reader finds them, on a checkout and with a wheel alone."""

import tomllib
from pathlib import Path

import pytest

from nexmo_dispatch_core import documentation
from tests.support.paths import ROOT


@pytest.mark.parametrize("page", documentation.TITLES)
def test_a_title_is_that_of_the_page(page: str) -> None:
    """The site lists pages by it."""
    heading = (ROOT / "docs" / f"{page}.md").read_text("utf-8").partition("\n")[0]

    assert heading == f"# {documentation.TITLES[page]}"


def test_a_wheel_has_each_page_that_a_line_names() -> None:
    """`each code: the page «The command»` names no place where a reader could open it."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]

    included = build["targets"]["wheel"]["force-include"]

    pages = {f"docs/{name}.md": f"nexmo_dispatch_core/pages/{name}.md" for name in documentation.TITLES}
    assert included == pages


def test_a_page_is_named_by_its_url_or_by_its_title(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wheel has no folder docs/, so no line names a file there."""
    assert documentation.read_on("inbox") == (ROOT / "docs" / "inbox.md").as_uri()

    monkeypatch.setattr(documentation, "_FOLDERS", (tmp_path,))
    documentation.page_url.cache_clear()
    try:
        assert documentation.read_on("inbox") == "the page «The inbox» of the documentation"
    finally:
        documentation.page_url.cache_clear()
