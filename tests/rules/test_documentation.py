"""docs/rules.md, the command that prints it, and the tests that break each rule."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from nexmo_dispatch_async.channels import sms
from nexmo_dispatch_async.rules import RULES
from nexmo_dispatch_async.rules.registry import markdown
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_core.documentation import site_of
from tests.support.pages import anchors
from tests.support.paths import ROOT


def test_documentation_lists_exactly_the_rules() -> None:
    """docs/rules.md and the code agree; `python -m nexmo_dispatch_async.rules` prints the part to paste."""
    page = (ROOT / "docs" / "rules.md").read_text("utf-8")

    headings = [line.lstrip("# ").lower() for line in page.splitlines() if line.startswith("#")]
    assert markdown() in page
    assert len(headings) == len(set(headings)), "each heading is an anchor of its own"


def test_rules_print_themselves() -> None:
    """The command that writes the page."""
    command = [sys.executable, "-m", "nexmo_dispatch_async.rules"]

    printed = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout

    assert printed == markdown()


def test_every_rule_is_broken_by_a_test() -> None:
    """No rule without a test: the files of this folder and of the one above name them all."""
    here = Path(__file__).parent
    files = (path for folder in (here, here.parent) for path in folder.glob("test_*.py"))
    tests = "".join(path.read_text("utf-8") for path in files)

    untested = [name for name in RULES if f'"{name}"' not in tests and f"[{name}]" not in tests]

    assert untested == []


def test_findings_link_to_their_rule() -> None:
    """The URL of a finding leads to a file that is there, and to the section of its rule."""
    (finding,) = Workflow.failover(sms.text("hi", from_="31647356950", to="31617185666")).lint()

    assert finding.url == RULES["single-step"].url
    page, _, anchor = finding.url.partition("#")
    assert anchor == "single-step"
    assert Path(url2pathname(urlsplit(page).path)).samefile(ROOT / "docs" / "rules.md")


def test_every_rule_has_an_anchor() -> None:
    """Each URL ends in an anchor of docs/rules.md, so that no link leads to the top of the page."""
    there = anchors(ROOT / "docs" / "rules.md")

    assert [rule for rule in RULES if RULES[rule].url.partition("#")[2] not in there] == []


def test_a_declared_site_has_the_pages() -> None:
    """Once the distribution names its documentation, the links lead there."""
    assert site_of(["Source, https://a.example", "Documentation, https://docs.example/dispatch/"]) == (
        "https://docs.example/dispatch"
    )
    assert site_of(["Source, https://a.example"]) == ""
