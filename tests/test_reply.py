"""A reply goes back on the channel of the inbound message, with both ends swapped."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from nexmo_dispatch_async import DispatchClient, Step, Workflow, messenger, mms, reply, sms, viber, whatsapp
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.assertions import assert_outcome
from nexmo_dispatch_webhooks import Event, InboundMessage, Router, parse_event
from nexmo_dispatch_webhooks.testing import WebhookClient, inbound_body, report_body, status_body

CUSTOMER, OWN = "447700900321", "447700900800"
URL = "https://media.example.com/a"


def inbound(channel: str, customer: str = CUSTOMER, own: str = OWN, **members: Any) -> Event:
    return parse_event(
        json.dumps(inbound_body("Where is it?", channel=channel, from_=customer, to=own, **members)).encode()
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (inbound("sms"), sms.text("Here", from_=OWN, to=CUSTOMER)),
        (inbound("whatsapp"), whatsapp.text("Here", from_=OWN, to=CUSTOMER)),
        (
            inbound("whatsapp", "NL.13491208655302741918"),
            whatsapp.text("Here", from_=OWN, to="NL.13491208655302741918"),
        ),
        (inbound("viber", own="VSM-ID-1"), viber.text("Here", from_="VSM-ID-1", to=CUSTOMER)),
        (
            inbound("messenger", "9000000000000001", "900000000000002"),
            messenger.text("Here", from_="900000000000002", to="9000000000000001"),
        ),
    ],
    ids=["sms", "whatsapp", "hidden number", "viber", "messenger"],
)
def test_a_reply_is_what_the_builder_of_its_channel_makes(event: Any, expected: Step) -> None:
    """The ends of the inbound message are swapped as contract 5.5.1 says."""
    assert reply.text("Here", to=event) == expected


def test_a_channel_that_carries_no_such_content_is_for_the_rules_to_name() -> None:
    """MMS carries images: a reply with one is sent, and a text is refused before the network."""
    event: Any = inbound("mms", "12025550143", "24273")

    assert reply.image(URL, to=event) == mms.image(URL, from_="24273", to="12025550143")
    findings = Workflow.failover(reply.text("Here", to=event)).lint()
    assert {"content-channel", "content-doubtful"} & {finding.rule for finding in findings}


def test_a_sender_without_an_address_of_its_own_is_found() -> None:
    """Of a customer who hides the number, the user id may stand beside `from` only (contract 5.5)."""
    event: Any = SimpleNamespace(
        channel="whatsapp",
        from_=SimpleNamespace(number=None, id=None),
        to=SimpleNamespace(number=OWN, id=None),
        whatsapp_user=SimpleNamespace(user_id="NL.13491208655302741918", wa_id=None),
    )

    assert reply.text("Here", to=event) == whatsapp.text("Here", from_=OWN, to="NL.13491208655302741918")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            lambda event: reply.image(URL, to=event, caption="a"),
            whatsapp.image(URL, from_=OWN, to=CUSTOMER, caption="a"),
        ),
        (lambda event: reply.audio(URL, to=event), whatsapp.audio(URL, from_=OWN, to=CUSTOMER)),
        (lambda event: reply.video(URL, to=event), whatsapp.video(URL, from_=OWN, to=CUSTOMER)),
        (
            lambda event: reply.file(URL, to=event, caption="a"),
            whatsapp.file(URL, from_=OWN, to=CUSTOMER, caption="a"),
        ),
        (
            lambda event: reply.text("a", to=event, client_ref="order-7"),
            whatsapp.text("a", from_=OWN, to=CUSTOMER, client_ref="order-7"),
        ),
    ],
)
def test_each_content_has_a_reply(made: Callable[[Any], Step], expected: Step) -> None:
    """Whatever a person answers with: text, image, audio, video and file, with the same options."""
    assert made(inbound("whatsapp")) == expected


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (parse_event(json.dumps(status_body("read")).encode()), "not to a message-status"),
        (parse_event(json.dumps(report_body()).encode()), "not to a final-report"),
        ("447700900321", "not to a str"),
        (
            SimpleNamespace(
                channel="sms", from_=SimpleNamespace(number="", id=""), to=SimpleNamespace(number=OWN, id="")
            ),
            "names no sender",
        ),
        (
            SimpleNamespace(
                channel="sms",
                from_=SimpleNamespace(number=CUSTOMER, id=""),
                to=SimpleNamespace(number="", id=""),
            ),
            "to which of your addresses",
        ),
    ],
)
def test_what_cannot_be_answered_is_named(event: Any, message: str) -> None:
    """A status has your own address as its sender: a reply to it would go to yourself."""
    with pytest.raises(ConfigurationError, match=message):
        reply.text("Here", to=event)


async def test_a_handler_replies_within_the_window() -> None:
    """A handler sends `reply.text(…, to=event)`, and the service takes it as free content."""
    router = Router()

    @router.inbound_message(channel="whatsapp")
    async def on_message(event: InboundMessage, client: DispatchClient) -> None:
        await client.send(reply.text("Thank you!", to=event))

    async with Simulator() as sim, sim.client() as client:
        customer = "999000000001"
        application = sim.applications[-1]
        sim.inbound("Hello", channel="whatsapp", from_=customer, to=OWN, application=application)
        await sim.advance(0)
        webhooks = WebhookClient(router, values={"client": client})
        await webhooks.post_inbound("Hello", channel="whatsapp", from_=customer, to=OWN)
        await sim.advance(60)

        assert_outcome(sim, "completed")
