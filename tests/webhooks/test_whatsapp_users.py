"""People on WhatsApp who hide their number and have a user id instead (contract 5.5)."""

from typing import Any

import pytest

from nexmo_dispatch_webhooks import (
    Address,
    Event,
    InboundMessage,
    MessageStatus,
    Router,
    parse_event,
    testing,
)
from nexmo_dispatch_webhooks.inbox.records import lane_of
from tests.webhooks.payloads import encode, inbound_body, status_body

ID = "NL.13491208655302741918"
OTHER = "BE.13491208655302741918"
TEXT = {"type": "text", "text": "hi"}


def in_v1(**members: Any) -> dict[str, Any]:
    """An inbound text of the v1 format without `from`."""
    return {
        "channel": "whatsapp",
        "message_uuid": "m",
        "to": "447700900112",
        "timestamp": "2026-08-03T12:14:25Z",
        "message_type": "text",
        "text": "hi",
        **members,
    }


def in_v0(sender: dict[str, Any] | None, **members: Any) -> dict[str, Any]:
    """An inbound text of the v0.1 format."""
    to = {"type": "whatsapp", "number": "447700900112"}
    body = {**inbound_body(TEXT), "from": sender, "to": to, **members}
    body["timestamp"] = "2026-08-03T12:14:25.000Z"
    return {name: value for name, value in body.items() if value is not None}


SHAPES = [
    pytest.param(in_v1(**{"from": ID}), id="v1, from"),
    pytest.param(in_v1(whatsapp={"sender": {"user_id": ID, "parent_user_id": "NL.ENT.1"}}), id="v1, sender"),
    pytest.param(in_v1(**{"from": None}, whatsapp={"sender": {"user_id": ID}}), id="v1, null"),
    pytest.param(in_v1(**{"from": f" {ID}"}, whatsapp={"sender": {"user_id": ID}}), id="v1, both"),
    pytest.param(in_v1(whatsapp={"sender": {"parent_user_id": ID}}), id="v1, group only"),
    pytest.param(in_v0({"type": "whatsapp", "id": ID}), id="v0.1, id"),
    pytest.param(in_v0({"type": "whatsapp", "number": ID}), id="v0.1, number"),
    pytest.param(in_v0(None, whatsapp={"sender": {"user_id": ID}}), id="v0.1, sender"),
    pytest.param(in_v0({"type": "whatsapp"}, whatsapp={"sender": {"user_id": ID}}), id="v0.1, empty from"),
]


def inbound(body: dict[str, Any]) -> InboundMessage:
    event = parse_event(encode(body))
    assert isinstance(event, InboundMessage)
    return event


@pytest.mark.parametrize("body", SHAPES)
def test_the_sender_is_known_in_every_shape(body: dict[str, Any]) -> None:
    """A person without a number has a sender to answer to, and it is the id as a whole."""
    event = inbound(body)

    assert event.channel == "whatsapp"
    assert (event.sender, event.from_) == (ID, Address("whatsapp", None, ID))


def test_the_sender_inside_of_the_message_is_found() -> None:
    """The v0.1 format may put `whatsapp` where it puts everything else of a channel."""
    body = in_v0(None)
    body["message"]["whatsapp"] = {"sender": {"user_id": ID}}

    assert inbound(body).sender == ID


@pytest.mark.parametrize("body", SHAPES)
def test_a_person_is_one_conversation_in_every_shape(body: dict[str, Any]) -> None:
    """The inbox handles what one person writes in order, and messages of other people do not wait for it."""
    same, other = inbound(in_v1(**{"from": ID.lower()})), inbound(in_v1(**{"from": OTHER}))

    assert lane_of(inbound(body)) == lane_of(same) != lane_of(other)


def test_a_number_that_becomes_hidden_stays_in_its_conversation() -> None:
    """Where a body names number and id, the id says whose it is."""
    shown = inbound(in_v1(**{"from": "447700900111"}, whatsapp={"sender": {"user_id": ID}}))
    hidden = inbound(in_v1(whatsapp={"sender": {"user_id": ID}}))

    assert (shown.sender, shown.from_.id) == ("447700900111", ID)
    assert lane_of(shown) == lane_of(hidden)


