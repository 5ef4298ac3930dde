"""The drawing of the failover machine shows its table."""

import xml.etree.ElementTree as ET

from nexmo_dispatch_async.failover import TRANSITIONS
from tests.support.paths import ROOT


def test_the_arrows_of_the_drawing_are_the_transitions() -> None:
    """No arrow is missing, and none is invented."""
    drawing = ET.parse(ROOT / "docs" / "images" / "failover.svg")  # noqa: S314 - our own file
    drawn = [
        (group.get("data-from"), group.get("data-event"), group.get("data-to"))
        for group in drawing.iter("{http://www.w3.org/2000/svg}g")
    ]

    table = [(phase.name, meaning.name, move.name) for (phase, meaning), move in TRANSITIONS.items()]
    assert sorted(map(str, drawn)) == sorted(map(str, table))


def test_the_drawing_is_readable_in_the_dark_and_loads_nothing() -> None:
    """It has colours for both schemes on a panel of its own, and names what it shows."""
    text = (ROOT / "docs" / "images" / "failover.svg").read_text("utf-8")

    assert "prefers-color-scheme: dark" in text
    assert 'class="panel"' in text
    assert "<title" in text
    assert "href" not in text
