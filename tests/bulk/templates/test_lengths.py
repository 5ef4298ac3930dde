"""The length of a rendered text is that of its parts: of a field that stands twice, it counts twice."""

from __future__ import annotations

import pytest

from nexmo_dispatch_async.bulk.ledger.records import Recipient
from nexmo_dispatch_async.bulk.rejects import RowError
from nexmo_dispatch_async.bulk.templates.rendering import RenderedWorkflow, Route
from nexmo_dispatch_async.bulk.templates.template import WorkflowTemplate
from nexmo_dispatch_async.channels import sms, whatsapp
from nexmo_dispatch_async.models.requests import Step

SMS, WHATSAPP = "31647356950", "447418342140"


def rendered(step: Step, value: str) -> RenderedWorkflow:
    row = Recipient(key="k", address="", fields={"a": value, "phone": "31617185666"}, bucket="")
    return WorkflowTemplate(step).render(row, "r-1")


@pytest.mark.parametrize(
    ("step", "longest"),
    [
        (sms.text("{a}", from_=SMS, to="{phone}"), 1000),
        (sms.text("{a}{a}", from_=SMS, to="{phone}"), 500),
        (sms.text("0123456789{a}{a}{a}", from_=SMS, to="{phone}"), 330),
        (sms.text("y" * 999 + "{a}", from_=SMS, to="{phone}"), 1),
        (whatsapp.image("https://e.example/{a}", from_=WHATSAPP, to="{phone}"), 1982),
        (whatsapp.image("https://e.example/x.png", caption="{a}", from_=WHATSAPP, to="{phone}"), 3000),
    ],
)
def test_a_text_may_be_as_long_as_its_channel_allows_and_no_longer(step: Step, longest: int) -> None:
    """The literal parts count, and every place of a field."""
    assert ("x" * longest).encode() in rendered(step, "x" * longest).body
    with pytest.raises(RowError) as caught:
        rendered(step, "x" * (longest + 1))
    assert caught.value.field == "a"


def test_a_rendered_workflow_shows_its_channels_alone() -> None:
    """It gives its bytes as a workflow does; an address without a field is that of a function."""
    workflow = rendered(sms.text("Hi {a}", from_=SMS, to="{phone}"), "Ann")

    assert workflow.to_json() is workflow.body
    assert repr(workflow) == "<RenderedWorkflow of 1: sms>"
    assert workflow.client_refs == ("r-1",)
    assert Route("sms", SMS, "phone") == Route("sms", SMS, "phone", "", ())
    assert Route("sms", SMS, "phone").bucket == f"sms|{SMS}"