def test_the_number_is_taken_from_wa_id_where_nothing_else_names_the_sender() -> None:
    """`from` may be absent for people whose number is known, too."""
    event = inbound(in_v1(whatsapp={"sender": {"user_id": ID, "wa_id": "447700900111"}}))

    assert (event.sender, event.from_.id) == ("447700900111", ID)


def test_documented_forms_are_no_oddities() -> None:
    """Contract 5.5 and 5.8 name these members; a name that stands in no contract stays odd."""
    user = {"user_id": ID, "parent_user_id": "NL.ENT.1", "wa_id": "447700900111"}
    more: dict[str, Any] = {
        "profile": {"name": "Jane", "username": "janeSmith"},
        "whatsapp": {"sender": user},
    }

    event = parse_event(encode(in_v1(**{"from": ID}, **more)), strict=True)

    assert isinstance(event, InboundMessage)
    assert event.profile_username == "janeSmith"
    assert event.whatsapp_user is not None
    assert (event.whatsapp_user.parent_user_id, event.whatsapp_user.wa_id) == ("NL.ENT.1", "447700900111")
    odd = inbound(in_v1(**{"from": ID}, whatsapp={"sender": {**user, "shoe_size": "44"}}))
    assert odd.oddities == ("whatsapp.sender: unknown member shoe_size",)


@pytest.mark.parametrize("sender", ["text", 5, [], {}, {"user_id": None}, {"user_id": {}}])
def test_a_sender_without_an_id_is_none(sender: object) -> None:
    """Any JSON is read; without an address there is no sender, and no order to keep."""
    event, other = (
        inbound(in_v1(message_uuid=uuid, whatsapp={"sender": sender})) for uuid in ("one", "other")
    )

    assert event.sender is None
    assert lane_of(event) != lane_of(other)


@pytest.mark.parametrize(
    "to",
    [{"type": "whatsapp", "id": ID}, {"type": "whatsapp", "number": ID}, None],
    ids=["id", "number", "-"],
)
def test_the_recipient_of_a_status_is_known_in_every_shape(to: dict[str, Any] | None) -> None:
    """Statuses have the ids in `whatsapp.recipient`."""
    own = {"type": "whatsapp", "number": "447700900112"}
    body = {**status_body(status="read"), "to": to, "from": own}
    if to is None:
        del body["to"]
        body["whatsapp"] = {"recipient": {"user_id": ID}}

    event = parse_event(encode(body))

    assert isinstance(event, MessageStatus)
    assert (event.channel, event.recipient, event.to) == ("whatsapp", ID, Address("whatsapp", None, ID))


def test_ids_belong_to_whatsapp_only() -> None:
    """The name of an SMS sender may have a point after two letters."""
    body = {**status_body(), "from": {"type": "sms", "number": "St.Johns"}}

    event = parse_event(encode(body), strict=True)

    assert isinstance(event, MessageStatus)
    assert event.from_ == Address("sms", "St.Johns", None)


def test_a_handler_for_one_sender_finds_number_and_id() -> None:
    """The filter `sender` takes either of them, in any case."""
    router = Router()

    @router.inbound_message(sender=ID.lower())
    async def hidden(event: InboundMessage) -> None: ...

    @router.inbound_message(sender="+447700900111")
    async def shown(event: InboundMessage) -> None: ...

    both = inbound(in_v1(**{"from": "447700900111"}, whatsapp={"sender": {"user_id": ID}}))
    assert router.fetch(both) == (hidden, shown)
    assert router.fetch(inbound(in_v1(**{"from": ID}))) == (hidden,)


def test_no_repr_shows_who_it_is() -> None:
    """Ids are personal data as numbers are."""
    user = {"user_id": ID, "parent_user_id": "NL.ENT.1", "wa_id": "447700900111"}
    event = inbound(in_v1(profile={"username": "janeSmith"}, whatsapp={"sender": user}))

    shown = repr((event, event.from_, event.whatsapp_user))

    assert not [secret for secret in (*user.values(), "1349", "jane") if secret in shown]


def test_bodies_for_tests_know_user_ids() -> None:
    """Your tests post such a person by naming the id."""
    body = testing.inbound_body("hi", from_=ID)
    event: Event = parse_event(encode(body), strict=True)

    assert body["from"] == {"type": "whatsapp", "id": ID}
    assert isinstance(event, InboundMessage)
    assert event.sender == ID
