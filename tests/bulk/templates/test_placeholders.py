"""Texts with fields, taken apart: what is a field, what is a brace, and what is neither."""

from __future__ import annotations

import pytest

from nexmo_dispatch_async.bulk.templates.placeholders import Field, PlaceholderError, parse

NAME = Field("name")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", ()),
        ("plain", ("plain",)),
        ("{name}", (NAME,)),
        ("{ name }", (NAME,)),
        ("Hi {name}!", ("Hi ", NAME, "!")),
        ("{name}{name}", (NAME, NAME)),
        ("{name|}", (Field("name", ""),)),
        ("{name|dear customer}", (Field("name", "dear customer"),)),
        ("{first name}", (Field("first name"),)),
        ("{a.b-c}", (Field("a.b-c"),)),
        ("{{1}}", ("{{1}}",)),
        ("Code {{1}}, {name}", ("Code {{1}}, ", NAME)),
        ("{{12345}}", None),
        ("{'{'}name{'}'}", ("{name}",)),
        ("{'{'}", ("{",)),
        ("a{'}'}", ("a}",)),
        ("{name}{'{'}x", (NAME, "{x")),
    ],
)
def test_the_pieces_of_a_text(text: str, pieces: tuple[str | Field, ...] | None) -> None:
    """Literal parts that touch are one; a parameter of the channel's own template stays as it is."""
    if pieces is None:
        with pytest.raises(PlaceholderError):
            parse(text)
    else:
        assert parse(text) == pieces


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{name}}", "has two braces around a field; write {name} with one"),
        (
            "{name",
            "has a brace that is no part of a field; write {name} or {name|instead}, without formats, ",
        ),
        ("name}", "has a brace that is no part of a field; "),
        ("{name:>9}", "has a brace that is no part of a field; "),
        ("{}", "has a brace that is no part of a field; "),
    ],
)
def test_a_brace_without_a_sense_is_refused_with_its_cure(text: str, message: str) -> None:
    """A typing error would otherwise be sent to everyone on the list."""
    with pytest.raises(PlaceholderError) as caught:
        parse(text)

    assert str(caught.value).startswith(message)
