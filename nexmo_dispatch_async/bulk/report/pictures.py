"""The pictures of a report as inline SVG: bars, and the flow from step to step.

Everything that a picture shows stands next to it in words, so pictures are hidden from screen readers. Kinds
differ by lightness and by hatching, not by hue alone. Colours come from the style sheet of the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from nexmo_dispatch_async.bulk.report.figures import Flow
from nexmo_dispatch_async.bulk.report.words import number, place_name

__all__ = ["Kind", "bar", "flow_picture"]

Kind = Literal["plain", "good", "best", "bad", "open"]

_WIDTH: Final = 860
_PLOT: Final = 250.0
_NODE: Final = 12.0
_GAP: Final = 26.0
_LABELS: Final = 190.0
_TOP: Final = 18.0

#: The ends from best to worst, and how each is drawn.
_ENDS: Final[dict[str, Kind]] = {
    "read": "best",
    "read elsewhere": "best",
    "delivered": "good",
    "delivered elsewhere": "good",
    "nothing heard": "open",
    "no end yet": "open",
    "not reached": "bad",
}


def bar(part: int, whole: int, kind: Kind = "plain") -> str:
    """Return a bar that is filled to a share; it is as wide as its place."""
    width = 100 * part / whole if whole else 0.0
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="10"/>'
        f'<rect class="{kind}" width="{width:.2f}" height="10"/></svg>'
    )


class _Node(Struct):
    name: str
    column: int
    kind: Kind
    rows: int
    y: float = 0.0
    height: float = 0.0
    into: float = 0.0
    out: float = 0.0


def flow_picture(flows: Iterable[Flow]) -> str:
    """Return how rows went from step to step to their ends; `""` when nothing was accepted."""
    known = [flow for flow in flows if flow.rows > 0]
    total = sum(flow.rows for flow in known if flow.source == "accepted")
    if not total:
        return ""
    nodes = _nodes(known)
    last = max(node.column for node in nodes.values())
    height = _place(nodes, known, total, last)
    step = (_WIDTH - _NODE - _LABELS) / max(last, 1)
    shapes = [
        _ribbon(nodes[flow.source], nodes[flow.target], flow.rows * _PLOT / total, step)
        for flow in sorted(known, key=lambda f: (nodes[f.source].y, nodes[f.target].y))
    ]
    shapes += [_drawn(node, step) for node in nodes.values()]
    return (
        f'<svg class="flow" viewBox="0 0 {_WIDTH} {height:.0f}" aria-hidden="true">'
        '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect class="hatch-ground" width="6" height="6"/>'
        '<rect class="hatch-line" width="2.4" height="6"/></pattern></defs>' + "".join(shapes) + "</svg>"
    )


def _nodes(flows: list[Flow]) -> dict[str, _Node]:
    incoming: dict[str, int] = {}
    for flow in flows:
        incoming[flow.target] = incoming.get(flow.target, 0) + flow.rows
    steps = [place for place in incoming if place not in _ENDS]
    last = 1 + max((_column(place) for place in steps), default=0)
    begin = sum(flow.rows for flow in flows if flow.source == "accepted")
    nodes = {"accepted": _Node("accepted", 0, "plain", begin)}
    for place in sorted(steps, key=lambda name: (_column(name), -incoming[name], name)):
        nodes[place] = _Node(place, _column(place), "plain", incoming[place])
    for end, kind in _ENDS.items():
        if end in incoming:
            nodes[end] = _Node(end, last, kind, incoming[end])
    return nodes


def _column(place: str) -> int:
    step = place.partition(" ")[0]
    return int(step) if step.isdecimal() else 1


def _place(nodes: dict[str, _Node], flows: list[Flow], total: int, last: int) -> float:
    """Give each node its place, below the ribbons that pass its column; return the height of all."""
    scale = _PLOT / total
    bottom = 0.0
    for column in range(last + 1):
        passing = sum(
            flow.rows for flow in flows if nodes[flow.source].column < column < nodes[flow.target].column
        )
        y = _TOP + passing * scale + (_GAP if passing else 0.0)
        for node in nodes.values():
            if node.column == column:
                node.y, node.height = y, max(node.rows * scale, 1.5)
                y += node.height + _GAP
        bottom = max(bottom, y)
    return bottom


def _ribbon(source: _Node, target: _Node, height: float, step: float) -> str:
    x1, x2 = source.column * step + _NODE, target.column * step
    y1, y2 = source.y + source.out, target.y + target.into
    source.out += height
    target.into += height
    middle = (x1 + x2) / 2
    there = f"M{x1:.1f} {y1:.1f}C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    y1, y2 = y1 + height, y2 + height
    back = f"V{y2:.1f}C{middle:.1f} {y2:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}Z"
    return f'<path class="ribbon {target.kind}" d="{there}{back}"/>'


def _drawn(node: _Node, step: float) -> str:
    x = node.column * step
    anchor = f'x="{x:.1f}" y="{node.y - 5:.1f}"'
    if node.name in _ENDS:
        anchor = f'x="{x + _NODE + 8:.1f}" y="{node.y + max(node.height / 2, 4) + 4:.1f}"'
    return (
        f'<rect class="node {node.kind}" x="{x:.1f}" y="{node.y:.1f}" width="{_NODE:.0f}" '
        f'height="{node.height:.1f}"/><text {anchor}>{place_name(node.name)} '
        f'<tspan class="count">{number(node.rows)}</tspan></text>'
    )
