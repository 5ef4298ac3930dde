"""Any message is read into what a phone shows; a custom object of any form is read or shown as it is."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.simulator.api.validation import SimulatedStep, parse_dispatch
from nexmo_dispatch_async.simulator.control.preview import Card, Content, Place, Template, look_of
from nexmo_dispatch_async.simulator.world.settings import Settings
from tests.simulator.support import step, workflow

PATTERNS = {"shop:ready": "Hi {{1}}, order {{2}} is ready."}
PAYLOADS = Path(__file__).parents[2] / "data" / "payloads" / "requests"


def looked(channel: str, content: dict[str, Any], **message: Any) -> Content:
    """Return what the message of a step with this content shows."""
    body = workflow(step(channel, "999500000001", message={"content": content, **message}))
    (parsed,) = parse_dispatch(json.dumps(body).encode(), Settings(accept_any_url=True, accept_img=True))
    return look_of(parsed, PATTERNS)


def custom(channel: str, value: Any) -> Content:
    """Return what a custom object shows, whether or not the service would take it."""
    body = json.dumps({"workflow": [{"message": {"content": {"type": "custom", "custom": value}}}]})
    return look_of(
        SimulatedStep(channel, "number", "1", "number", "1", body, 0, "custom", None, None), PATTERNS
    )


def test_a_text_is_shown() -> None:
    assert looked("sms", {"type": "text", "text": "Hi"}) == Content(kind="text", text="Hi")


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("https://a.example/b/c.pdf?x=1", "c.pdf"),
        ("https://a.example", ""),
        ("http://[", ""),
        ("c.pdf", "c.pdf"),
    ],
)
def test_media_show_their_address_and_file_name(url: str, file: str) -> None:
    shown = looked("whatsapp", {"type": "file", "file": {"url": url, "caption": "Bill"}})

    assert shown == Content(kind="file", url=url, file=file, text="Bill")


@pytest.mark.parametrize("key", ["image", "img"])
def test_a_misspelt_image_shows_where_it_is_let_through(key: str) -> None:
    """Contract 9.31."""
    shown = looked("mms", {"type": "img", key: {"url": "https://m.example/a.png"}})

    assert shown == Content(kind="image", url="https://m.example/a.png", file="a.png")


def test_a_known_template_is_filled_in() -> None:
    """Objects and plain strings alike (contract 9.4), with the locale."""
    template = {"name": "shop:ready", "parameters": [{"default": "Sam"}, "42"]}

    shown = looked("whatsapp", {"type": "template", "template": template}, whatsapp={"locale": "en-GB"})

    assert shown.text == "Hi Sam, order 42 is ready."
    assert shown.template == Template(name="shop:ready", parameters=["Sam", "42"], locale="en-GB")


@pytest.mark.parametrize("name", ["shop:unknown", "shop:ready"])
def test_a_template_that_cannot_be_filled_in_shows_its_parameters(name: str) -> None:
    shown = looked("whatsapp", {"type": "template", "template": {"name": name, "parameters": ["Sam"]}})

    assert (shown.text, shown.template) == ("", Template(name=name, parameters=["Sam"]))


def test_messenger_buttons_and_cards() -> None:
    payload = {
        "text": "How was it?",
        "buttons": [{"type": "postback", "title": "Good"}],
        "elements": [{"title": "Shoe", "subtitle": "42", "image_url": "u", "buttons": [{"title": "Buy"}]}],
    }

    shown = custom(
        "messenger",
        {"attachment": {"type": "template", "payload": payload}, "quick_replies": [{"title": "Later"}]},
    )

    assert (shown.text, shown.buttons) == ("How was it?", ["Good", "Later"])
    assert shown.cards == [Card(title="Shoe", text="42", url="u", buttons=["Buy"])]


def test_messenger_quick_replies_and_attachments() -> None:
    replies = [{"content_type": "text", "title": "Red"}]
    image = {
        "attachment": {"type": "image", "payload": {"url": "https://a.example/b.png"}},
        "quick_replies": replies,
    }

    assert custom("messenger", {"text": "Pick", "quick_replies": replies}).buttons == ["Red"]
    assert custom("messenger", image) == Content(
        kind="image", url="https://a.example/b.png", file="b.png", buttons=["Red"]
    )


def test_whatsapp_interactive_messages() -> None:
    interactive = {
        "header": {"type": "text", "text": "Order"},
        "body": {"text": "Choose"},
        "footer": {"text": "Bye"},
        "action": {
            "button": "Open",
            "buttons": [{"type": "reply", "reply": {"id": "1", "title": "Yes"}}],
            "sections": [{"rows": [{"title": "Row", "description": "One"}]}],
        },
    }

    shown = custom("whatsapp", {"type": "interactive", "interactive": interactive})

    assert (shown.title, shown.text, shown.footer) == ("Order", "Choose", "Bye")
    assert (shown.buttons, shown.cards) == (["Yes", "Open"], [Card(title="Row", text="One")])


def test_whatsapp_places_templates_and_documents() -> None:
    place = {"latitude": 52.3702, "longitude": 4.8952, "name": "Desk", "address": "Dam 1"}
    template = {
        "namespace": "n",
        "name": "slot",
        "language": {"code": "nl"},
        "components": [
            {"type": "body", "parameters": [{"type": "text", "text": "donderdag"}]},
            {"type": "button", "parameters": [{"type": "payload", "payload": "SLOT_OK"}]},
        ],
    }
    document = {"link": "https://a.example/b.pdf", "caption": "Bill"}

    located = custom("whatsapp", {"type": "location", "location": place})
    templated = custom("whatsapp", {"type": "template", "template": template})
    documented = custom("whatsapp", {"type": "document", "document": document})

    assert located.place == Place(latitude="52.3702", longitude="4.8952", name="Desk", address="Dam 1")
    assert templated.template == Template(name="n:slot", parameters=["donderdag"], locale="nl")
    assert templated.buttons == ["SLOT_OK"]
    assert (documented.kind, documented.file, documented.text) == ("file", "b.pdf", "Bill")


def test_viber_buttons_and_pictures() -> None:
    shown = custom(
        "viber_service_msg",
        {"type": 107, "text": "Offers", "button_caption": "Open", "image": "https://a.example/b.jpg"},
    )

    assert shown == Content(
        kind="image", text="Offers", url="https://a.example/b.jpg", file="b.jpg", buttons=["Open"]
    )


def test_an_unknown_form_is_shown_as_it_is_and_cut() -> None:
    assert json.loads(custom("whatsapp", {"contacts": ["é"]}).raw) == {"contacts": ["é"]}
    assert len(custom("whatsapp", {"x": "y" * 10_000}).raw) == 4000


_KEYS = """
    type attachment payload buttons elements quick_replies title text interactive action sections rows
    location template components parameters image latitude button_caption reply language
"""
KEYS = st.sampled_from(sorted(_KEYS.split()))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["template", "interactive", "location", "image", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.sampled_from(["whatsapp", "messenger", "viber_service_msg"]))
def test_no_form_of_a_custom_object_breaks_it(value: Any, channel: str) -> None:
    assert custom(channel, value).kind


# the page's own template examples have variables of a shell in place of numbers, which the service refuses
EXAMPLES = sorted(path for path in PAYLOADS.glob("*.json") if "seed_whatsapp_mtm" not in path.name)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_shows_something(path: Path) -> None:
    for parsed in parse_dispatch(path.read_bytes(), Settings(accept_bare_step=True)):
        shown = look_of(parsed, PATTERNS)

        assert shown.text or shown.url or shown.place or shown.template or shown.raw
