"""Template texts (contract 7.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.templates import parameter_count, render

VERIFY = "{{1}} code: {{2}}. Valid for {{3}} minutes."


def test_render_shows_the_final_text() -> None:
    """The seed's own template with the seed's own parameters."""
    assert (
        render(VERIFY, ["Nexmo Verification", "64873", "10"])
        == "Nexmo Verification code: 64873. Valid for 10 minutes."
    )


@pytest.mark.parametrize(
    ("text", "parameters", "expected"),
    [
        ("{{1}} {{2}}", ["{{2}}", "b"], "{{2}} b"),
        ("{{2}}", ["a"], "{{2}}"),
        ("{{0}} {{1}}{{1}}", ["a"], "{{0}} aa"),
        ("{{ 1 }} {1} {{x}}", ["a"], "{{ 1 }} {1} {{x}}"),
        ("{{" + "9" * 5000 + "}}", ["a"], "{{" + "9" * 5000 + "}}"),
    ],
    ids=["no rescan", "missing stays", "repeated", "other braces", "endless digits"],
)
def test_render_replaces_placeholders_only(text: str, parameters: list[str], expected: str) -> None:
    """Inserted text is not searched again, and what has no parameter stays."""
    assert render(text, parameters) == expected


@pytest.mark.parametrize(
    ("text", "count"), [(VERIFY, 3), ("Closed today.", 0), ("{{2}}", 2), ("{{1}} {{1}}", 1)]
)
def test_parameters_are_counted_by_the_highest(text: str, count: int) -> None:
    """Parameters are positional, so the highest placeholder says how many there must be."""
    assert parameter_count(text) == count


@given(st.text(), st.lists(st.text(), max_size=3))
def test_render_is_total(text: str, parameters: list[str]) -> None:
    """Any text and parameters give a text."""
    assert isinstance(render(text, parameters), str)
