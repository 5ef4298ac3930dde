"""The policies that users and reporters go by are found, agree with each other, and name no person."""

import re

from tests.support.pages import REPOSITORY, anchors, links, local_path
from tests.support.paths import ROOT

SECURITY = ROOT / "SECURITY.md"
VERSIONING = ROOT / "docs" / "versioning.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"


def test_a_vulnerability_is_reported_to_the_private_advisories_alone() -> None:
    """There is one way, of the repository itself; no address of a person stands there."""
    text = SECURITY.read_text("utf-8")

    assert f"({REPOSITORY}/security/advisories/new)" in text
    assert re.findall(r"[\w.+-]+@[\w-]+\.\w+", text) == []


def test_the_links_of_the_policies_lead_somewhere() -> None:
    """Of the two files that stand beside the README."""
    for page in (SECURITY, CONTRIBUTING):
        for link in links(page):
            found = local_path(page, link)
            if found is not None:
                target, anchor = found
                assert target.exists(), link
                assert not anchor or anchor in anchors(target), link


def test_the_policies_lead_to_each_other() -> None:
    """A reader of one finds the others."""
    assert "](../SECURITY.md)" in VERSIONING.read_text("utf-8")
    assert "](../CHANGELOG.md#compatibility-policy)" in VERSIONING.read_text("utf-8")
    for name in ("SECURITY.md", "docs/versioning.md"):
        assert f"]({name})" in CONTRIBUTING.read_text("utf-8")


def test_contributing_names_the_targets_of_a_release() -> None:
    """And every target that it names exists."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = re.findall(r"^make ([a-z-]+)", CONTRIBUTING.read_text("utf-8"), re.MULTILINE)

    assert {"dist", "installed", "audit", "release-check"} <= set(named)
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
