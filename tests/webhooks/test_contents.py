"""The contents of inbound messages, also when they are not as documented (contract 5.5.2, 9.9)."""

from typing import Any

import pytest
from rich.pretty import pretty_repr

from nexmo_dispatch_webhooks import (
    AudioContent,
    ButtonContent,
    Content,
    ImageContent,
    InboundMessage,
    LocationContent,
    ReplyContent,
    TextContent,
    UnknownContent,
    UnsupportedContent,
    parse_event,
    testing,
)
from tests.webhooks.payloads import encode, inbound_body


def content_of(content: Any) -> Content:
    event = parse_event(encode(inbound_body(content)))
    assert isinstance(event, InboundMessage)
    return event.content


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"type": "text", "text": " as it came\n"}, TextContent(" as it came\n")),
        ({"type": " TEXT ", "text": "x"}, TextContent("x")),
        ({"type": "text", "text": 5}, TextContent("5")),
        ({"type": "text"}, TextContent("")),
        ({"type": "image", "image": {"url": " u "}}, ImageContent("u")),
        ({"type": "audio", "audio": "https://x"}, AudioContent()),
        ({"type": "button", "button": {"payload": "p", "text": "t"}}, ButtonContent("p", "t")),
        ({"type": "reply", "reply": {"id": "1", "title": "t"}}, ReplyContent("1", "t")),
        ({"type": "unsupported"}, UnsupportedContent()),
        ({"type": "sticker", "sticker": {"id": 1}}, UnknownContent("sticker", {"id": 1})),
        ({"type": "Hologram"}, UnknownContent("Hologram", None)),
        ({"type": "Hologram", "Hologram": {"beam": 1}}, UnknownContent("Hologram", {"beam": 1})),
        ({"type": "Image", "Image": {"url": "u"}}, ImageContent("u")),
        ({"text": "x"}, UnknownContent("unknown", {"text": "x"})),
        (None, UnknownContent("unknown", None)),
        ("text", UnknownContent("unknown", "text")),
    ],
)
def test_content(content: Any, expected: Content) -> None:
    """Known types are typed, everything else is kept."""
    assert content_of(content) == expected


@pytest.mark.parametrize(
    "location",
    [
        *({"lat": "1.5", "long": "-2"}, {"latitude": 1.5, "longitude": -2}, {"lat": 1.5, "lng": "-2.0"}),
        {"lat": "here", "latitude": "1.5", "long": None, "longitude": " -2 "},
    ],
)
def test_location_in_any_spelling(location: dict[str, Any]) -> None:
    """Three spellings, text or numbers; the object stays in `raw`."""
    content = content_of({"type": "location", "location": location})

    assert content == LocationContent(1.5, -2.0, raw=location)


@pytest.mark.parametrize("content", [UnknownContent("Hologram", {"beam": 1}), UnknownContent("sticker", [])])
def test_unknown_content_comes_back_from_the_bodies_for_tests(content: UnknownContent) -> None:
    """What a handler once got can be posted again (contract 5.5.2: keep raw)."""
    event = parse_event(encode(testing.inbound_body(content=content)))

    assert isinstance(event, InboundMessage)
    assert event.content == content


def test_unreadable_coordinates_are_none() -> None:
    content = content_of({"type": "location", "location": {"lat": "north", "long": 1e999}})

    assert isinstance(content, LocationContent)
    assert (content.latitude, content.longitude) == (None, None)


def test_text_is_there_for_words_only() -> None:
    """`event.text` saves a look at the type: words of texts and buttons, None for the rest."""
    words: list[str | None] = []
    for content in (
        {"type": "text", "text": "a"},
        {"type": "button", "button": {"text": "b"}},
        {"type": "image"},
    ):
        event = parse_event(encode(inbound_body(content)))
        assert isinstance(event, InboundMessage)
        words.append(event.text)

    assert words == ["a", "b", None]


@pytest.mark.parametrize("form", ["v0.1", "v1"])
def test_the_answer_to_a_flow_is_data(form: str) -> None:
    """What a customer filled in is there as it was sent, in either format; a tap on a button has text."""
    answer = {"title": "123456", "seats": 2, "more": {"status": [True, None]}}
    button = {"subtype": "flow", "text": "sent", "payload": answer}
    body = inbound_body({"type": "button", "button": button})
    if form == "v1":
        del body["message"]
        body |= {"message_type": "button", "button": button}

    event = parse_event(encode(body), strict=form == "v0.1")

    assert isinstance(event, InboundMessage)
    assert isinstance(event.content, ButtonContent)
    assert (event.content.flow, event.content.payload, event.content.subtype) == (answer, None, "flow")
    assert event.text == "sent"
    assert isinstance(
        tap := content_of({"type": "button", "button": {"payload": "p", "text": "t"}}), ButtonContent
    )
    assert (tap.flow, tap.payload, tap.subtype) == (None, "p", None)


def test_the_answer_to_a_flow_is_not_shown() -> None:
    """Neither its values nor the names of its fields stand in a `repr` or in what `rich` prints."""
    content = ButtonContent(None, "sent", {"diagnosis": "HIV-positive"}, "flow")

    assert repr(content) == "ButtonContent()"
    assert "HIV" not in pretty_repr(content) + repr(
        content_of({"type": "x", "x": {"diagnosis": "HIV-positive"}})
    )


def test_an_object_is_a_flow_under_any_subtype() -> None:
    """A Flow that does not say so is data all the same, and noted."""
    event = parse_event(
        encode(inbound_body({"type": "button", "button": {"payload": {"a": 1}, "text": "t"}}))
    )

    assert isinstance(event, InboundMessage)
    assert event.content == ButtonContent(None, "t", {"a": 1}, "flow")
    assert event.oddities == ("message.content.button.payload: an object without the subtype flow",)


def test_the_answer_to_a_flow_comes_back_from_the_bodies_for_tests() -> None:
    """Your own tests post one as `ButtonContent(text=…, flow={…})`."""
    content = ButtonContent(text="sent", flow={"seats": 2})

    event = parse_event(encode(testing.inbound_body(content=content)), strict=True)

    assert isinstance(event, InboundMessage)
    assert event.content == ButtonContent(None, "sent", {"seats": 2}, "flow")
