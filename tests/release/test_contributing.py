"""CONTRIBUTING.md names every target of the Makefile, and no other."""

import re

from tests.support.paths import ROOT


def test_each_target_is_named() -> None:
    """`make help` and the page list the same; the parts of `make check` stand beside it."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+) ", page, re.MULTILINE))

    assert named == targets - {"lint", "types", "wheel"}
    assert "`lint`, `types` and `wheel`" in page
