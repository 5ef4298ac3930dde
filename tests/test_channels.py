"""The builders: every channel and content of contract 3.4.1 in the API's own form."""

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import UNSET

from nexmo_dispatch_async.channels import messenger, mms, sms, viber, whatsapp
from nexmo_dispatch_async.models import Parameter, Step, Template, TemplateBody
from nexmo_dispatch_async.workflow import Workflow
from tests.support.paths import REQUESTS

BUILDERS = [
    getattr(module, name) for module in (messenger, mms, sms, viber, whatsapp) for name in module.__all__
]
W: dict[str, Any] = {"from_": "447700900800", "to": "447700900321"}
V: dict[str, Any] = {"from_": "VSM-ID-40817", "to": "447700900321"}
M: dict[str, Any] = {"from_": "118820033417905", "to": "2903557611987403"}
URL = "https://media.example.com"


def first_step(name: str) -> Any:
    """The first step of an example, without its condition."""
    step = json.loads((REQUESTS / name).read_bytes())["workflow"][0]
    step.pop("failover", None)
    return step


@pytest.mark.parametrize(
    ("name", "step"),
    [
        (
            "sms_text",
            sms.text(
                "Your code is 481516. It expires in 5 minutes.", from_="3197010299901", to="447700900123"
            ),
        ),
        (
            "sms_alphanumeric_sender",
            sms.text("Table for two confirmed, 19:30.", from_="BISTRO12", to="447700900123"),
        ),
        (
            "mms_image",
            mms.image(f"{URL}/offers/spring.jpg", caption="This week only", from_="24273", to="12025550143"),
        ),
        (
            "whatsapp_text",
            whatsapp.text("Thanks for your question. An agent will answer within the hour.", **W),
        ),
        ("whatsapp_image", whatsapp.image(f"{URL}/maps/route-7.png", caption="Route to the event", **W)),
        ("whatsapp_audio", whatsapp.audio(f"{URL}/voice/welcome.m4a", **W)),
        ("whatsapp_video", whatsapp.video(f"{URL}/howto/router-reset.mp4", **W)),
        (
            "whatsapp_file",
            whatsapp.file(f"{URL}/invoices/2025-11/inv-10027.pdf", caption="Invoice November", **W),
        ),
        (
            "whatsapp_template",
            whatsapp.template(
                "whatsapp:hsm:technology:nexmo:verify",
                ["Lowland Bank", "902417", "5"],
                policy="deterministic",
                locale="en-GB",
                **W,
            ),
        ),
        (
            "whatsapp_template_no_parameters",
            whatsapp.template("5f0c1a77_9be1_4d55_a1ce_1d4fe0a3c9b2:store_closed_today", locale="nl", **W),
        ),
        (
            "whatsapp_custom_location",
            whatsapp.custom(
                {
                    "type": "location",
                    "location": {
                        "longitude": 4.8952,
                        "latitude": 52.3702,
                        "name": "Service desk",
                        "address": "Dam 1, Amsterdam",
                    },
                },
                **W,
            ),
        ),
        (
            "viber_text",
            viber.text(
                "Hi Noor, your appointment is tomorrow at 09:15.", category="transaction", ttl=600, **V
            ),
        ),
        (
            "viber_text_recipient_as_id",
            viber.text("Hi Noor, your appointment is tomorrow at 09:15.", to_as="id", **V),
        ),
        ("viber_image", viber.image(f"{URL}/offers/autumn.jpeg", category="promotion", ttl=86400, **V)),
        (
            "viber_custom",
            viber.custom(
                {
                    "type": 107,
                    "text": "See all offers",
                    "button_caption": "Open",
                    "button_action": "https://shop.example.com/offers",
                },
                **V,
            ),
        ),
        ("messenger_text", messenger.text("Your refund was sent today.", category="response", **M)),
        (
            "messenger_message_tag",
            messenger.text(
                "Your flight LX 734 now leaves from gate B22.",
                category="message_tag",
                tag="CONFIRMED_EVENT_UPDATE",
                **M,
            ),
        ),
        ("messenger_image", messenger.image(f"{URL}/animations/thanks.gif", **M)),
        ("messenger_audio", messenger.audio(f"{URL}/voice/hold.mp3", **M)),
        ("messenger_video", messenger.video(f"{URL}/howto/assembly.mp4", **M)),
        ("messenger_file", messenger.file(f"{URL}/export/usage.csv", **M)),
        (
            "three_steps_messenger_viber_sms",
            messenger.text("Server db-3 is down.", client_ref="incident-20413", **M),
        ),
    ],
)
def test_builder_writes_the_documented_example(name: str, step: Step) -> None:
    """What a builder makes is the example of the contract, member for member (contract 3.4)."""
    assert json.loads(step.to_json()) == first_step(f"{name}.json")


def test_messenger_custom_writes_the_documented_example() -> None:
    """A custom object passes through unchanged (contract 3.4.2)."""
    expected = first_step("messenger_custom_buttons.json")

    step = messenger.custom(expected["message"]["content"]["custom"], **M)

    assert json.loads(step.to_json()) == expected


def test_viber_template_has_its_type_option() -> None:
    """Viber templates come with the options of the Messages API (contract 3.4.1, 3.4.3)."""
    step = viber.template("greeting", ["Noor"], type="template", **V)

    assert json.loads(step.to_json())["message"] == {
        "content": {
            "type": "template",
            "template": {"name": "greeting", "parameters": [{"default": "Noor"}]},
        },
        "viber_service_msg": {"type": "template"},
    }


def test_builders_trim_addresses() -> None:
    """The service does not trim a leading tab, so we do (contract 3.3)."""
    step = sms.text("hi", from_="\t31647356950 ", to=" 31617185666\n")

    assert (step.from_.number, step.to.number) == ("31647356950", "31617185666")


@pytest.mark.parametrize(
    "builder", BUILDERS, ids=lambda builder: f"{builder.__module__.rpartition('.')[2]}.{builder.__name__}"
)
@pytest.mark.parametrize("value", [None, 7, b"x", object(), [], "\ud800", ""])
def test_builders_never_raise_for_values_and_lint_names_them(
    builder: Callable[..., Step], value: Any
) -> None:
    """All problems of a workflow come together, so none may come early."""
    content = next(iter(inspect.signature(builder).parameters))

    step = builder(**{content: value}, from_=value, to=value, client_ref=value)

    fields = {finding.field for finding in Workflow.failover(step).lint() if finding.severity == "error"}
    assert {"from", "to"} <= {field.split(".")[0] for field in fields}


@pytest.mark.parametrize(
    "builder", BUILDERS, ids=lambda builder: f"{builder.__module__.rpartition('.')[2]}.{builder.__name__}"
)
def test_wrong_call_is_a_type_error(builder: Callable[..., Step]) -> None:
    """Addresses are keyword-only and unknown options are Python's own error."""
    with pytest.raises(TypeError):
        builder("x", "447700900800", "447700900321")
    with pytest.raises(TypeError):
        builder("x", from_="1", to="2", unknown="x")


def test_template_without_parameters_leaves_the_member_out() -> None:
    """The API has no empty list in its examples (contract 3.4.2)."""
    content = whatsapp.template("a:b", [], **W).message.content

    assert isinstance(content, Template)
    assert content.template.parameters is UNSET
    assert whatsapp.template("a:b", ["x"], **W).message.content == Template(
        TemplateBody("a:b", (Parameter("x"),))
    )
